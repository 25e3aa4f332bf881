"""``pitcore demo``: the whole way, without a camera."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np

from pitcore.app import App, Options, emulated_belt
from pitcore.camera.emulated import EmulatedSource
from pitcore.cli.options import bundle_option, config_option, read_config
from pitcore.cli.tables import confusion_table, run_table
from pitcore.errors import SinkError
from pitcore.frame import Frame
from pitcore.metrics import Metrics
from pitcore.picture import Snapshot, draw
from pitcore.pipeline import Hooks
from pitcore.scoring import Score, score
from pitcore.sinks.jsonl import JsonlSink
from pitcore.sinks.memory import MemorySink

NO_ROTATION = 1 << 40  # a demo writes one file


@click.command()
@click.option("--frames", default=60, show_default=True, type=click.IntRange(1, 100_000), help="Frames to process.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Another seed, another belt.")
@click.option(
    "--crops",
    type=click.Path(path_type=Path),
    help="Lay real crops on the belt: a folder with cherry_clean/ and cherry_pit/. Default: procedural cherries.",
)
@click.option(
    "--out", default=Path("out/demo"), show_default=True, type=click.Path(path_type=Path), help="Where to write."
)
@config_option
@bundle_option
def demo(
    frames: int, seed: int, crops: Path | None, out: Path, config_path: Path | None, bundle: Path | None
) -> None:
    """Run an emulated belt through the model and show what came of it.

    Prints frames, cherries, verdicts against the truth and the latency of each stage, and writes
    OUT/verdicts.jsonl and OUT/belt.png. With --crops every crop of the folder goes over the belt once,
    unless --frames ends it earlier.

    \b
    Examples:
      pitcore demo
      pitcore demo --frames 200 --seed 7
      pitcore demo --crops ../shared/cherries/train --frames 1000
    """
