"""Tells the technician of events in the log: each kind at once, then summed up: a fault that stays cannot fill it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from pitcore.verdict import CONTROL_EVENTS, Event, Verdict, is_fault

log = logging.getLogger("pitcore.events")
REPEAT_AFTER_NS = 10 * 10**9


class EventLog:
    """Logs the first event of a kind, then at most one line a kind every ten seconds, with how many there were.

    The verdict file has every single one. What was not told yet is reported on closing.

    Args:
        clock: nanoseconds that only grow.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._told_ns: dict[str, int] = {}
        self._held: dict[str, tuple[int, Event]] = {}

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Log what is new or due; passed over are verdicts, and what control has logged itself."""
        for record in records:
            if isinstance(record, Event) and record.event not in CONTROL_EVENTS:
                events, _ = self._held.get(record.event, (0, record))
                self._held[record.event] = (events + 1, record)
        if self._held:
            now_ns = self._clock()
            due = [name for name in self._held if now_ns - self._told_ns.get(name, -REPEAT_AFTER_NS) >= REPEAT_AFTER_NS]
            for name in due:
                self._told_ns[name] = now_ns
                self._tell(name)

    def close(self) -> None:
        """Log what was held back."""
        for name in list(self._held):
            self._tell(name)

    def _tell(self, name: str) -> None:
        events, last = self._held.pop(name)
        fields = {"PITCORE_EVENT": name, "PITCORE_FRAME": str(last.seq), "PITCORE_TICK": str(last.tick)}
        if last.camera is not None:
            fields["PITCORE_CAMERA"] = last.camera
        more = f" ({events} such since the last line)" if events > 1 else ""
        level = logging.WARNING if is_fault(name) else logging.INFO
        log.log(level, "%s at frame %d: %s%s", name, last.seq, last.detail, more, extra={"journal": fields})
