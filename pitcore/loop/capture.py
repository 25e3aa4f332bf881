"""From a source to the loop: one thread, one bounded queue, and nothing dropped in silence.

A live source is read by a thread of its own. When the queue is full the oldest frame is given back and
counted, so that under load the board stays current. A recording is read by the loop itself, frame by
frame, so that none is lost and every run is the same.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pitcore.camera.source import Source
from pitcore.frame import Frame
from pitcore.health import CameraHealth

IDLE_S = 0.1  # soon enough for a person who waits, and no work for the board
STOP_S = 0.5


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame, and how many the full queue dropped just before it."""

    frame: Frame
    dropped: int


class Capture:
    """Hands the frames of a source to the loop, in order.

    Args:
        source: not started yet; started and closed here.
        queue_frames: frames that may wait.
        timeout_s: a source silent for longer is broken.
    """

    def __init__(self, source: Source, *, queue_frames: int, timeout_s: float) -> None:
        self._source, self._limit, self._timeout_s = source, queue_frames, timeout_s
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._queue: deque[Frame] = deque()
        self._dropped = 0
        self._ended = False
        self._failure: BaseException | None = None

    def frames(self, idle: Callable[[], None] = _nothing) -> Iterator[Arrival]:
        """Yield frames until the source ends or ``stop`` is called. Raises SourceError.

        Whoever takes a frame releases it.

        Args:
            idle: called on the caller's thread each ``IDLE_S`` in which a live source gave no frame.
        """
        self._source.start()
        try:
            yield from self._queued(idle) if self._source.live else self._direct()
        finally:
            self._source.close()

    def health(self) -> tuple[CameraHealth, ...]:
        """Return how each camera fares; from any thread."""
        return self._source.health()

    @property
    def stopping(self) -> bool:
        """Whether no more frames will be given out; from any thread."""
        return self._stopping.is_set()

    @property
    def waiting(self) -> int:
        """Frames in the queue; from any thread."""
        return len(self._queue)

    def stop(self) -> None:
        """End ``frames`` after the frame in hand. May be called from any thread or a signal handler."""
        self._stopping.set()

    def _direct(self) -> Iterator[Arrival]:
        while not self._stopping.is_set():
            frame = self._source.read(self._timeout_s)
            if frame is None:
                return
            yield Arrival(frame, dropped=0)

    def _queued(self, idle: Callable[[], None]) -> Iterator[Arrival]:
        reader = threading.Thread(target=self._read_all, name="pitcore-capture", daemon=True)
        reader.start()
        try:
            while (arrival := self._take(idle)) is not None:
                yield arrival
        finally:
            self._stopping.set()
            reader.join(timeout=STOP_S)  # a source that waits for a stopped belt returns when it is closed
            while self._queue:
                self._queue.popleft().release()
        if self._failure is not None:
            raise self._failure

    def _take(self, idle: Callable[[], None]) -> Arrival | None:
        """Wait for a frame; None when there will be none."""
        while True:
            with self._changed:
                if not self._queue and not self._ended and not self._stopping.is_set():
                    self._changed.wait(timeout=IDLE_S)  # a signal handler sets `_stopping` without the lock
                if self._stopping.is_set() or (self._ended and not self._queue):
                    return None
                if self._queue:
                    dropped, self._dropped = self._dropped, 0
                    return Arrival(self._queue.popleft(), dropped)
            idle()

    def _read_all(self) -> None:
        """Read until the end, dropping the oldest frame when the queue is full."""
        try:
            while not self._stopping.is_set():
                frame = self._source.read(self._timeout_s)
                if frame is None:
                    break
                self._put(frame)
        except BaseException as error:  # noqa: BLE001  a fault of ours must end the loop, not this thread alone
            self._failure = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def _put(self, frame: Frame) -> None:
        oldest: Frame | None = None
        with self._changed:
            if len(self._queue) >= self._limit:
                oldest = self._queue.popleft()
                self._dropped += 1
            self._queue.append(frame)
            self._changed.notify()
        if oldest is not None:
            oldest.release()
