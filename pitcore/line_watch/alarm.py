"""Defines an alarm, which reports a lasting fault of the line, and the latch that keeps an alarm from flickering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pitcore.config.line import AlarmName, FailSafe

CONSEQUENCES: dict[FailSafe, str] = {
    "alarm": "verdicts are unchanged",
    "maybe": "while this alarm is on, nothing is clean",
    "reject": "while this alarm is on, everything is rejected",
}


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm that is on.

    Attributes:
        name: stable name for machines; docs/faults.md has a row for each.
        detail: one sentence for people: what was measured, and what to do.
        since: time at which it came on, UTC, RFC 3339.
        since_seq, since_ns: frame at which it came on, and the frame's CLOCK_MONOTONIC stamp.
        failsafe: what happens to verdicts while it is on.
    """

    name: AlarmName
    detail: str
    since: str
    since_seq: int
    since_ns: int
    failsafe: FailSafe


def detail_of(finding: str, failsafe: FailSafe) -> str:
    """Return the detail of an alarm: what was found and what to do, and what happens to verdicts."""
    return f"{finding}; {CONSEQUENCES[failsafe]}"


def finding_of(detail: str, failsafe: FailSafe) -> str:
    """Return the detail of an alarm without what happens to verdicts."""
    return detail.removesuffix(f"; {CONSEQUENCES[failsafe]}")


class Latch:
    """Turns on after ``raise_after`` bad findings in a row, and off after ``clear_after`` good ones.

    Args:
        raise_after, clear_after: numbers of findings in a row, at least 1.
    """

    def __init__(self, raise_after: int, clear_after: int) -> None:
        self._raise_after, self._clear_after = raise_after, clear_after
        self._bad = self._good = 0
        self.on = False

    @property
    def is_idle(self) -> bool:
        """True if a good finding would change nothing, as in nearly every frame."""
        return not self.on and not self._bad

    def update(self, *, bad: bool | None) -> Literal["raised", "cleared"] | None:
        """Take a finding; None is neither good nor bad and does not interrupt a row."""
        if bad is None:
            return None
        if not bad and not self.on:  # as in nearly every frame
            self._bad = 0
            return None
        self._bad, self._good = (self._bad + 1, 0) if bad else (0, self._good + 1)
        if not self.on and self._bad >= self._raise_after:
            self.on = True
            return "raised"
        if self.on and self._good >= self._clear_after:
            self.on = False
            return "cleared"
        return None
