"""Keeps verdicts in memory, for reports at the end of a finite run."""

from __future__ import annotations

from collections.abc import Sequence

from pitcore.verdict import Event, Verdict


class MemorySink:
    """Collects everything. Grows without bound: not for the service."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []
        self.events: list[Event] = []

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Sort the records by kind and keep them."""
        for record in records:
            if isinstance(record, Verdict):
                self.verdicts.append(record)
            else:
                self.events.append(record)

    def close(self) -> None:
        """Do nothing: no record waits."""
