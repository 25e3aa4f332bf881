"""Runs series of measurements: the cost of a cherry, and the behaviour under too high a load."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from pitcore.bench.load import Load
from pitcore.bench.run import Sample, measure
from pitcore.config import Config, EmulatedSourceConfig
from pitcore.machine import memory_mb, usable_cores
from pitcore.text_table import table

HIGHER = 3
CHERRIES, REFERENCE_CHERRIES = (0, 1, 8, 24, 60, 200), 24
EASY = 0.3  # share of the highest frame rate: the load of a quiet day
MAX_LATENCY_RATIO = 2.0


@dataclass(frozen=True, slots=True)
class Sharing:
    """How the network uses several cores: workers that judge different cherries, or threads that share each layer."""

    workers: int
    threads: int = 1

    def __str__(self) -> str:
        if self.threads > 1:
            return f"each layer on {self.threads} threads"
        return f"{self.workers} worker{'s' * (self.workers > 1)}"


def sweep(config: Config, seconds: float, bar: Any) -> str:  # noqa: ANN401  click's progress bar
    """Measure the time of a frame by number of cherries and number of workers, and fit a line.

    The frames are higher than the configuration's, because 200 cherries do not fit into the production geometry. A
    second table repeats the reference load beside a program that keeps one core busy.

    Args:
        config: configuration of the board.
        seconds: duration of all runs together.
        bar: progress bar, updated from 0 to 100.

    Returns:
        The text of both tables and the fitted lines.
    """
    cores = usable_cores()
    ways = [*(Sharing(workers) for workers in range(1, cores + 1)), *([Sharing(1, cores)] if cores > 1 else [])]
    frame = msgspec.structs.replace(config.frame, height_px=config.frame.height_px * HIGHER)
    belt = EmulatedSourceConfig(advance_px=frame.height_px)  # every cherry is new in every frame
    config = msgspec.structs.replace(config, frame=frame, source=belt)
    each_s = max(0.5, seconds / (len(ways) * (len(CHERRIES) + 2)))
    move = 100 / (len(ways) * (len(CHERRIES) + 2))
    points: dict[Sharing, list[tuple[float, float]]] = {way: [] for way in ways}
    rows = []
    for cherries in CHERRIES:
        for way in ways:  # interleaved, so that a noisy minute affects all of them
            sample = _shared(config, Load(cherries, None, each_s), way)
            busy, crops = float(np.median(sample.busy_ms)), sample.crops / max(1, sample.frames)
            points[way].append((crops, busy))
            others = float(np.median(sample.busy_ms - sample.stage_ms["infer"]))
            rows.append([str(way), str(cherries), f"{crops:.1f}", f"{busy:.2f}", f"{others:.3f}"])
            bar.update(round(move))
    lines = [
        f"  frames of {frame.width_px}x{frame.height_px} px",
        table(["", "in view", "crops", "ms a frame", "of it not network"], rows),
        "",
    ]
    for way, measured in points.items():
        x, y = np.array(measured).T
        slope, start = np.polyfit(x, y, 1)
        worst = float(np.abs(y - slope * x - start).max())
        lines.append(f"  {way}: {start:z.2f} ms a frame, {slope:z.3f} ms a cherry; at most {worst:.2f} ms off the line")
    rows = []
    for way in ways:
        alone = _shared(config, Load(REFERENCE_CHERRIES, None, each_s), way)
        with _busy_neighbour():
            beside = _shared(config, Load(REFERENCE_CHERRIES, None, each_s), way)
        rows.append(
            [
                str(way),
                *(f"{np.percentile(one.busy_ms, share):.2f}" for one in (alone, beside) for share in (50, 99)),
            ]
        )
        bar.update(round(2 * move))
    head = ["", "alone p50", "alone p99", "beside p50", "beside p99"]
    lines += [
        "",
        f"  {REFERENCE_CHERRIES} cherries in view, ms a frame; beside: another program keeps one core busy",
    ]
    return "\n".join([*lines, table(head, rows)])


def _shared(config: Config, load: Load, way: Sharing) -> Sample:
    runtime = msgspec.structs.replace(config.runtime, threads=way.threads)
    return measure(msgspec.structs.replace(config, runtime=runtime), load, way.workers)


@contextmanager
def _busy_neighbour() -> Iterator[None]:
    """Keep one core busy with another program."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
        try:
            yield
        finally:
            neighbour.kill()


def overload(config: Config, load: Load, factor: float, bar: Any) -> str:  # noqa: ANN401
    """Offer several times the load that this machine can process, and compare the latency with that of a quiet day.

    Args:
        config: configuration of the board.
        load: cherries in view, and seconds for each of three runs.
        factor: offered frame rate as a multiple of the highest possible one.
        bar: progress bar, updated from 0 to 100.

    Returns:
        The text of the report.
    """
    fastest = measure(config, Load(load.cherries, None, load.seconds))
    bar.update(33)
    possible = fastest.frames / fastest.wall_s
    easy = _paced(config, load, possible * EASY)
    bar.update(33)
    much = _paced(config, load, possible * factor)
    bar.update(34)
    ratio = float(np.median(much.stage_ms["total"]) / np.median(easy.stage_ms["total"]))
    exact = "exact" if much.offered == much.processed + much.dropped else "NOT EQUAL"
    rows = [
        [name, f"{pace:.1f}", str(sample.processed), str(sample.dropped), f"{np.median(sample.stage_ms['total']):.1f}",
         f"{np.percentile(sample.stage_ms['total'], 99):.1f}"]
        for name, pace, sample in (
            ("quiet day", possible * EASY, easy),
            (f"{factor:g} times too much", possible * factor, much),
        )
    ]  # fmt: skip
    return "\n".join(
        [
            f"  as fast as it goes: {possible:.1f} frames/s of {load.cherries:g} cherries in view",
            table(["", "frames/s offered", "processed", "dropped", "ms p50", "ms p99"], rows),
            (
                f"  offered {much.offered} = processed {much.processed} + dropped {much.dropped}: {exact}; at most "
                f"{config.runtime.queue_frames} frames wait"
            ),
            f"  latency {ratio:.2f} times that of the quiet day (bar: {MAX_LATENCY_RATIO:g})",
            f"  {memory_mb()[0]:.0f} MB resident",
        ]
    )


def _paced(config: Config, load: Load, frames_per_s: float) -> Sample:
    frames = max(50, round(frames_per_s * load.seconds))
    return measure(config, Load(load.cherries, frames_per_s, load.seconds, frames))
