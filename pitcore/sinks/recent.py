"""The last events, for whoever asks what went wrong lately."""

from __future__ import annotations

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
        self._capacity = capacity
        self._events: tuple[Noted, ...] = ()  # replaced, never changed: who reads it keeps nobody waiting

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Keep the events."""
        noted = [Noted(utc_now(), record) for record in records if isinstance(record, Event)]
        if noted:
            self._events = (*self._events, *noted)[-self._capacity :]

    def close(self) -> None:
        """Nothing is held back."""

    def last(self) -> tuple[Noted, ...]:
        """Return the last events, the oldest first; from any thread."""
        return self._events
