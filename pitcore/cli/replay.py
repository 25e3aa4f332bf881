"""Implements ``pitcore replay``, which judges a recording reproducibly."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from pitcore import __version__
from pitcore.camera.replay import ReplaySource
from pitcore.cli.options import bundle_option, config_option, read_config
from pitcore.cli.parameters import InputPath, OutputFile
from pitcore.cli.progress import progress
from pitcore.cli.report import Watcher, fresh_file, print_counts, print_run, print_score
from pitcore.config import operating_point
from pitcore.emulator.scoring import score
from pitcore.loop.app import App, Options
from pitcore.loop.pipeline import Hooks
from pitcore.machine import usable_cores
from pitcore.metrics import Metrics
from pitcore.output_path import VERDICT_FILE
from pitcore.sinks.memory import MemorySink
from pitcore.sinks.sink import Sink


@click.command()
@click.argument("directory", type=InputPath(), metavar="DIR")
@click.option(
    "--out",
    default=Path("out/replay/verdicts.jsonl"),
    show_default=True,
    type=OutputFile(VERDICT_FILE, makes_folders=True),
    help="File for the verdicts.",
)
@click.option("--timings", is_flag=True, help="Write latencies into the verdicts; two runs then differ.")
@click.option("--workers", type=click.IntRange(1, 64), help="Number of cores that judge. Default: all.")
@config_option
@bundle_option
def replay(
    directory: Path, out: Path, timings: bool, workers: int | None, config_path: Path | None, bundle: Path | None
) -> None:
    """Judge the recording in DIR, as fast as this machine can.

    Every frame is played and none is dropped. With the same model and configuration the verdict file is the same byte
    for byte, on any number of cores. Its hash is printed. If the recording holds the truth, the verdicts are compared
    with it. Without --config the operating point is `strict`; `pitcore demo` judges by `balanced`.

    \b
    Examples:
      pitcore replay out/rec
      pitcore replay out/rec --bundle out/bundle --out out/candidate.jsonl
    """
    config = read_config(config_path, bundle)
    source = ReplaySource(directory)
    truths = source.truths()
    metrics, memory = Metrics(), MemorySink()
    with progress("replay", source.frames) as bar:
        watcher = Watcher(tell=lambda: bar.update(1))
        hooks = Hooks(observe=watcher.see)
        sinks: list[Sink] = [fresh_file(out, metrics), memory]
        options = Options(sinks=sinks, timings=timings, hooks=hooks, workers=workers or usable_cores())
        app = App(config, source, options, metrics)
        app.run()
    click.echo(f"pitcore {__version__}, model {app.bundle.label}, recording {directory}\n")
    if source.torn:
        click.echo("the recorder was killed: its last frame is not whole and was left out\n")
    if truths:
        print_score(score(truths, memory.verdicts, watcher.ticks, source.geometry), metrics)
    else:
        print_counts(metrics)
    operating = operating_point(app.bundle.card, config.decision)
    click.echo(f"\noperating point {operating.point}: {operating.promise}")
    print_run(metrics)
    click.echo(f"\nwritten: {out}, sha256 {hashlib.sha256(out.read_bytes()).hexdigest()}")
