"""Writes events to the log: the first of each kind at once, later ones as a count, so that a fault cannot fill it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from pitcore.verdict import CONTROL_EVENTS, Event, Verdict, is_fault

log = logging.getLogger("pitcore.events")
REPEAT_AFTER_NS = 10 * 10**9


class EventLog:
    """Logs the first event of a kind, then at most one line for each kind every ten seconds, with the number of events.

    The verdict file has every event. ``close`` logs events that still wait.

    Args:
        clock: returns monotonic time, ns.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._logged_ns: dict[str, int] = {}
        self._waiting: dict[str, tuple[int, Event]] = {}

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Log events that are new or due, except those that the control server logs itself."""
        for record in records:
            if isinstance(record, Event) and record.event not in CONTROL_EVENTS:
                events, _ = self._waiting.get(record.event, (0, record))
                self._waiting[record.event] = (events + 1, record)
        if self._waiting:
            now_ns = self._clock()
            due = [
                name
                for name in self._waiting
                if now_ns - self._logged_ns.get(name, -REPEAT_AFTER_NS) >= REPEAT_AFTER_NS
            ]
            for name in due:
                self._logged_ns[name] = now_ns
                self._log(name)

    def close(self) -> None:
        """Log the waiting events."""
        for name in list(self._waiting):
            self._log(name)

    def _log(self, name: str) -> None:
        events, last = self._waiting.pop(name)
        fields = {"PITCORE_EVENT": name, "PITCORE_FRAME": str(last.seq), "PITCORE_TICK": str(last.tick)}
        if last.camera is not None:
            fields["PITCORE_CAMERA"] = last.camera
        more = f" ({events} such since the last line)" if events > 1 else ""
        level = logging.WARNING if is_fault(name) else logging.INFO
        log.log(level, "%s at frame %d: %s%s", name, last.seq, last.detail, more, extra={"journal": fields})
