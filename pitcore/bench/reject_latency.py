"""Tests valves whose air comes late, on a belt that brakes, stops and starts again, in virtual time.

The air that reaches the belt is that of the valve ``latency`` before. A valve is switched earlier by the belt's travel
in that time, which nobody knows while a brake or a start is younger than the latency. So pits are counted in two
groups: those at which the travel could be known, which must be hit, and those behind such a change. Of both each pulse
that is cut short must be counted by the actuator.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pitcore.bench.reject_account import RULES, Run, aired
from pitcore.bench.reject_line import LANES, PULSE_TICKS, Cherries, lay
from pitcore.bench.rejects import TICKS_PER_S, VirtualLine

LATENCIES_MS = (0, 5, 10, 20)
GRID_NS = 200_000  # the speed of the belt is given at these intervals
BRAKE_S, START_S = (0.05, 0.4), (0.1, 0.6)  # a brake from full speed, and a start
KNOWN_AFTER = 1.25  # latencies after which a change of the acceleration has been measured
KNOWN_AFTER_NS = 5_000_000  # and time for it, as encoder steps are few at low speed
COUNTED_NS = 100_000_000  # after a pulse it must be counted within this time
CUT_TICKS = RULES.jitter_ticks + 2  # a pulse that loses no more is whole: the run-up, and a lost edge


@dataclass(slots=True)
class Late:
    """The outcome of a belt with valves of one latency.

    Attributes:
        latency_ms: from the line to the air.
        stops, starts: number of brakes, also of those that only slow the belt down, and of starts.
        pits: number of pits, without and with a change of the belt's acceleration that was too young to be known.
        missed: of ``pits``, those that got less than half a pulse.
        cut: of ``pits``, those whose pulse is short by more than CUT_TICKS.
        silent: of ``cut``, those that no event counts, both groups together.
        events: the events ``reject_late`` and ``reject_skipped``.
        lost_share: of the cut pulses of the second group, the share of their ticks that got no air.
        clean: number of clean cherries.
        hit: of ``clean``, those whose middle got air.
        over_standing: openings over a belt that had been stopped for longer than ``max_on_ms``.
    """

    latency_ms: int
    stops: int = 0
    starts: int = 0
    pits: list[int] = field(default_factory=lambda: [0, 0])
    missed: list[int] = field(default_factory=lambda: [0, 0])
    cut: list[int] = field(default_factory=lambda: [0, 0])
    silent: int = 0
    events: int = 0
    lost_share: float = 0.0
    clean: int = 0
    hit: int = 0
    over_standing: int = 0

    @property
    def good(self) -> bool:
        """True if every pit was hit whose place could be known, and no pulse was cut short without an event."""
        return not (self.missed[0] or self.silent or self.over_standing)


@dataclass(frozen=True, slots=True)
class Motion:
    """A belt that brakes and starts.

    Attributes:
        t_ns, tick: (steps,) time and tick of every step, in order.
        stops, starts: times at which a brake or a start begins, in ns.
    """

    t_ns: NDArray[np.int64]
    tick: NDArray[np.int64]
    stops: list[int]
    starts: list[int]


def braking(last_tick: int, ticks_per_s: float, seed: int) -> Motion:
    """Make a belt that brakes every few thousand ticks until it has passed ``last_tick``.

    Brakes and starts are linear and last 50 to 600 ms. A third of the brakes only slow the belt down. A stop lasts 10
    to 600 ms, and in some the belt backs up. Each step comes up to a tenth of its period too early or too late.
    """
    rng = np.random.default_rng(seed)
    speed, at_s, stops, starts = [0.0], [0.0], [], []  # a polygon of the speed over time
    passed = 0.0

    def go(seconds: float, ticks_per_s: float) -> None:
        nonlocal passed
        passed += seconds * (speed[-1] + ticks_per_s) / 2
        at_s.append(at_s[-1] + seconds)
        speed.append(ticks_per_s)

    while passed <= last_tick:
        full = ticks_per_s * rng.uniform(0.7, 1.3)
        starts.append(round(at_s[-1] * 1e9))
        go(_between(rng, START_S), full)
        go(rng.uniform(0.1, 0.7), full)
        stops.append(round(at_s[-1] * 1e9))
        low = full * rng.uniform(0.2, 0.6) if rng.random() < 1 / 3 else 0.0
        go(_between(rng, BRAKE_S) * (1 - low / full), low)
        if low:
            go(rng.uniform(0.01, 0.5), low)
            continue
        go(rng.choice([rng.uniform(0.01, 0.1), rng.uniform(0.25, 0.6)]), 0.0)
        if rng.random() < 0.2:
            go(0.1, -500.0)
            go(rng.uniform(0.01, 0.6), -500.0)
            go(0.1, 0.0)
    t_ns = np.arange(0, at_s[-1] * 1e9, GRID_NS)
    along = np.interp(t_ns / 1e9, at_s, speed)
    place = np.cumsum(along) * GRID_NS / 1e9
    times, ticks = _steps(t_ns, along, place)
    period_ns = np.diff(times, append=times[-1] + 1e5)
    times = times + np.minimum(period_ns, 1e6) * rng.uniform(-0.1, 0.1, len(times))
    return Motion(np.maximum.accumulate(times).astype(np.int64), ticks, stops, starts)


def _between(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """Return a number between bounds; each ratio is equally likely."""
    return float(np.exp(rng.uniform(*np.log(bounds))))


def _steps(
    t_ns: NDArray[np.float64], speed: NDArray[np.float64], place: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (steps,) times in ns and ticks at which a belt at ``place``, (N,) ticks at ``t_ns``, passes each tick."""
    turns = np.flatnonzero(np.diff(np.sign(speed)[speed != 0]) != 0)
    moving = np.flatnonzero(speed != 0)
    times, ticks = [], []
    for part in np.split(moving, turns + 1):
        first, last = int(np.floor(place[part[0]])), int(np.floor(place[part[-1]]))
        if last > first:
            passed = np.arange(first + 1, last + 1)
            times.append(np.interp(passed, place[part], t_ns[part]))
            ticks.append(passed)
        elif last < first:
            passed = np.arange(first, last, -1)
            times.append(np.interp(-passed, -place[part], t_ns[part]))
            ticks.append(passed - 1)
    return np.concatenate(times), np.concatenate(ticks).astype(np.int64)


def delayed(count: int, latency_ms: int, seed: int) -> Late:
    """Run a belt of cherries past valves whose air comes ``latency_ms`` after the switch."""
    cherries = lay(count, seed)
    motion = braking(int(cherries.due.max()) + 400, TICKS_PER_S, seed + 1)
    line = VirtualLine(cherries, motion.t_ns, motion.tick, seed + 2, latency_ms * 1_000_000)
    line.run(None)
    return settle_late(motion, line, cherries, latency_ms)


def settle_late(motion: Motion, line: VirtualLine, cherries: Cherries, latency_ms: int) -> Late:
    """Compare the air that reached the belt with the pulses, tick by tick."""
    outcome = Late(latency_ms, len(motion.stops), len(motion.starts))
    latency_ns = latency_ms * 1_000_000
    run = Run(motion.t_ns, motion.tick, [(t_ns + latency_ns, lane, level) for t_ns, lane, level in line.driven])
    length = int(motion.tick.max()) + PULSE_TICKS
    first_ns = motion.t_ns[np.searchsorted(np.maximum.accumulate(motion.tick), np.arange(length - PULSE_TICKS))]
    changes = np.sort([*motion.stops, *motion.starts])
    counted = np.asarray(line.counted, np.int64)
    outcome.events = len(counted)
    half, lost = PULSE_TICKS // 2, []
    for lane in range(LANES):
        air = aired(run, lane, length)
        mine = (cherries.lane == lane) & (cherries.due < length - 4 * PULSE_TICKS)
        outcome.clean += int((mine & ~cherries.pit).sum())
        outcome.hit += int(air[cherries.due[mine & ~cherries.pit]].sum())
        for middle in cherries.due[mine & cherries.pit].tolist():
            got = air[middle - half : middle + half]
            began_ns, ended_ns = first_ns[middle - half], first_ns[middle + half]
            known_ns = began_ns - latency_ns * KNOWN_AFTER - KNOWN_AFTER_NS
            group = int(np.searchsorted(changes, known_ns) < np.searchsorted(changes, ended_ns))
            outcome.pits[group] += 1
            outcome.missed[group] += int(got.sum() < half)
            if got.sum() < PULSE_TICKS - CUT_TICKS:
                outcome.cut[group] += 1
                lost += [PULSE_TICKS - int(got.sum())] * group
                within = np.searchsorted(counted, [known_ns, ended_ns + COUNTED_NS])
                outcome.silent += int(within[0] == within[1])
    outcome.lost_share = float(np.mean(lost)) / PULSE_TICKS if lost else 0.0
    outcome.over_standing = _over_standing(motion, line)
    return outcome


def _over_standing(motion: Motion, line: VirtualLine) -> int:
    """Return the openings of valves at a belt that had been stopped for longer than the limit."""
    before = np.searchsorted(motion.t_ns, [t_ns for t_ns, _, level in line.driven if level], side="right") - 1
    opened_ns = np.asarray([t_ns for t_ns, _, level in line.driven if level])
    return int((opened_ns - motion.t_ns[np.maximum(before, 0)] > RULES.max_on_ns).sum())
