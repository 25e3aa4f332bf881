"""Pairs the frames of two cameras by their time stamps. Does no IO and reads no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Left(Generic[Item]):
    """A frame that will not be part of a pair.

    Attributes:
        camera: number of its camera.
        cause: ``unpaired`` if its partner never came, ``queue_full`` if pairs were not fetched in time.
        item: the frame; the caller releases it.
    """

    camera: int
    cause: str
    item: Item


class Pairing(Generic[Item]):
    """Keeps a short queue for each camera and pairs the oldest frames.

    Frames of a camera come in the order of their stamps. If the oldest frames of both queues are closer than the
    tolerance, they are a pair. Otherwise the older one has no partner, because the other camera sends only later
    frames. With one camera every frame is complete.

    Args:
        cameras: number of cameras.
        tolerance_ns: frames whose stamps are this far apart or further are not paired.
        limit: frames that may wait for each camera; one more removes the oldest.
    """

    def __init__(self, cameras: int, tolerance_ns: int, limit: int) -> None:
        self._queues: tuple[deque[tuple[int, Item]], ...] = tuple(deque() for _ in range(cameras))
        self._tolerance_ns, self._limit = tolerance_ns, limit

    def add(self, camera: int, stamp_ns: int, item: Item) -> list[Left[Item]]:
        """Add a frame to its camera's queue. Return the frame removed to make room, if any."""
        queue = self._queues[camera]
        left = []
        if len(queue) >= self._limit:
            cause = "queue_full" if all(self._queues) else "unpaired"
            left.append(Left(camera, cause, queue.popleft()[1]))
        queue.append((stamp_ns, item))
        return left

    def take(self) -> tuple[Sequence[tuple[int, Item]], list[Left[Item]]]:
        """Return the oldest pair as (stamp, item) for each camera, empty if there is none, and unpaired frames."""
        left: list[Left[Item]] = []
        while all(self._queues):
            stamps = [queue[0][0] for queue in self._queues]
            if max(stamps) - min(stamps) < self._tolerance_ns:
                return [queue.popleft() for queue in self._queues], left
            oldest = stamps.index(min(stamps))
            left.append(Left(oldest, "unpaired", self._queues[oldest].popleft()[1]))
        return (), left

    def clear(self) -> list[Item]:
        """Empty the queues. Return the frames that were waiting."""
        waiting = [item for queue in self._queues for _, item in queue]
        for queue in self._queues:
            queue.clear()
        return waiting
