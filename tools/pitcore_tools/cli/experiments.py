"""``pitcore-tools experiments``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import torch

from pitcore.cli.parameters import InputPath, OutputFile, OutputFolder, Text
from pitcore_tools.documents import fill
from pitcore_tools.experiments import experiment as catalogue
from pitcore_tools.experiments.plots import write_plots
from pitcore_tools.experiments.report import TABLES
from pitcore_tools.experiments.run import Workplace, run_experiment
from pitcore_tools.train.recipe import Recipe

COMMITTED = Path(__file__).parents[1] / "experiments" / "results"

RESULTS = click.option(
    "--results",
    default=COMMITTED,
    type=InputPath(),
    help="Folder of held-out logits (CSV). Default: the committed ones.",
)


@click.group()
def experiments() -> None:
    """Run the experiments of docs/experiments.md, and make its tables.

    \b
    Examples:
      pitcore-tools experiments list
      pitcore-tools experiments run quarter-fine-72 --data ../shared/cherries/train
      pitcore-tools experiments report
    """


@experiments.command(name="list")
def list_() -> None:
    """Print every experiment with its folds and description."""
    names = catalogue.names()
    width = max(map(len, names))
    for name in names:
        found = catalogue.load(name)
        click.echo(f"{name:{width}} folds {','.join(map(str, found.folds)):10} {found.title}")


@experiments.command()
@click.argument("name", type=Text())
@click.option("--data", required=True, type=InputPath(), help="Folder with cherry_clean/, cherry_pit/.")
@click.option("--runs", default=Path("out/experiments"), show_default=True, type=OutputFolder())
@click.option(
    "--students",
    default=Path("out/distil"),
    show_default=True,
    type=OutputFolder(),
    help="Folder of weights from `distil learn`.",
)
@click.option("--results", default=Path("out/results"), show_default=True, type=OutputFolder())
@click.option(
    "--fold", "only", multiple=True, type=click.IntRange(0), help="Run only this fold. Repeatable. Default: all."
)
@click.option(
    "--keep", "keeps", is_flag=True, help="Take a fold that RESULTS has from there, for example of another machine."
)
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1, 256), help="CPU threads of torch.")
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
def run(
    name: str,
    data: Path,
    runs: Path,
    students: Path,
    results: Path,
    only: tuple[int, ...],
    keeps: bool,
    threads: int,
    device: str,
) -> None:
    """Train and score experiment NAME, or ``all`` of them.

    Each fold leaves model_best.pt, metrics.json and config.yaml under RUNS/NAME/foldN, and the held-out logits
    of all folds go to RESULTS/NAME.csv. After a kill, the same command continues. Run it in two terminals, with
    --threads 1, to share the folds. A student is not trained here: its weights come from `distil learn`.

    \b
    Example:
      pitcore-tools experiments run all --data ../shared/cherries/train
    """
    torch.set_num_threads(threads)
    place = Workplace(data, runs.absolute(), students, results, device)
    unfinished = [
        each
        for each in (catalogue.in_order() if name == "all" else [name])
        if not run_experiment(each, place, click.echo, _progress, only, keeps=keeps)
    ]
    if unfinished:
        click.echo(f"folds are still missing of {', '.join(unfinished)}; run the command again for its table")


@experiments.command()
@RESULTS
@click.option("--table", type=click.Choice(list(TABLES)), help="Write only this table.")
@click.option("--write", type=OutputFile(), help="Put the tables into this Markdown file, and the plots beside it.")
def report(results: Path, table: str | None, write: Path | None) -> None:
    """Print the tables, from held-out logits alone, in seconds and without the crops.

    \b
    Examples:
      pitcore-tools experiments report
      pitcore-tools experiments report --table user
      pitcore-tools experiments report --write docs/experiments.md
    """
    if write is None:
        for name in [table] if table else TABLES:
            click.echo(f"## {name}\n\n{TABLES[name](results)}\n")
        return
    fill(write, {name: partial(make, results) for name, make in TABLES.items()})
    for path in [write, *write_plots(write.parent / "plots", results)]:
        click.echo(f"written: {path}")


def _progress(recipe: Recipe, figures: dict[str, float]) -> None:
    left = figures["seconds"] * (recipe.epochs - figures["epoch"]) / 60
    click.echo(
        f"  {recipe.name}/{recipe.held_out_fold}  epoch {figures['epoch']:.0f}/{recipe.epochs}  loss "
        f"{figures['loss']:.4f}  held-out {figures['held_out_accuracy']:.4f}  left {left:.0f} min"
    )
