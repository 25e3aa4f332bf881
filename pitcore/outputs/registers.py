"""Defines the Modbus registers. Pure; ``modbus`` serves them, and docs/modbus.md is written from this module.

Registers are 16-bit words, read only. A value of two words has its high word first; counts wrap to 0 after 2^32 - 1.
Numbers of verdicts start again at 1 after ``LAST_ID``, a multiple of the ring's size, so that an entry's place always
follows from its number. All verdicts of a frame are put into the rings at once, and a client cannot read in between,
however often it polls. So the long ring holds more of them than a frame can have things
(``SegmentSpec.max_components``). The short ring stays where it was for programs that know only that one.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import NamedTuple

from pitcore.belt.lanes import Plan
from pitcore.verdict import Action, Verdict

SCHEMA = 1
RING_WORDS = 8
SHORT_START, SHORT_ENTRIES = 100, 60
RING_START, RING_ENTRIES = 1000, 7620
SIZE = RING_START + RING_ENTRIES * RING_WORDS
LAST_ID = 4_294_967_280  # the largest multiple of both rings' sizes below 2^32
ACTION_CODES: dict[Action, int] = {"pass": 0, "review": 1, "reject": 2}


class Field(NamedTuple):
    """One value: its first register, its words, its name and meaning."""

    address: int
    words: int
    name: str
    meaning: str


FIELDS = (
    Field(0, 1, "schema", f"layout of these registers: {SCHEMA}; refuse any other"),
    Field(1, 1, "heartbeat", "counts judged frames, wraps; if it stops, nothing is judged or the belt is stopped"),
    Field(2, 1, "flags", "bit 0: armed; bit 1: this board drives valves"),
    Field(3, 2, "model", "first 32 bits of the hash of the model in force"),
    Field(5, 2, "config", "first 32 bits of the hash of the configuration in force"),
    Field(7, 2, "frames", "frames judged since the start"),
    Field(9, 2, "clean", "verdicts since the start"),
    Field(11, 2, "maybe", "verdicts since the start"),
    Field(13, 2, "pit", "verdicts since the start"),
    Field(15, 2, "side", "verdicts since the start"),
    Field(17, 2, "events", "events of every kind since the start"),
    Field(19, 2, "late", "verdicts to act on that were too late, since the start"),
    Field(21, 2, "scheduled", "verdicts to act on that were in time, since the start"),
    Field(23, 2, "openings", "openings of valves since the start; 0 in dry run"),
    Field(25, 1, "ring_entries", f"number of verdicts in the short ring: {SHORT_ENTRIES}"),
    Field(26, 1, "ring_words", f"registers per verdict: {RING_WORDS}"),
    Field(27, 2, "newest", f"number of the newest verdict; the first has 1, 0 means none yet; 1 follows {LAST_ID}"),
    Field(29, 2, "run", "another random number with every start of the service: verdicts and ticks count anew"),
    Field(31, 2, "tick_now", "low 32 bits of the count of the encoder, as in the verdicts; 0 without an encoder"),
    Field(33, 2, "tick_age", "age of `tick_now` in microseconds, when the answer was made"),
    Field(35, 1, "long_start", f"register of entry 1 of the long ring: {RING_START}; 0: an older pitcore without it"),
    Field(36, 1, "long_entries", f"number of verdicts in the long ring: {RING_ENTRIES}"),
    Field(37, 1, "encoder", "1: this board counts an encoder"),
)
_PLACES = {place.name: place for place in FIELDS}
ENTRY = (
    Field(
        0, 2, "id", "number of the verdict; 0: none yet. If not the expected one, the ring was overwritten: read faster"
    ),
    Field(2, 2, "tick", "low 32 bits of the encoder tick at which the middle of the cherry is at row 0 of the frame"),
    Field(4, 1, "code", "1 clean, 2 pit, 3 side, 5 maybe"),
    Field(5, 1, "action", "0 pass, 1 review, 2 reject"),
    Field(6, 1, "lane", "first lane that acts on it, from 1; 0: none does"),
    Field(7, 1, "x", "column of its middle in the frame, in pixels"),
)


class Registers:
    """The words of the registers. Without a lock: see ``modbus``.

    Args:
        plan: where lanes are.
        run: the run of the service, hexadecimal.
        newest: number of the newest verdict.

    Attributes:
        plan: where lanes are.
    """

    def __init__(self, plan: Plan, run: str, newest: int = 0) -> None:
        self.plan, self._newest = plan, newest
        self._words = array("H", bytes(2 * SIZE))
        self.set(
            {
                "schema": SCHEMA,
                "ring_entries": SHORT_ENTRIES,
                "ring_words": RING_WORDS,
                "long_start": RING_START,
                "long_entries": RING_ENTRIES,
                "newest": newest,
                "run": int(run[:8], 16),
            }
        )

    def set(self, values: Mapping[str, int]) -> None:
        """Set values by the names of ``FIELDS``."""
        for name, value in values.items():
            place = _PLACES[name]
            self._put(place.address, _words(value, place.words))

    def add(self, verdict: Verdict) -> None:
        """Put a verdict into both rings."""
        self._newest = self._newest % LAST_ID + 1
        x, y, width, height = verdict.box
        at_row_0 = round(verdict.tick - (y + height / 2) / self.plan.px_per_tick)
        pulses = self.plan.pulses(verdict.tick, verdict.box, verdict.action, one_cherry=verdict.is_one_cherry)
        lane = pulses[0].lane + 1 if pulses else 0
        middle = min(max(x + width // 2, 0), 0xFFFF)
        action = ACTION_CODES[verdict.action]
        entry = [*_words(self._newest, 2), *_words(at_row_0, 2), verdict.code, action, lane, middle]
        for start, entries in ((SHORT_START, SHORT_ENTRIES), (RING_START, RING_ENTRIES)):
            self._put(start + (self._newest - 1) % entries * RING_WORDS, entry)
        self.set({"newest": self._newest})

    def read(self, address: int, count: int) -> list[int]:
        """Return ``count`` words from an address."""
        return self._words[address : address + count].tolist()

    def _put(self, address: int, words: list[int]) -> None:
        self._words[address : address + len(words)] = array("H", words)


def _words(value: int, count: int) -> list[int]:
    """Split the low bits of a number into words, the high word first."""
    return [value >> shift & 0xFFFF for shift in range(16 * (count - 1), -1, -16)]


def table() -> str:
    """Return the table of docs/modbus.md."""
    lines = ["| register | words | name | meaning |", "|---|---|---|---|"]
    lines += [f"| {place.address} | {place.words} | `{place.name}` | {place.meaning} |" for place in FIELDS]
    lines += [
        "",
        "Each entry of either ring:",
        "",
        "| offset | words | name | meaning |",
        "|---|---|---|---|",
    ]
    lines += [f"| {place.address} | {place.words} | `{place.name}` | {place.meaning} |" for place in ENTRY]
    return "\n".join(lines) + "\n"
