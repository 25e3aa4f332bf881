"""Defines the interfaces of a sink. The implementations are in this package and in ``outputs``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pitcore.verdict import Event, Verdict


class Sink(Protocol):
    """Takes the verdicts and events of each frame, in order, from one thread."""

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Take the records of one frame. Does not raise for a fault that may pass (a full disk)."""
        ...

    def close(self) -> None:
        """Write the waiting records. Raises SinkError if some are lost."""
        ...


@runtime_checkable
class ReportsStatus(Protocol):
    """A sink that `pitcore status` shows."""

    def status(self) -> dict[str, Any]:
        """Return the status for the technician, as values that JSON can encode; from any thread.

        It always has ``kind`` and ``state``; ``state`` is ``ok``, ``starting``, or one word for the fault.
        """
        ...


def name_of(sink: Sink) -> str:
    """Return the name of a sink for people, such as `sink jsonl out/verdicts.jsonl`."""
    if not isinstance(sink, ReportsStatus):
        return f"sink {type(sink).__name__}"
    told = sink.status()
    return " ".join(["sink", told["kind"], *(told[key] for key in ("path", "address") if key in told)])


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to the technician about something between frames; it becomes an event of the next frame.

    Attributes:
        event: short fixed name, for machines.
        detail: one sentence, for people.
        count: number of things that it concerns.
    """

    event: str
    detail: str
    count: int


class BeltSink(Sink, Protocol):
    """A sink that acts on the belt, and needs to know which stretches were judged."""

    def judged(self, tick: int, t_ns: int, waiting_px: int = 0) -> None:
        """Report that ``emit`` got the verdicts of all things in a frame.

        Args:
            tick: encoder tick of the frame.
            t_ns: time of its exposure, CLOCK_MONOTONIC.
            waiting_px: length of belt at the entry edge whose things wait for the next frame: it is not judged yet.
        """
        ...

    def notices(self) -> list[Notice]:
        """Return the notices since the last call."""
        ...


class TickNow(NamedTuple):
    """The count of the belt's encoder.

    Attributes:
        tick: the count.
        t_ns: moment to which it belongs, CLOCK_MONOTONIC: every edge before it is counted.
    """

    tick: int
    t_ns: int


@runtime_checkable
class ReportsTick(Protocol):
    """A sink that counts the belt's encoder."""

    def tick_now(self) -> TickNow:
        """Return the present count without waiting; from any thread."""
        ...


class Armed(Protocol):
    """Has the armed state. Read from any thread."""

    @property
    def armed(self) -> bool:
        """True if valves may be driven; False in dry run, when everything else is done."""
        ...
