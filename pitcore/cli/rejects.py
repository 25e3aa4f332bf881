"""Implements ``pitcore-bench --rejects``, which checks that every pit is hit at its place."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from pitcore.bench import reject_report, schedule_speed
from pitcore.bench.reject_latency import LATENCIES_MS, delayed
from pitcore.bench.rejects import Progress, RejectResult, crowded, touching, virtual
from pitcore.bench.rejects_live import Conditions, live, wake_ups_us
from pitcore.cli.progress import progress

OFF = 3  # exit code if a pulse is not where it should be
LIVE_SHARE = 100
LATE_SHARE = 10
CROWD_SHARE, PER_FRAME = 10, (24, 48, 96)  # the reference load, and twice and four times as many
SEED = 1


def tell_rejects(cherries: int) -> None:
    """Run cherries in virtual time, a tenth crowded, touching and for each latency, a hundredth in real time; print.

    Two more figures are printed without a pass mark: of a valve process that only sleeps, and of one beside a busy
    thread, which is harder than any service.
    """
    count = max(100, cherries // LIVE_SHARE)
    outcomes = {
        "virtual time": _with_progress(lambda tell: virtual(cherries, SEED, tell)),
        "real time": _with_progress(lambda tell: live(count, SEED, progress=tell)),
        "real time, valve process only sleeps": _with_progress(
            lambda tell: live(count, SEED, Conditions(only_sleeps=True), tell)
        ),
        "real time, beside a busy thread": _with_progress(
            lambda tell: live(count, SEED, Conditions(beside_a_busy_thread=True), tell)
        ),
    }
    for title, outcome in outcomes.items():
        click.echo(reject_report.text(title, outcome) + "\n")
    crowds = {per_frame: crowded(max(800, cherries // CROWD_SHARE), per_frame, SEED) for per_frame in PER_FRAME}
    click.echo(reject_report.crowd_text(crowds) + "\n")
    touched = touching(max(800, cherries // CROWD_SHARE), PER_FRAME[0], SEED)
    click.echo(reject_report.touching_text(touched, PER_FRAME[0]) + "\n")
    late = [delayed(max(800, cherries // LATE_SHARE), latency_ms, SEED) for latency_ms in LATENCIES_MS]
    click.echo(reject_report.late_text(late) + "\n")
    click.echo(reject_report.wake_text(wake_ups_us()) + "\n")
    click.echo(reject_report.speed_text(schedule_speed.measure()))
    missed = any(crowd.missed for crowd in crowds.values())
    missed = missed or bool(touched.without_air or touched.missed or touched.needless)
    missed = missed or not all(one.good for one in late)
    if missed or not (outcomes["virtual time"].account.good and outcomes["real time"].account.good):
        sys.exit(OFF)


def _with_progress(run: Callable[[Progress], RejectResult]) -> RejectResult:
    with progress("measure", 100) as bar:
        done = 0

        def tell(share: float) -> None:
            nonlocal done
            bar.update(round(share * 100) - done)
            done = round(share * 100)

        return run(tell)
