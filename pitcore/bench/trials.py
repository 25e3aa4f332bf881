"""Several runs that answer one question: what a cherry costs, and what happens when too many come."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from pitcore.bench.load import Load
from pitcore.bench.machine import memory_mb
from pitcore.bench.run import Sample, measure
from pitcore.cli.tables import table
from pitcore.config import Config, EmulatedSourceConfig

HIGHER = 3
CHERRIES, THREADS = (0, 1, 8, 24, 60, 200), (1, 2)
EASY = 0.3  # of what it can do: the load of a quiet day
MAX_LATENCY_RATIO = 2.0


def sweep(config: Config, seconds: float, bar: Any) -> str:  # noqa: ANN401  click's progress bar
    """Measure the cost of a frame over its cherries, and fit a line.

    The frames are higher than the configuration's, since 200 cherries do not fit the production geometry.

    Args:
        config: of the board.
        seconds: for all runs together.
        bar: is moved from 0 to 100.
    """
    frame = msgspec.structs.replace(config.frame, height_px=config.frame.height_px * HIGHER)
    belt = EmulatedSourceConfig(advance_px=frame.height_px)  # every cherry is new in every frame
    config = msgspec.structs.replace(config, frame=frame, source=belt)
    runs = [(threads, cherries) for threads in THREADS for cherries in CHERRIES]
    found: dict[int, list[tuple[float, float]]] = {threads: [] for threads in THREADS}
    rows = []
    for threads, cherries in runs:
        load = Load(cherries, None, max(0.5, seconds / len(runs)))
        sample = measure(config, load, threads)
        busy, crops = float(np.median(sample.busy_ms)), sample.crops / max(1, sample.frames)
        found[threads].append((crops, busy))
        others = float(np.median(sample.busy_ms - sample.stage_ms["infer"]))
        rows.append([f"{threads} threads", str(cherries), f"{crops:.1f}", f"{busy:.2f}", f"{others:.3f}"])
        bar.update(round(100 / len(runs)))
    lines = [
        f"  frames of {frame.width_px}x{frame.height_px} px",
        table(["", "in view", "crops", "ms a frame", "of it not network"], rows),
        "",
    ]
    for threads, points in found.items():
        x, y = np.array(points).T
        slope, start = np.polyfit(x, y, 1)
        worst = float(np.abs(y - slope * x - start).max())
        lines.append(
            f"  {threads} threads: {start:.2f} ms a frame, {slope:.3f} ms a cherry; at most {worst:.2f} ms off the line"
        )
    return "\n".join(lines)


def overload(config: Config, load: Load, factor: float, bar: Any) -> str:  # noqa: ANN401
    """Offer several times what this machine can do, and hold the latency against that of a quiet day.

    Args:
        config: of the board.
        load: cherries in view, and seconds for each of three runs.
        factor: how many times.
        bar: is moved from 0 to 100.
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
