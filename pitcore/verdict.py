"""Defines verdicts and events: the lines that every sink gets.

Timings aside, equal input and equal model give byte-equal lines on every machine: probabilities are
rounded to six places before they are stored here, and keys keep the order of the declaration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

VerdictName = Literal["clean", "maybe", "pit", "side"]
Reason = Literal["uncertain", "touching", "foreign", "cut", "unseen", "overload", "failsafe", "not_finite"]
Action = Literal["pass", "review", "reject"]

VERDICTS: tuple[VerdictName, ...] = ("clean", "maybe", "pit", "side")
SINGLE = frozenset({None, "uncertain", "not_finite"})  # reasons of verdicts on what is one whole cherry
CONTROL_EVENTS = frozenset(
    {"armed", "disarmed", "reload_ok", "reload_refused", "valve_tested"}
)  # requests of users: no faults
RUN_EVENTS = frozenset({"run_started", "run_continued"})  # at the beginning of a run, and of each of its further files
# Faults that a model can cause: it is slow, hangs, or gives no numbers. All others are faults of the machine, or follow
# from these.
MODEL_FAULTS = frozenset({"frames_dropped", "reject_late", "logits_not_finite"})
CLEARED = "_cleared"  # ends the name of an event that says an alarm is over
CODES: dict[VerdictName, int] = {"clean": 1, "pit": 2, "side": 3, "maybe": 5}  # the line's older codes


class FrameRef(msgspec.Struct, frozen=True):
    """The frame in which the cherry was judged."""

    seq: int
    t_ns: int
    clock: Literal["monotonic"] = "monotonic"


class ModelRef(msgspec.Struct, frozen=True):
    """The model that judged, by name and by the hash of its card."""

    name: str
    version: str
    sha256: str


class LatencyUs(msgspec.Struct, frozen=True):
    """Microseconds this frame spent in each stage, until its verdicts stood.

    ``capture`` runs from mid-exposure for a live source; for a recording it is the time to read the
    frame, and ``total`` leaves it out.
    """

    capture: int
    prepare: int
    infer: int
    decide: int
    total: int


class Verdict(msgspec.Struct, frozen=True, omit_defaults=False):
    """One verdict for one cherry: schema ``pitcore.verdict/1``.

    Attributes:
        tick: belt encoder count of the frame.
        box: x, y, width, height in pixels of the frame.
        code: the line's older code: 1 clean, 2 pit, 3 side, 5 maybe.
        reason: why it is ``maybe``; of a pit, why it may be more than one cherry; else None.
        probabilities: calibrated; None where the network was not asked (side, unseen ...), or its answer is no
            number.
        config: hash of the board's configuration.
        latency_us: None where timings were not wanted, so that two runs can be compared byte by byte.
        action: what the line is to do, by ``[actions]`` or the fail-safe of an alarm.
    """

    schema: Literal["pitcore.verdict/1"]
    frame: FrameRef
    tick: int
    box: tuple[int, int, int, int]
    verdict: VerdictName
    code: int
    reason: Reason | None
    probabilities: dict[str, float] | None
    model: ModelRef
    config: str
    latency_us: LatencyUs | None
    action: Action

    @property
    def is_one_cherry(self) -> bool:
        """Return whether the thing has the shape of one whole cherry, so that its pit is near its middle."""
        return self.verdict != "side" and self.reason in {None, "uncertain", "failsafe", "not_finite"}


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something the technician should know of: schema ``pitcore.event/1``.

    Attributes:
        seq: the frame it was noticed at.
        event: short fixed name, for machines.
        detail: one sentence, for people.
        count: how many frames or things it concerns.
        camera: the plane it concerns; left out where it is all of them.
        run: of ``RUN_EVENTS`` only: the run of the service, whose frames, ticks and Modbus numbers begin anew.
        at, t_ns: of ``RUN_EVENTS`` only: one moment by the wall clock (UTC, RFC 3339) and by CLOCK_MONOTONIC.
    """

    schema: Literal["pitcore.event/1"]
    seq: int
    tick: int
    event: str
    detail: str
    count: int
    camera: str | None = None
    run: str | None = None
    at: str | None = None
    t_ns: int | None = None


def is_fault(event: str) -> bool:
    """Return whether an event with this name reports a fault."""
    return event not in CONTROL_EVENTS | RUN_EVENTS and not event.endswith(CLEARED)


_LINES = msgspec.json.Encoder()


def encode_lines(records: Sequence[Verdict | Event]) -> bytes:
    """Encode records as JSON lines, each ended by a newline."""
    return _LINES.encode_lines(records)
