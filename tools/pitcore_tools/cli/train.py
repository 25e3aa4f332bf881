"""``pitcore-tools train``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pitcore.cli.parameters import InputPath, OutputFolder
from pitcore_tools.train.loop import train as run_training
from pitcore_tools.train.recipe import Recipe, load_recipe

DEFAULT_RECIPE = Path(__file__).parents[1] / "train" / "configs" / "default.yaml"


@click.command()
@click.argument("recipe_path", metavar="[RECIPE]", default=DEFAULT_RECIPE, type=InputPath())
@click.option("--data", required=True, type=InputPath(), help="Folder with cherry_clean/, cherry_pit/.")
@click.option("--out", "run", required=True, type=OutputFolder(), help="Folder of the run.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1, 256), help="CPU threads of torch.")
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
def train(recipe_path: Path, data: Path, run: Path, threads: int, device: str) -> None:
    """Train a float model with RECIPE (YAML; default: that of the bundled model).

    After a kill, the same command continues from the last epoch, and gives
    the same model. Equal seeds and threads give equal models on one machine.

    \b
    Example:
      pitcore-tools train --data ../shared/cherries/train --out out/run
    """
    recipe = load_recipe(recipe_path)
    torch.set_num_threads(threads)
    console = Console(file=sys.stdout)
    with Progress(
        TextColumn("[bold]epoch"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        disable=not console.is_terminal,
        speed_estimate_period=600,
    ) as progress:
        task = progress.add_task("train", total=recipe.epochs, figures="")

        def report(figures: dict[str, float]) -> None:
            text = _figures(figures)
            progress.update(task, completed=figures["epoch"], figures=text)
            if not console.is_terminal:
                click.echo(f"epoch {figures['epoch']:.0f}/{recipe.epochs}  {text}  {_left(figures, recipe)}")

        metrics = run_training(recipe, data, run, report, device)
    click.echo(
        f"{run}: trained on {metrics['training_crops']} crops; held-out accuracy "
        f"{metrics['held_out_accuracy']:.4f} on {metrics['held_out_crops']} crops"
    )


def _figures(figures: dict[str, float]) -> str:
    return (
        f"loss {figures['loss']:.4f}  training {figures['training_accuracy']:.4f}  "
        f"held-out {figures['held_out_accuracy']:.4f}  pit recall {figures['held_out_pit_recall']:.4f}"
    )


def _left(figures: dict[str, float], recipe: Recipe) -> str:
    return f"left {figures['seconds'] * (recipe.epochs - figures['epoch']) / 60:.0f} min"
