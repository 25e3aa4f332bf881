"""Formats the results of the reject benchmark as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pitcore.actuation.wakeup_margin import Gap
from pitcore.bench.reject_account import Crowd, Touching
from pitcore.bench.reject_latency import Late
from pitcore.bench.rejects import RejectResult
from pitcore.bench.schedule_speed import TICKS_PER_S, Speed

BAR_WIDTH = 40
BOUNDS_US = (-200, -100, 0, 25, 50, 100, 200, 500, 1000, 5000)

GAPS = {
    Gap.ASLEEP: "woken late",
    Gap.AWAKE: "awake, but not running on a core",
    Gap.AT_WORK: "between reading edges and switching",
}


def text(title: str, outcome: RejectResult) -> str:
    """Return the figures of a run and the histograms of its errors."""
    account = outcome.account
    lines = [
        f"{title}: {account.cherries} cherries, {outcome.took_s:.1f} s",
        f"  belt      {outcome.steps} ticks, {outcome.backed_up} of them backwards",
        f"  encoder   {outcome.lost} edges lost, {outcome.glitches} disturbed",
        f"  pits      {account.pits}: {account.missed} missed, {account.doubled} fired at twice",
        f"  others    {account.cherries - account.pits}: {account.clean_hit} under an open valve",
        f"  openings  {account.stray} that belong to no pit",
        "  error of a pulse's ends in ticks, late positive",
    ]
    lines += _bars({f"{ticks}": number for ticks, number in sorted(account.error_ticks.items())})
    known = [value for value in account.error_us if not math.isnan(value)]  # the belt reached the tick
    if known:
        lines.append(f"  error of its start in us: {_spread(known)}")
        counts, _ = np.histogram(known, [-np.inf, *BOUNDS_US, np.inf])
        names = [f"< {bound}" for bound in BOUNDS_US] + [f">= {BOUNDS_US[-1]}"]
        lines += _bars({name: int(count) for name, count in zip(names, counts, strict=True) if count})
    if outcome.gaps is not None:
        lines += _gaps(outcome.gaps, outcome.held_up())
    lines.append(
        f"  {'every' if account.good else 'NOT every'} pulse is within a tick of its place, and none beside it"
    )
    return "\n".join(lines)


def _bars(numbers: dict[str, int]) -> list[str]:
    """Draw a histogram, one line for each bin."""
    most = max(numbers.values(), default=1)
    return [
        f"  {name:>8}  {number:7d}  {'#' * round(number / most * BAR_WIDTH)}".rstrip()
        for name, number in numbers.items()
    ]


def _gaps(gaps: NDArray[np.int64], held_up: dict[Gap | None, int]) -> list[str]:
    """Return the pauses of the valve process by kind, and the number of errors that fall into them."""
    lines = [
        "  pauses of the valve process: number, longest in us, share in which another program ran, errors in them",
    ]
    for gap, name in GAPS.items():
        mine = gaps[gaps[:, 2] == gap]
        lasted_us = (mine[:, 1] - mine[:, 0]) / 1000
        queued = min(1.0, mine[:, 3].sum() / 1000 / max(lasted_us.sum(), 1.0))
        numbers = f"{len(mine):5d} {lasted_us.max(initial=0):7.0f} {queued:5.0%} {held_up.get(gap, 0):4d}"
        lines.append(f"    {name:38}  {numbers}")
    lines.append(f"    {'no pause':38}  {'':19} {held_up.get(None, 0):4d}")
    return lines


def crowd_text(crowds: dict[int, Crowd]) -> str:
    """Return the table of crowded belts; a key is the number of cherries in a frame."""
    lines = [
        "crowded belt, virtual time: cherries of 60 px anywhere in their lanes, none over another; pulses of 40",
        f"  {'a frame shows':>13} {'pits':>7} {'missed':>7} {'others':>7}  blown off, of them beside a pit",
    ]
    for per_frame, crowd in crowds.items():
        share = crowd.blown_off / max(1, crowd.clean)
        numbers = f"{per_frame:13d} {crowd.pits:7d} {crowd.missed:7d} {crowd.clean:7d}"
        lines.append(f"  {numbers}  {crowd.blown_off} ({share:.1%}), {crowd.beside}")
    return "\n".join(lines)


def touching_text(outcome: Touching, per_frame: int) -> str:
    """Return the figures of a belt with touching cherries."""
    lines = [f"touching cherries, virtual time: one to four in a cluster, over lanes' borders too, {per_frame} a frame"]
    lines.append(
        f"  touch     {outcome.pits + outcome.taken_along}: {outcome.pits} pits; {outcome.taken_along} clean, hit on "
        "purpose: a cluster is one thing, a pit may be anywhere in it"
    )
    lines.append(
        f"  alone     {outcome.clean} clean: {outcome.hit} hit, of the {outcome.beside} within half a pulse of a pit "
        f"or a cluster, and {outcome.needless} elsewhere; {outcome.missed} pits missed"
    )
    return "\n".join([*lines, f"  {outcome.without_air:,} of {outcome.pits:,} touching pits without air"])


def late_text(outcomes: Sequence[Late]) -> str:
    """Return the table of valves with a latency on a belt that brakes."""
    lines = [
        "valves with a latency, virtual time: the belt brakes in 50 to 400 ms, stops, backs up, starts again",
        "  unforeseen: a brake or start began within about 1.25 latencies before the pulse, or in it",
        f"  {'':>7} {'brakes,':>8} {'foreseen':>24} {'unforeseen':>24}  {'cut pulses':>12} {'':>9} {'opened over':>12}",
        f"  {'latency':>7} {'starts':>8}" + 2 * f" {'pits':>8} {'missed':>7} {'cut':>7}" + f"  {'not counted':>12} "
        f"{'clean hit':>9} {'stopped belt':>12}",
    ]
    for one in outcomes:
        groups = zip(one.pits, one.missed, one.cut, strict=True)
        numbers = " ".join(f"{pits:8d} {missed:7d} {cut:7d}" for pits, missed, cut in groups)
        lines.append(
            f"  {one.latency_ms:4d} ms {one.stops + one.starts:8d} {numbers}  {one.silent:12d} {one.hit:9d} "
            f"{one.over_standing:12d}"
        )
    worst = max(outcomes, key=lambda one: one.lost_share)
    lines.append(
        f"  an unforeseen cut pulse loses {worst.lost_share:.0%} of its ticks on average at {worst.latency_ms} ms; "
        "a pit is missed if it gets less than half of its pulse"
    )
    verdict = "every" if all(one.good for one in outcomes) else "NOT every"
    return "\n".join([*lines, f"  {verdict} pit that could be foreseen is hit, and every cut pulse is counted"])


def wake_text(late_us: NDArray[np.float64]) -> str:
    """Return the delays of wake-ups on this machine, for comparison with the errors in real time."""
    return "for comparison, wake-ups of a sleeping thread of the same priority are late, in us: " + _spread(late_us)


def _spread(values: Sequence[float] | NDArray[np.float64]) -> str:
    percentiles = np.percentile(values, [0, 50, 90, 99, 100])
    named = zip(("least", "p50", "p90", "p99", "most"), percentiles, strict=True)
    return ", ".join(f"{name} {value:.0f}" for name, value in named)


def speed_text(speed: Speed) -> str:
    """Return the time of the schedule for each tick, compiled and as plain Python."""
    if not speed.compiled:
        return f"the schedule is not compiled here: {speed.plain_ns:.0f} ns a tick"
    compiled, plain = speed.installed_ns, speed.plain_ns
    share = [f"{cost * TICKS_PER_S / 1e9:.3%}" for cost in (compiled, plain)]
    return (
        f"the schedule, compiled by Cython: {compiled:.0f} ns a tick; as plain Python {plain:.0f}: "
        f"{plain / compiled:.1f} times. At {TICKS_PER_S} ticks a second {share[0]} of a core instead of {share[1]}"
    )
