"""Implements ``pitcore demo``: the whole pipeline without a camera."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from pitcore import __version__
from pitcore.camera.crops import fold_of
from pitcore.camera.truth import Truth
from pitcore.cli.options import bundle_option, config_option, read_config, with_emulated_belt
from pitcore.cli.parameters import InputPath, OutputFolder
from pitcore.cli.picture import draw, write_picture
from pitcore.cli.progress import progress
from pitcore.cli.report import Watcher, fresh_file, print_run, print_score
from pitcore.config import Config, operating_point
from pitcore.emulator.scoring import Score, score
from pitcore.errors import BundleError, SourceError
from pitcore.loop.app import App, Options
from pitcore.loop.pipeline import Hooks
from pitcore.loop.sources import emulated_belt
from pitcore.metrics import Metrics
from pitcore.model_card import Bundle
from pitcore.output_path import PNG, try_file
from pitcore.sinks.memory import MemorySink
from pitcore.text_table import confusion_table

DEFAULT_FRAMES = 60
HALF = 0.5


@click.command()
@click.option(
    "--frames",
    type=click.IntRange(1, 100_000),
    help=f"Frames to process. Default: {DEFAULT_FRAMES}; with --crops, until every crop has passed.",
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Seed of the drawn belt.")
@click.option(
    "--crops",
    type=InputPath(),
    help="Lay real crops on the belt: a folder with cherry_clean/ and cherry_pit/. Default: procedural cherries.",
)
@click.option("--out", default=Path("out/demo"), show_default=True, type=OutputFolder(), help="Folder to write.")
@config_option
@bundle_option
def demo(
    frames: int | None, seed: int, crops: Path | None, out: Path, config_path: Path | None, bundle: Path | None
) -> None:
    """Judge an emulated belt and show the results.

    Prints frames, cherries, verdicts against the truth and the latency of each stage, and writes OUT/verdicts.jsonl and
    OUT/belt.png. If the configuration names no operating point, it is `balanced`, as in the boards' files.

    \b
    Examples:
      pitcore demo
      pitcore demo --frames 200 --seed 7
      pitcore demo --crops ../shared/cherries/train
    """
    try_file(out / "belt.png", PNG, makes_folders=True)
    config = _with_point(with_emulated_belt(read_config(config_path, bundle)))
    source = emulated_belt(config, seed=seed, crops=crops, frames=frames or (None if crops else DEFAULT_FRAMES))
    metrics, memory = Metrics(), MemorySink()
    file = fresh_file(out / "verdicts.jsonl", metrics)
    length = source.frames or 0
    with progress("demo", length) as bar:
        watcher = Watcher(tell=lambda: bar.update(1), keep_at=length // 2)
        app = App(config, source, Options(sinks=[file, memory], hooks=Hooks(observe=watcher.see)), metrics)
        app.run()
    cherries = f"real cherries of {crops}" if crops else "procedural cherries"
    click.echo(f"pitcore {__version__}, model {app.bundle.label}, {cherries}, seed {seed}\n")
    if watcher.kept is None:
        raise SourceError("no frame could be searched; see the events in the verdict file")
    truths = source.truths(watcher.ticks[0], watcher.ticks[-1])
    found = score(truths, memory.verdicts, watcher.ticks, source.geometry)
    print_score(found, metrics)
    _print_point(app, truths, found)
    print_run(metrics)
    if crops is not None:
        _print_crops(found, truths, app.bundle)
    picture = draw(watcher.kept, config.frame.planes, memory.verdicts, config.px_per_tick)
    write_picture(picture, out / "belt.png")
    click.echo(f"\nwritten: {out / 'verdicts.jsonl'}  {out / 'belt.png'}")


def _with_point(config: Config) -> Config:
    """Return the configuration; if it has no operating point, use the one of the boards' files."""
    if config.decision.point is not None:
        return config
    decision = msgspec.structs.replace(config.decision, point="balanced")
    return msgspec.structs.replace(config, decision=decision)


def _print_point(app: App, truths: Sequence[Truth], found: Score) -> None:
    """Print the promise of the operating point, and the result on this belt's single cherries."""
    operating = operating_point(app.bundle.card, app.config.decision)
    click.echo(f"\noperating point {operating.point}: {operating.promise}")
    single = Counter(
        (truth.label, found.verdict_of[truth.id].verdict)
        for truth in truths
        if truth.kind == "cherry" and truth.touching is None and truth.id in found.verdict_of
    )
    if total := sum(single.values()):
        passed, thrown = single["pit", "clean"], single["clean", "pit"]
        review = single["clean", "maybe"] + single["pit", "maybe"]
        counts = [round(1000 * count / total) for count in (passed, thrown, review)]
        click.echo("per 1,000 single cherries here: {} pits passed, {} clean rejected, {} reviewed".format(*counts))


def _print_crops(found: Score, truths: Sequence[Truth], bundle: Bundle) -> None:
    """Print the confusion of real crops, separately for training crops and crops that the model never saw."""
    folds, held_out = _split_of(bundle)
    parts = {f"held out (fold {held_out}, never trained on)": True, "trained on": False}
    for name, wanted in parts.items():
        mine = [
            t for t in truths if t.hash and t.id in found.verdict_of and (fold_of(t.hash, folds) == held_out) == wanted
        ]
        pairs = [(truth.label, found.verdict_of[truth.id]) for truth in mine]
        right = sum(
            (verdict.probabilities["pit"] >= HALF) == (label == "pit")
            for label, verdict in pairs
            if verdict.probabilities
        )
        click.echo(f"\n{len(mine)} crops {name}")
        click.echo(confusion_table(Counter((label, verdict.verdict) for label, verdict in pairs)))
        if pairs:
            click.echo(f"  right at a threshold of one half: {right}/{len(pairs)} = {right / len(pairs):.2%}")


def _split_of(bundle: Bundle) -> tuple[int, int]:
    """Return number of folds and the held-out one, from the bundle's metrics. Raises BundleError."""
    path = bundle.directory / "metrics.json"
    try:
        split = json.loads(path.read_text(encoding="utf-8"))["split"]
        return int(split["folds"]), int(split["held_out_fold"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: does not say which crops were held out; quantise the model again") from error
