"""Which frames of two cameras are of one moment. Pure: knows stamps and places, no cameras and no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Left(Generic[Item]):
    """A frame that will never be part of a pair.

    Attributes:
        camera: whose it is.
        cause: ``unpaired``, its partner never came; or ``queue_full``, nobody fetched it in time.
        item: the frame, to be given back.
    """

    camera: int
    cause: str
    item: Item


class Pairing(Generic[Item]):
    """A short queue for each camera, and the rule that pairs their heads.

    Frames of a camera come in the order of their stamps. Of two heads closer than the tolerance a pair is made; of two
    further apart the older is alone, since all that its partner's camera still sends is later yet. With one camera
    every frame is whole.

    Args:
        cameras: how many.
        tolerance_ns: stamps further apart are no pair.
        limit: frames that may wait for each camera; then the oldest leaves.
    """

    def __init__(self, cameras: int, tolerance_ns: int, limit: int) -> None:
        self._queues: tuple[deque[tuple[int, Item]], ...] = tuple(deque() for _ in range(cameras))
        self._tolerance_ns, self._limit = tolerance_ns, limit

    def add(self, camera: int, stamp_ns: int, item: Item) -> list[Left[Item]]:
        """Take a frame. Returns what had to leave for it."""
        queue = self._queues[camera]
        left = []
        if len(queue) >= self._limit:
            cause = "queue_full" if all(self._queues) else "unpaired"
            left.append(Left(camera, cause, queue.popleft()[1]))
        queue.append((stamp_ns, item))
        return left

    def take(self) -> tuple[Sequence[tuple[int, Item]], list[Left[Item]]]:
        """Return the oldest pair, empty if none is whole yet, and the frames found to be alone."""
        left: list[Left[Item]] = []
        while all(self._queues):
            stamps = [queue[0][0] for queue in self._queues]
            if max(stamps) - min(stamps) < self._tolerance_ns:
                return [queue.popleft() for queue in self._queues], left
            oldest = stamps.index(min(stamps))
            left.append(Left(oldest, "unpaired", self._queues[oldest].popleft()[1]))
        return (), left

    def clear(self) -> list[Item]:
        """Give up every frame that waits."""
        waiting = [item for queue in self._queues for _, item in queue]
        for queue in self._queues:
            queue.clear()
        return waiting
