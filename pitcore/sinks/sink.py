"""What a sink is. The implementations stand beside this module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pitcore.verdict import Event, Verdict


class Sink(Protocol):
    """Takes the verdicts and events of each frame, in order, from one thread."""

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Take the records of one frame. Never raises for what time may mend (a full disk)."""
        ...

    def close(self) -> None:
        """Write what is still held. Raises SinkError if something is lost by it."""
        ...
