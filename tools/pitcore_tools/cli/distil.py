"""``pitcore-tools distil``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import torch

from pitcore.cli.parameters import InputPath, OutputFile, OutputFolder, Text
from pitcore.errors import DataError
from pitcore_tools.distil import catalogue
from pitcore_tools.distil.crops import FOLDS
from pitcore_tools.distil.handover import VERSION, hand_over
from pitcore_tools.distil.packing import load_crops, pack_crops, pack_weights
from pitcore_tools.distil.photos import draw_patches
from pitcore_tools.distil.report import held_out, suspects_table, taught_table
from pitcore_tools.distil.run import VIEWS_EACH, Length, Workspace, answer, learn, teach
from pitcore_tools.distil.start import train_start
from pitcore_tools.evaluate.logits import write_logits
from pitcore_tools.networks.imagenet import SOURCES

COMMITTED = Path(__file__).parents[1] / "distil" / "results"

Part = tuple[int, int]  # a fold, and the number of folds


class Fold(Text):
    """A fold: ``3`` of the five folds, or ``9/10``, fold 9 of ten."""

    name = "fold"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401  click's
        """Return the fold and the number of folds, or fail."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,4})(?:/(\d{1,4}))?", super().convert(value, param, ctx), re.ASCII)
        fold, count = (int(found[1]), int(found[2] or FOLDS)) if found else (0, 0)
        if not 0 <= fold < count or count < 2:
            self.fail(f"{value!r} is not a fold; name one of 0 to {FOLDS - 1}, or 9/10 for fold 9 of 10", param, ctx)
        return fold, count


DATA = click.option("--data", required=True, type=InputPath(), help="Folder with cherry_clean/, cherry_pit/.")
RUNS = click.option(
    "--runs", default=Path("out/distil"), show_default=True, type=OutputFolder(), help="Folder for weights."
)
RESULTS = click.option(
    "--results",
    default=COMMITTED,
    type=OutputFolder(),
    help="Folder for held-out margins and answers. Default: the committed one.",
)
FOLD = click.option(
    "--fold", "chosen", multiple=True, type=Fold(), help="Run only this fold. Repeatable. 9/10: fold 9 of 10."
)
THREADS = click.option("--threads", default=2, show_default=True, type=click.IntRange(1, 256), help="CPU threads.")
VIEWS = click.option(
    "--views",
    default=VIEWS_EACH,
    show_default=True,
    type=click.IntRange(1, 1_000),
    help="Number of views of each crop, the same for all teachers of a student.",
)
DEVICE = click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))


@click.group()
def distil() -> None:
    """Fine-tune teachers with ImageNet's weights, and train small nets on their answers.

    \b
    Example, hours on two CPU cores, ten minutes on one GPU; an interrupted step continues:
      pitcore-tools distil teach teacher-lite0 --data DIR
      pitcore-tools distil answer teacher-lite0 --data DIR
      pitcore-tools distil learn quarter-fine-72-taught --data DIR
    """


@distil.command(name="list")
def list_() -> None:
    """Print every teacher, ensemble and student."""
    for name in catalogue.names():
        click.echo(f"{name:26} {catalogue.load(name).title}")


@distil.command(name="teach")
@click.argument("name", type=Text())
@DATA
@RUNS
@RESULTS
@FOLD
@THREADS
@DEVICE
def teach_command(name: str, chosen: tuple[Part, ...], **where: object) -> None:
    """Fine-tune teacher NAME: for each fold a net that is not trained on that fold.

    \b
    Example:
      pitcore-tools distil teach teacher-lite0 --data ../shared/cherries/train --fold 0
    """
    catalogue.teacher(name)
    teach(name, *_place(chosen, **where))  # type: ignore[arg-type]  # click names and types them


@distil.command(name="answer")
@click.argument("names", nargs=-1, required=True, type=Text())
@DATA
@RUNS
@RESULTS
@FOLD
@VIEWS
@THREADS
@DEVICE
def answer_command(names: tuple[str, ...], chosen: tuple[Part, ...], views: int, **where: object) -> None:
    """Run each of the teachers NAMES on each fold's pool of views.

    \b
    Example:
      pitcore-tools distil answer teacher-lite0 teacher-mobilenet2 --data ../shared/cherries/train
    """
    for name in names:
        catalogue.teacher(name)
    place, folds = _place(chosen, **where)  # type: ignore[arg-type]  # click names and types them
    for name in names:
        answer(name, place, folds, views)


@distil.command(name="learn")
@click.argument("names", nargs=-1, required=True, type=Text())
@click.option("--epochs", type=click.IntRange(1, 10_000), help="How often each crop is seen. Default: the student's.")
@DATA
@RUNS
@RESULTS
@FOLD
@THREADS
@DEVICE
def learn_command(names: tuple[str, ...], epochs: int | None, chosen: tuple[Part, ...], **where: object) -> None:
    """Train students NAMES on the committed answers; several students share the loading of pictures.

    \b
    Example:
      pitcore-tools distil learn quarter-fine-72-taught --data ../shared/cherries/train --epochs 60
    """
    for name in names:
        catalogue.student(name)
    place, folds = _place(chosen, **where)  # type: ignore[arg-type]  # click names and types them
    learn(names, place, Length(epochs), folds)


@distil.command(name="start")
@click.argument("name", type=Text())
@click.option("--photos", required=True, type=InputPath(), help="Folder of photographs, searched with its subfolders.")
@click.option("--steps", default=5000, show_default=True, type=click.IntRange(1, 1_000_000), help="Steps of 128 views.")
@click.option("--out", required=True, type=OutputFile(), help="File of weights to write.")
@THREADS
def start_command(name: str, photos: Path, steps: int, out: Path, threads: int) -> None:
    """Train the weights with which student NAME begins: it learns ImageNet's features of photographs.

    docs/model.md says which photographs were used for the committed starts. Unlike the other steps, an interrupted one
    begins again.

    \b
    Example, 35 minutes on one CPU core:
      pitcore-tools distil start quarter-fine-72-taught --photos PHOTOS --out start.pt
    """
    student = catalogue.student(name)
    torch.set_num_threads(threads)
    train_start(student, draw_patches(photos), steps, out, click.echo)


@distil.command(name="run-folder")
@click.argument("name", type=Text())
@click.option("--fold", "part", required=True, type=Fold(), help="Fold that was not used for training; 9/10: of 10.")
@click.option("--version", default=VERSION, show_default=True, type=Text(), help="Version of the model.")
@click.option("--out", required=True, type=OutputFolder(), help="Folder to write.")
@DATA
@click.option("--runs", default=Path("out/distil"), show_default=True, type=InputPath(), help="Folder of weights.")
def run_folder(name: str, part: Part, version: str, out: Path, data: Path, runs: Path) -> None:
    """Write student NAME as a training run, for `quantise`.

    \b
    Example:
      pitcore-tools distil run-folder quarter-fine-72-taught --fold 0 --data DIR --out out/student
      pitcore-tools quantise out/student --data DIR --out out/bundle
    """
    place, (fold,) = _place([part], data, runs, COMMITTED, 2, "cpu")
    hand_over(name, fold, place, out, version)
    click.echo(f"{out}: run `pitcore-tools quantise {out} --data {data} --out BUNDLE`")


@distil.command()
@click.option(
    "--results", default=COMMITTED, type=InputPath(), help="Folder of held-out margins. Default: the committed one."
)
@click.option("--without-suspects", is_flag=True, help="Leave out labels that both teachers contradict with p > 0.9.")
def report(results: Path, without_suspects: bool) -> None:
    """Print the table of teachers and students, from held-out margins alone, in seconds and without the crops.

    \b
    Examples:
      pitcore-tools distil report
      pitcore-tools distil report --without-suspects
    """
    click.echo(suspects_table(results) if without_suspects else taught_table(results))


@distil.command()
@click.argument("name", type=Text())
@click.option("--out", required=True, type=OutputFile(), help="CSV to write.")
@click.option(
    "--results", default=COMMITTED, type=InputPath(), help="Folder of held-out margins. Default: the committed one."
)
def logits(name: str, out: Path, results: Path) -> None:
    """Write the held-out logits of NAME as CSV, for `audit` and `thresholds`.

    \b
    Example, to find labels that teachers of different kinds contradict:
      pitcore-tools distil logits teacher-lite0 --out a.csv
      pitcore-tools distil logits teacher-mobilenet2 --out b.csv
      pitcore-tools audit DIR --logits a.csv --logits b.csv --out ../audit
    """
    table = held_out(name, results)
    write_logits(out, table)
    click.echo(f"{out}: {len(table.hashes)} crops of folds {', '.join(map(str, sorted(set(table.folds.tolist()))))}")


@distil.command()
@DATA
@click.option("--out", required=True, type=OutputFolder(), help="Folder to write.")
def pack(data: Path, out: Path) -> None:
    """Pack crops and ImageNet's weights for a machine with a GPU and without a network.

    There, `python -m pitcore_tools.distil.run OUT --out RESULTS` runs all steps within --seconds. OUT contains real
    crops: never commit it.

    \b
    Example:
      pitcore-tools distil pack --data ../shared/cherries/train --out out/packed
    """
    out.mkdir(parents=True, exist_ok=True)
    pack_crops(load_crops(data, torch.device("cpu")), out / "crops.npz")
    used = (catalogue.load(name) for name in catalogue.names())
    for source in sorted({each.source for each in used if isinstance(each, catalogue.Teacher)} & SOURCES.keys()):
        pack_weights(source, out / f"{source}.pt")
    click.echo(f"{out}: {sum(path.stat().st_size for path in out.iterdir()) / 1e6:.0f} MB")


def _place(
    chosen: Sequence[Part], data: Path, runs: Path, results: Path, threads: int, device: str
) -> tuple[Workspace, Sequence[int]]:
    """Return the workspace, and the folds to work on: all five if none is chosen."""
    counts = {count for _, count in chosen} or {FOLDS}
    if len(counts) > 1:
        raise DataError("the folds are of different splits; run the command once for each number of folds")
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    crops = load_crops(data, torch.device(name), counts.pop())
    folds = [fold for fold, _ in chosen] or range(FOLDS)
    return Workspace(crops, runs.absolute(), results.absolute(), None, click.echo), folds
