"""What a sink is. The implementations are beside this module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pitcore.verdict import Event, Verdict


class Sink(Protocol):
    """Takes the verdicts and events of each frame, in order, from one thread."""

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Take the records of one frame. Never raises for what time may fix (a full disk)."""
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


def name_of(sink: Sink) -> str:
    """Return what a person calls a sink, such as `sink jsonl out/verdicts.jsonl`."""
    if not isinstance(sink, ReportsStatus):
        return f"sink {type(sink).__name__}"
    told = sink.status()
    return " ".join(["sink", told["kind"], *(told[key] for key in ("path", "address") if key in told)])


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the technician should know of that was noticed between frames; it becomes an event of the next one.

    Attributes:
        event: short fixed name, for machines.
        detail: one sentence, for people.
        count: how many things it concerns.
    """

    event: str
    detail: str
    count: int


class BeltSink(Sink, Protocol):
    """A sink that acts on the belt, and so must know which stretch of it was judged."""

    def judged(self, tick: int, t_ns: int, waiting_px: int = 0) -> None:
        """Say that every thing in a frame has its verdict, and that ``emit`` had them all.

        Args:
            tick: of the frame.
            t_ns: of its exposure, CLOCK_MONOTONIC.
            waiting_px: length of belt at the entry edge on which things wait for the next frame: it is not judged.
        """
        ...

    def notices(self) -> list[Notice]:
        """Return what was noticed since the last call."""
        ...


class Armed(Protocol):
    """Says whether valves may be driven. Read from any thread."""

    @property
    def armed(self) -> bool:
        """False is a dry run: everything is done but driving the lines."""
        ...
