"""What a sink is. The implementations stand beside this module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from pitcore.verdict import Event, Verdict


class Sink(Protocol):
    """Takes the verdicts and events of each frame, in order, from one thread."""

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Take the records of one frame. Never raises for what time may mend (a full disk)."""
        ...

    def close(self) -> None:
        """Write what is still held. Raises SinkError if something is lost by it."""
        ...


@runtime_checkable
class ReportsStatus(Protocol):
    """What a sink is besides if `pitcore status` is to show it."""

    def status(self) -> dict[str, Any]:
        """Return what a technician should see, JSON-able; from any thread.

        ``kind`` and ``state`` are always there; ``state`` is ``ok``, or one word for what is wrong.
        """
        ...
