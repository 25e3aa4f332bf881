"""Collects data for the live page in the loop: counts, the last verdicts, and copies of some frames.

The loop only adds to counts, and copies a frame at most ``pictures_per_s`` times a second while there are viewers. The
thread ``pitcore-page`` sends messages to the page process, and restarts the process when it ends or hangs. If the page
process is slow, data is skipped, so the loop never waits.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from pitcore.belt.lanes import Plan
from pitcore.config import Config
from pitcore.frame import Frame
from pitcore.page.messages import (
    ALIVE,
    MAX_MESSAGE_BYTES,
    MAX_SEEN,
    SLOTS,
    UNWATCHED,
    WATCHED,
    FrameSlots,
    LineNow,
    PictureRef,
    Seen,
    Start,
    Update,
)
from pitcore.page.tally import zero
from pitcore.sinks.child_output import Child, ChildOutput
from pitcore.verdict import VERDICTS, Event, Verdict

log = logging.getLogger("pitcore.page")

SEND_EVERY_S = 0.1
LOOK_EVERY_S = 0.5  # interval of reading counters, cameras and alarms
RETRY_S = 5.0  # between two starts of the page process
SILENT_S = 120.0  # the page process says twice a second that it is alive; on a busy board its start may take a minute
END_S = 2.0  # time for the page process to save the counts of the shift; less than the unit's TimeoutStopSec
_PLACES = {name: place for place, name in enumerate(VERDICTS)}


class PageSink(ChildOutput):
    """Implements ``sink.Sink`` and ``sink.ReportsStatus``.

    Args:
        config: configuration of the board, with ``[page]`` enabled.
        plan: the lanes. Verdicts are counted by the lanes that reject, or by strips if there are none.
        run: the run of the service.

    Attributes:
        looked_ns: time of the last searched frame, CLOCK_MONOTONIC; None before the first.
        port: port on which the page listens; 0 before it does.
    """

    def __init__(self, config: Config, plan: Plan, run: str) -> None:
        frame, page = config.frame, config.page
        names, self._lane_of = lanes_of(plan, frame.width_px, page.strips)
        shape = (frame.height_px, frame.width_px)
        size = FrameSlots.size(len(frame.planes), shape)
        child = Child("page", "pitcore.page.page_process", size, RETRY_S, END_S, SILENT_S)
        super().__init__(child)
        self._slots: FrameSlots | None = None  # set before there are viewers
        store = config.model.store
        self._start = Start(
            config=page,
            planes=frame.planes,
            shape=shape,
            shift_px=config.shift_px,
            px_per_tick=config.px_per_tick,
            lanes=names,
            state_dir=str(Path(config.control.state_dir).absolute()),
            control_socket=str(Path(config.control.socket).absolute()),
            store=None if store is None else str(Path(store).absolute()),
            run=run,
            at_s=time.monotonic(),
            counts=zero(len(names)),
            events={},
        )
        self._counts = zero(len(names))
        self._events: Counter[str] = Counter()
        self._seen: deque[Seen] = deque(maxlen=MAX_SEEN)
        self._number = 0
        self._period_ns = int(1e9 / page.pictures_per_s)
        self._copied: PictureRef | None = None  # a copied frame that is not judged yet
        self._ready: deque[PictureRef] = deque()
        self._free: deque[int] = deque(range(SLOTS))
        self._next_ns = 0
        self._is_watched = False
        self.looked_ns: int | None = None
        self.port = 0
        self._look: Callable[[], LineNow] | None = None

    def start(self, look: Callable[[], LineNow]) -> None:
        """Start the thread, which starts the page process.

        Args:
            look: returns the state of the line; called on the thread ``pitcore-page``.
        """
        self._look = look
        self.start_thread()

    def observe(self, frame: Frame) -> None:
        """Copy a searched frame, if a picture is due and there are viewers. Call it while the frame is borrowed."""
        now_ns = time.monotonic_ns()
        self.looked_ns = now_ns
        if not self._is_watched or now_ns < self._next_ns or not self._free or self._copied is not None:
            return
        assert self._slots is not None  # noqa: S101  mapped before the process that reports viewers
        self._next_ns = now_ns + self._period_ns
        slot = self._free.popleft()
        for number, plane in enumerate(frame.planes):
            self._slots.frames[slot, number] = plane  # copies: the page process reads it after the frame was released
        self._copied = PictureRef(slot, frame.seq, frame.tick, frame.t_ns)

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Count the records of a frame."""
        for record in records:
            if isinstance(record, Event):
                self._events[record.event] += record.count
                continue
            x, _, width, _ = record.box
            lane = self._lane_of[min(max(x + width // 2, 0), len(self._lane_of) - 1)]
            self._counts[lane][_PLACES[record.verdict]] += 1
            self._number += 1
            self._seen.append(
                Seen(
                    self._number,
                    record.tick,
                    record.box,
                    lane,
                    record.verdict,
                    record.reason,
                    record.probabilities,
                    record.action,
                )
            )
        if self._copied is not None:  # its verdicts are complete now
            self._ready.append(self._copied)
            self._copied = None

    def status(self) -> dict[str, Any]:
        """See ``sink.ReportsStatus``."""
        page = self._start.config
        scheme = "http" if page.certificate is None else "https"
        address = f"{scheme}://{page.bind}:{self.port or page.port}/"
        return {"kind": "page", "address": address, **self._output_state.status()}

    def map_memory(self, fd: int) -> None:
        """See ``ChildOutput``."""
        self._slots = FrameSlots(fd, len(self._start.planes), self._start.shape)

    def wake(self) -> None:
        """See ``ChildOutput``; ``serve`` looks ten times a second whether the service stops."""

    def serve(self, connection: socket.socket) -> None:
        """See ``ChildOutput``."""
        connection.settimeout(0.0)
        try:
            so_far = {"at_s": time.monotonic(), "counts": self._counts, "events": dict(self._events)}
            connection.send(msgspec.msgpack.encode(msgspec.structs.replace(self._start, **so_far)))
            copied = self._copied  # read before `_ready`, because the loop moves a frame from here to there
            used = {one.slot for one in (copied, *self._ready) if one is not None} | set(self._free)
            self._free.extend(slot for slot in range(SLOTS) if slot not in used)  # slots of the previous process
            self._send_all(connection)
        except OSError:
            for _ in range(2):  # the first call may only return the error that the socket still holds
                with suppress(OSError):
                    self._receive(connection)  # the last message of the process may have the reason
            raise
        finally:
            self._is_watched = False

    def _send_all(self, connection: socket.socket) -> None:
        """Send messages until either side ends. Raises OSError."""
        looked_s = 0.0
        while not self._closing.wait(SEND_EVERY_S):
            if not self._receive(connection) or self._hangs():
                return
            now = None
            if time.monotonic() - looked_s >= LOOK_EVERY_S and self._look is not None:
                looked_s, now = time.monotonic(), self._look()
            self._send(connection, now)
        self._send(connection, None, last=True)

    def _send(self, connection: socket.socket, now: LineNow | None, *, last: bool = False) -> None:
        """Send what is new. If the socket is full, pictures and verdicts are skipped; counts are not lost.

        Raises:
            OSError: the page process is gone.
        """
        picture = self._ready.popleft() if self._ready else None
        seen = [self._seen.popleft() for _ in range(len(self._seen))]
        raw = b""
        while not raw or len(raw) > MAX_MESSAGE_BYTES:
            seen = seen if not raw else seen[len(seen) // 2 + 1 :]
            update = Update(time.monotonic(), self._counts, dict(self._events), seen, picture, now, last)
            raw = msgspec.msgpack.encode(update)
        try:
            connection.send(raw)
        except BlockingIOError:
            if picture is not None:
                self._free.append(picture.slot)

    def _receive(self, connection: socket.socket) -> bool:
        """Process the replies of the page process. Return False if it is gone. Raises OSError."""
        while True:
            try:
                reply = connection.recv(4096)
            except BlockingIOError:
                return True
            if not reply:
                return False
            self._heard()
            if reply == ALIVE:
                continue
            if reply == WATCHED:
                self._is_watched = True
            elif reply == UNWATCHED:
                self._is_watched = False
            elif reply.isdigit():
                self._free.append(int(reply))
            elif reply.startswith(b"@"):  # followed by the port on which it listens
                self.port = int(reply[1:])
                self._works_again("the page is served again")
                log.info("[page] listens on %s", self.status()["address"])
            else:  # the reason why it does not listen
                self._fails(reply.decode(errors="replace"))


def lanes_of(plan: Plan, width_px: int, strips: int) -> tuple[tuple[str, ...], list[int]]:
    """Return the lanes by which verdicts are counted.

    Args:
        plan: plan of the valves.
        width_px: width of the frame.
        strips: number of strips across the belt, used if no lane rejects.

    Returns:
        The names of the lanes, and the lane of each column of the frame; the first one if lanes overlap.
    """
    lanes = plan.of_action("reject")
    if not lanes:
        names = tuple(f"strip {number + 1}" for number in range(strips))
        return names, [column * strips // width_px for column in range(width_px)]
    spans = [plan.lanes[number].x_px for number in lanes]
    names = tuple(f"lane {number + 1}" for number in lanes)
    return names, [_lane_at(column, spans) for column in range(width_px)]


def _lane_at(column: int, spans: Sequence[tuple[int, int]]) -> int:
    """Return the lane of a column, or the nearest lane."""
    away = [max(first - column, column - end + 1, 0) for first, end in spans]
    return away.index(min(away))
