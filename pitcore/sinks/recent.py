"""The last events, for whoever asks what went wrong lately."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

import msgspec

from pitcore.verdict import Event, Verdict
from pitcore.wall_clock import utc_now


class Noted(msgspec.Struct, frozen=True):
    """An event and when it was emitted, RFC 3339 in UTC."""

    at: str
    event: Event


class RecentEvents:
    """Keeps the last ``capacity`` events; verdicts pass by."""

    def __init__(self, capacity: int = 20) -> None:
        self._lock = threading.Lock()
        self._events: deque[Noted] = deque(maxlen=capacity)

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Keep the events."""
        noted = [Noted(utc_now(), record) for record in records if isinstance(record, Event)]
        if noted:
            with self._lock:
                self._events.extend(noted)

    def close(self) -> None:
        """Nothing is held back."""

    def last(self) -> tuple[Noted, ...]:
        """Return the last events, the oldest first; from any thread."""
        with self._lock:
            return tuple(self._events)
