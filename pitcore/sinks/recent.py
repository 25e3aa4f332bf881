"""Keeps the last events, for the status."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pitcore.verdict import Event, Verdict
from pitcore.wall_clock import utc_now


class RecentEvent(msgspec.Struct, frozen=True):
    """An event and when it was emitted, RFC 3339 in UTC."""

    at: str
    event: Event


class RecentEvents:
    """Keeps the last ``capacity`` events, and no verdicts."""

    def __init__(self, capacity: int = 20) -> None:
        self._capacity = capacity
        self._events: tuple[RecentEvent, ...] = ()  # replaced, never changed, so that readers need no lock

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Keep the events."""
        events = [RecentEvent(utc_now(), record) for record in records if isinstance(record, Event)]
        if events:
            self._events = (*self._events, *events)[-self._capacity :]

    def close(self) -> None:
        """Do nothing: no record waits."""

    def last(self) -> tuple[RecentEvent, ...]:
        """Return the last events, the oldest first; from any thread."""
        return self._events
