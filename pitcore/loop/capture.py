"""Reads frames from a source on one thread and passes them to the loop through one bounded queue.

A separate thread opens and reads the source, because a call into a driver, a network or a disk may never return, and
the loop must only wait for frames. If a live source has filled the queue, the oldest frame is released and counted, so
that an overloaded board stays current. A recording is read when the loop asks for a frame, so that none is lost and
every run is the same.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pitcore.camera.source import Source
from pitcore.errors import HungError, SourceError
from pitcore.frame import Frame
from pitcore.health import CameraHealth
from pitcore.machine import thread_cpu_s

log = logging.getLogger("pitcore")

IDLE_S = 0.1  # interval of the idle calls: short for a waiting person, and little work for the board
STOP_S = 0.5  # a source that waits for a stopped belt returns only when it is closed
SILENT_S = 10.0  # beyond the time-out, so that a source that detects silence itself reports it first
BUSY_SHARE = 0.005  # of its time: a thread that uses more processor time than this does not hang


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame, and the number of frames that the full queue dropped just before it."""

    frame: Frame
    dropped: int


class Capture:
    """Passes the frames of a source to the loop, in order. Leaving the ``with`` block closes it.

    Args:
        source: the source; started and closed here.
        queue_frames: largest number of frames in the queue of a live source; with 0 each frame is read when the loop
            asks for it, as from a recording.
        timeout_s: a source that gives no frame for longer has failed.
        close_s: a source that does not return for longer after a stop hangs.
        silent_s: a call that takes longer than ``timeout_s + silent_s`` without using processor time hangs.
    """

    def __init__(
        self,
        source: Source,
        *,
        queue_frames: int,
        timeout_s: float,
        close_s: float = 60.0,
        silent_s: float = SILENT_S,
    ) -> None:
        self._source, self._timeout_s = source, timeout_s
        self._reads_ahead = source.live and queue_frames > 0
        self._limit = queue_frames if self._reads_ahead else 1
        self._close_s, self._silent_s = close_s, silent_s
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._queue: deque[Frame] = deque()
        self._wanted = False  # True when the loop asks for a frame; without reading ahead it is read only then
        self._dropped = 0
        self._ended = False
        self._failure: BaseException | None = None
        self._reader: threading.Thread | None = None
        self._hangs = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the source. Raises HungError if it hangs, unless another error than an interruption is being raised."""
        try:
            self.close()
        except HungError as hung:
            if error is None or isinstance(error, KeyboardInterrupt):
                raise
            log.warning("%s", hung)

    def frames(self, idle: Callable[[], None] = _nothing) -> Generator[Arrival, None, None]:
        """Yield frames until the source ends or ``stop`` is called. The caller releases them.

        Args:
            idle: called on the caller's thread every ``IDLE_S`` while no frame comes.

        Raises:
            SourceError: the source failed or hangs.
        """
        self._reader = threading.Thread(target=self._read_all, name="pitcore-capture", daemon=True)
        self._reader.start()
        while (arrival := self._take(idle)) is not None:
            yield arrival
        if self._failure is not None:
            raise self._failure

    def health(self) -> tuple[CameraHealth, ...]:
        """Return the health of each camera. Callable from any thread."""
        return self._source.health()

    @property
    def name(self) -> str:
        """Name of the source, for messages."""
        return "the source " + ", ".join(camera.id for camera in self._source.health())

    @property
    def stopping(self) -> bool:
        """True after ``stop`` or ``close`` was called. Readable from any thread."""
        return self._stopping.is_set()

    @property
    def waiting(self) -> int:
        """Number of frames in the queue. Readable from any thread."""
        return len(self._queue)

    def stop(self) -> None:
        """End ``frames`` after the current frame. May be called from any thread or a signal handler."""
        self._stopping.set()

    def close(self) -> None:
        """Release the frames in the queue and close the source. The thread of a source that hangs is left running.

        Raises:
            HungError: the source hangs, and ``frames`` did not raise an error for it.
        """
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        closer = threading.Thread(target=self._close_source, name="pitcore-capture-close", daemon=True)
        closer.start()
        closer.join(self._close_s)
        while self._queue:
            self._queue.popleft().release()
        if closer.is_alive() and not self._hangs:
            raise HungError(
                f"{self.name} did not return within {self._close_s:.2g} s of the stop; its thread is left "
                "running; check its cable, network or disk"
            )

    def _close_source(self) -> None:
        if self._reader is not None:
            self._reader.join(STOP_S)
        self._source.close()
        if self._reader is not None:
            self._reader.join()

    def _take(self, idle: Callable[[], None]) -> Arrival | None:
        """Wait for a frame. Return None if no more will come."""
        silence = _Silence(self._reader)
        with self._changed:
            self._wanted = True
            self._changed.notify_all()
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
            self._check(silence)

    def _check(self, silence: _Silence) -> None:
        """Raise SourceError if a call of the source hangs, which the source cannot detect itself."""
        if not any(camera.due for camera in self._source.health()):
            silence.restart()  # no frame is due, as from cameras that a stopped belt does not trigger
        limit_s = self._timeout_s + self._silent_s
        if silence.hangs(limit_s):
            self._hangs = True
            raise SourceError(
                f"{self.name} gave nothing for {limit_s:.3g} s and does not return: it hangs; check its cable, "
                "network or disk"
            )

    def _read_all(self) -> None:
        """Read the source to its end. Store its error, if any, for ``frames``."""
        try:
            self._source.start()
            while self._may_read():
                frame = self._source.read(self._timeout_s)
                if frame is None:
                    break
                self._put(frame)
        except BaseException as error:  # noqa: BLE001  an unexpected error must end the loop, not only this thread
            if not self._stopping.is_set():  # a source that is closed during a read may raise an error
                self._failure = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _may_read(self) -> bool:
        """Wait until the loop wants a frame; return False after ``stop``."""
        with self._changed:
            while not self._reads_ahead and not self._wanted and not self._stopping.is_set():
                self._changed.wait()  # `close` notifies
            self._wanted = False
        return not self._stopping.is_set()

    def _put(self, frame: Frame) -> None:
        unwanted: Frame | None = None
        with self._changed:
            if self._stopping.is_set():
                unwanted = frame
            else:
                if len(self._queue) >= self._limit:
                    unwanted = self._queue.popleft()
                    self._dropped += 1
                self._queue.append(frame)
                self._changed.notify_all()
        if unwanted is not None:
            unwanted.release()


class _Silence:
    """Measures for how long a thread gave nothing and used no processor time."""

    def __init__(self, thread: threading.Thread | None) -> None:
        self._native_id = None if thread is None else thread.native_id
        self._began: tuple[float, float] | None = None  # start of the silence, and the thread's CPU time then, in s

    def restart(self) -> None:
        self._began = None

    def hangs(self, limit_s: float) -> bool:
        """Return True if the thread was silent for ``limit_s``. Time in which it computes does not count."""
        if self._native_id is None:
            return False
        if self._began is None:
            self._began = time.monotonic(), thread_cpu_s(self._native_id)
        waited_s = time.monotonic() - self._began[0]
        if waited_s < limit_s:
            return False
        if thread_cpu_s(self._native_id) - self._began[1] > BUSY_SHARE * waited_s:
            self.restart()
            return False
        return True
