"""``pitcore-tools performance``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from pitcore.cli.parameters import InputPath, OutputFile
from pitcore.cli.progress import progress
from pitcore.config import Config
from pitcore.model_card import DEFAULT_BUNDLE, load_bundle
from pitcore_tools.documents import fill
from pitcore_tools.performance import report, roofline
from pitcore_tools.performance.boards import read_counts

COUNTS = "instructions.json"


@click.command()
@click.option("--rounds", default=40, show_default=True, type=click.IntRange(3, 10_000), help="Rounds of every part.")
@click.option(
    "--boards", "folder", default=Path("docs/performance"), show_default=True, type=InputPath(),
    help="Folder of the counted instructions, and of pi5.json and pi4.json where a board has been measured.",
)  # fmt: skip
@click.option("--write", type=OutputFile(), help="Put the tables into this Markdown file.")
def performance(rounds: int, folder: Path, write: Path | None) -> None:
    """Show the time of each part, the share of this machine's peak performance, and predictions for boards.

    \b
    Examples:
      pitcore-tools performance
      pitcore-tools performance --write docs/performance.md
    """
    config, bundle, counts = Config(), load_bundle(DEFAULT_BUNDLE), read_counts(folder / COUNTS)
    with progress("measure", rounds + 1) as bar:
        reached = roofline.measure(config, bundle, rounds, lambda: bar.update(1))
    layers = roofline.layers(bundle)
    tables = {
        "roofline": partial(report.roofline, reached, layers),
        "boards": partial(report.boards, counts, bundle, layers, config, folder),
    }
    if write is None:
        click.echo("\n\n".join(make() for make in tables.values()))
    else:
        fill(write, tables)
