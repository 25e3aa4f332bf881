"""Measures the behaviour under too high a load."""

from __future__ import annotations

from typing import Any

import numpy as np

from pitcore.bench.load import Load
from pitcore.bench.run import Sample, measure
from pitcore.config import Config
from pitcore.machine import memory_mb
from pitcore.text_table import table

EASY = 0.3  # share of the highest frame rate: the load of a quiet day
MAX_LATENCY_RATIO = 2.0


def overload(config: Config, load: Load, factor: float, bar: Any) -> str:  # noqa: ANN401  click's progress bar
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
