"""Compares the openings of the valves with the required ones, tick by tick of the true belt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pitcore.actuation.actuator import FiringRules
from pitcore.bench.reject_line import LANES, PLAN, PULSE_TICKS, Cherries

RULES = FiringRules()


class Opening(NamedTuple):
    """One opening of a valve: belt ticks [first, end), and the times at which it opened and shut."""

    first: int
    end: int
    opened_ns: int
    shut_ns: int


@dataclass(slots=True)
class RejectAccount:
    """The outcome for the cherries of a run.

    Attributes:
        cherries: number of cherries on the belt.
        pits: number of pits among them.
        missed: pits without a pulse, or whose pulse is short by more than a tick at an end or interrupted by more.
        doubled: pits whose middle was under an open valve more than once. (If the belt backs up to the cameras before
            the middle was reached, the cherry is still there, is judged again, and gets a whole pulse again.)
        clean_hit: clean cherries whose middle was under an open valve.
        stray: openings that belong to no pit.
        error_ticks: number of pulse ends by their error in ticks, late positive. A valve that opens as soon as the
            belt runs again after a standstill is not late (``belt.running``).
        error_us: error of each pulse's start in microseconds, relative to the time at which the belt reached its tick.
        off: (from, until) in ns of every error: a pulse end that is off by more than a tick (from the due time to the
            actual time), a missed pulse, a stray opening.
    """

    cherries: int = 0
    pits: int = 0
    missed: int = 0
    doubled: int = 0
    clean_hit: int = 0
    stray: int = 0
    error_ticks: Counter[int] = field(default_factory=Counter)
    error_us: list[float] = field(default_factory=list)
    off: list[tuple[int, int]] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """True if every pulse was within a tick of its place, and no valve opened otherwise."""
        beyond = [ticks for ticks in self.error_ticks if abs(ticks) > 1]
        return not (self.missed or self.doubled or self.clean_hit or self.stray or beyond)


@dataclass(frozen=True, slots=True)
class Run:
    """The record of a run.

    Attributes:
        t_ns, tick: (steps,) time and tick of every step of the belt, in order.
        driven: (t_ns, lane, level) of every change of a valve's line, in order.
    """

    t_ns: NDArray[np.int64]
    tick: NDArray[np.int64]
    driven: Sequence[tuple[int, int, int]]


class Crowd(NamedTuple):
    """The outcome of a belt on which cherries lie so close that pulses overlap.

    Attributes:
        pits: number of pits.
        missed: pits whose pulse is short by more than a tick at an end, or interrupted.
        clean: number of clean cherries.
        blown_off: clean cherries whose middle was under an open valve.
        beside: clean cherries within half a pulse of a pit in their lane: the only ones that a valve may hit.
    """

    pits: int
    missed: int
    clean: int
    blown_off: int
    beside: int


class Touching(NamedTuple):
    """The outcome of a belt on which some cherries touch. A cluster is judged and hit as one thing.

    Attributes:
        pits: pits that touch another cherry.
        without_air: of ``pits``, those that did not get a whole pulse around their middle.
        taken_along: clean cherries that touch another: hit on purpose.
        missed: pits that touch no other cherry and did not get a whole pulse.
        clean: clean cherries that touch no other.
        beside: of ``clean``, those within half a pulse of a pit or of a cluster in the same lane: the only ones that a
            valve may hit.
        hit: of ``clean``, those whose middle was under an open valve.
        needless: of ``hit``, those that are not ``beside``.
    """

    pits: int
    without_air: int
    taken_along: int
    missed: int
    clean: int
    beside: int
    hit: int
    needless: int


def aired(run: Run, lane: int, length: int) -> NDArray[np.bool_]:
    """Return (length,) True for each tick of the belt that was under an open valve of a lane."""
    air = np.zeros(length, bool)
    for opening in _openings(run)[lane]:
        air[opening.first : opening.end] = True
    return air


def settle_touching(run: Run, cherries: Cherries) -> Touching:
    """Count hits and misses, tick by tick, for the cherries that reached their nozzles."""
    furthest = int(run.tick.max()) - PULSE_TICKS
    half, length = PULSE_TICKS // 2, furthest + 8 * PULSE_TICKS
    clustered, counted = cherries.clustered, []
    for number, (place, openings) in enumerate(zip(PLAN.lanes, _openings(run), strict=True)):
        fired, wanted = np.zeros(length, bool), np.zeros(length, bool)
        for opening in openings:
            fired[opening.first - _run_up(run, opening) : opening.end] = True
        mine = (cherries.lane == number) & (cherries.due < furthest)
        due, pit, alone = cherries.due[mine], cherries.pit[mine], ~clustered[mine]
        for middle in due[pit & alone]:
            wanted[middle - half : middle + half] = True
        for low, high in _stretches(cherries, place.x_px):
            wanted[low + place.distance_ticks - half : high + place.distance_ticks + half] = True
        aired = np.asarray([fired[middle - half + 1 : middle + half - 1].all() for middle in due], bool)
        clean = ~pit & alone
        counted.append(
            (
                (pit & ~alone).sum(),
                (pit & ~alone & ~aired).sum(),
                (~pit & ~alone).sum(),
                (pit & alone & ~aired).sum(),
                clean.sum(),
                (clean & wanted[due]).sum(),
                (clean & fired[due]).sum(),
                (clean & fired[due] & ~wanted[due]).sum(),
            )
        )
    return Touching(*(int(total) for total in np.sum(counted, axis=0)))


def _stretches(cherries: Cherries, x_px: tuple[int, int]) -> list[tuple[int, int]]:
    """Return (first, last) tick at row 0 of each cluster that reaches into the columns ``x_px``."""
    numbers = np.flatnonzero(np.bincount(cherries.cluster) > 1)
    firsts, ends = np.searchsorted(cherries.cluster, numbers), np.searchsorted(cherries.cluster, numbers, side="right")
    stretches = []
    for first, end in zip(firsts.tolist(), ends.tolist(), strict=True):
        x, tick, radius = (values[first:end] for values in (cherries.x, cherries.at_row_0, cherries.radius))
        if (x - radius).min() <= x_px[1] and (x + radius).max() >= x_px[0]:
            stretches.append((int((tick - radius).min()), int((tick + radius).max())))
    return stretches


def settle_crowd(run: Run, cherries: Cherries) -> Crowd:
    """Count hits and misses, tick by tick, for the cherries that reached their nozzles."""
    furthest = int(run.tick.max()) - PULSE_TICKS
    half = PULSE_TICKS // 2
    total = Crowd(0, 0, 0, 0, 0)
    for lane, openings in enumerate(_openings(run)):
        fired, wanted = np.zeros(furthest + 2 * PULSE_TICKS, bool), np.zeros(furthest + 2 * PULSE_TICKS, bool)
        for opening in openings:
            fired[opening.first - _run_up(run, opening) : opening.end] = True
        mine = (cherries.lane == lane) & (cherries.due < furthest)
        due, pit = cherries.due[mine], cherries.pit[mine]
        for middle in due[pit]:
            wanted[middle - half : middle + half] = True
        in_lane = Crowd(
            pits=int(pit.sum()),
            missed=sum(not fired[middle - half + 1 : middle + half - 1].all() for middle in due[pit]),
            clean=int((~pit).sum()),
            blown_off=int(fired[due[~pit]].sum()),
            beside=int(wanted[due[~pit]].sum()),
        )
        total = Crowd(*(more + before for more, before in zip(in_lane, total, strict=True)))
    return total


def settle(run: Run, cherries: Cherries) -> RejectAccount:
    """Compare the openings of a run with the required pulses, for the cherries that reached their nozzles."""
    account = RejectAccount()
    openings = _openings(run)
    furthest = int(run.tick.max())
    for lane in range(LANES):
        mine = np.flatnonzero((cherries.lane == lane) & (cherries.due < furthest - PULSE_TICKS))
        due, pit = cherries.due[mine], cherries.pit[mine]
        first = int(due[0]) - PULSE_TICKS if len(due) else furthest
        mine_open = sorted(opening for opening in openings[lane] if first <= opening.first < furthest - 2 * PULSE_TICKS)
        account.cherries += len(mine)
        account.pits += int(pit.sum())
        starts = np.asarray([opening.first for opening in mine_open], np.int64)
        used: set[Opening] = set()
        for middle in due[pit]:
            on, off = int(middle) - PULSE_TICKS // 2, int(middle) + PULSE_TICKS // 2
            low, high = np.searchsorted(starts, [on - PULSE_TICKS, off])
            parts = [part for part in mine_open[low:high] if part.end > on]
            used.update(parts)
            _settle_pulse(account, run, parts, (on, off))
        stray = [opening for opening in mine_open if opening not in used]
        account.stray += len(stray)
        account.off += [(opening.opened_ns, opening.shut_ns) for opening in stray]
        for middle in due[~pit]:
            place = int(np.searchsorted(starts, middle, side="right")) - 1
            account.clean_hit += int(place >= 0 and mine_open[place].end > middle)
    return account


def _settle_pulse(account: RejectAccount, run: Run, parts: list[Opening], wanted: tuple[int, int]) -> None:
    """Count the openings that belong to one pit: one, or several if the belt backed up during the pulse."""
    on, off = wanted
    if not parts:
        account.missed += 1
        account.off.append((_first_at_ns(run, on), _first_at_ns(run, off)))
        return
    middle = (on + off) // 2
    account.doubled += int(sum(part.first <= middle < part.end for part in parts) > 1)
    ends = np.maximum.accumulate([part.end for part in parts]).tolist()
    gaps = [(later.first - end, later) for end, later in zip(ends, parts[1:], strict=False)]
    late = parts[0].first - on
    errors = (late - min(late, _run_up(run, parts[0])) if late > 1 else late, ends[-1] - off)
    parted = any(gap > 1 and gap > _run_up(run, later) for gap, later in gaps)
    account.missed += int(parted or errors[0] > 1 or errors[1] < -1)
    account.error_ticks.update(errors)
    opened_ns = parts[0].opened_ns
    due_ns = _due_ns(run, on, opened_ns)
    account.error_us.append(float("nan") if due_ns is None else (opened_ns - due_ns) / 1000)
    for error, tick, at_ns in zip(errors, wanted, (opened_ns, parts[-1].shut_ns), strict=True):
        if abs(error) > 1:
            account.off.append((_due_ns(run, tick, at_ns) or at_ns, at_ns))


def _run_up(run: Run, opening: Opening) -> int:
    """Return the ticks that the belt ran between a standstill and an opening; 0 if it ran further than its jitter."""
    before = opening.first - RULES.jitter_ticks - 1
    paused_ns = opening.opened_ns - _first_at_ns(run, before)
    return opening.first - before if paused_ns > RULES.max_on_ns else 0


def _due_ns(run: Run, tick: int, near_ns: int) -> int | None:
    """Return the last time before ``near_ns`` at which the belt reached a tick, or else the first time after it."""
    step = int(np.searchsorted(run.t_ns, near_ns, side="right")) - 1
    near = np.flatnonzero(run.tick[max(0, step - 200) : step + 200] == tick) + max(0, step - 200)
    if not len(near):
        return None
    before = near[near <= step]
    return int(run.t_ns[before[-1] if len(before) else near[0]])


def _first_at_ns(run: Run, tick: int) -> int:
    """Return the time in ns at which the belt first reached a tick."""
    return int(run.t_ns[int(np.argmax(run.tick >= tick))])


def _openings(run: Run) -> list[list[Opening]]:
    """Return each lane's openings in ticks: from the tick at opening to the furthest tick while the valve was open."""
    opened: dict[int, tuple[int, int]] = {}
    openings: list[list[Opening]] = [[] for _ in range(LANES)]
    for t_ns, lane, level in run.driven:
        step = max(0, int(np.searchsorted(run.t_ns, t_ns, side="right")) - 1)
        if level:
            opened[lane] = step, t_ns
        elif lane in opened:
            start, opened_ns = opened.pop(lane)
            end = int(run.tick[start : max(step, start + 1)].max()) + 1
            openings[lane].append(Opening(int(run.tick[start]), end, opened_ns, t_ns))
    return openings
