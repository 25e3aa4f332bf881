"""``pitcore-tools draw``."""

from __future__ import annotations

from pathlib import Path

import click

from pitcore.cli.parameters import OutputFolder
from pitcore.cli.progress import progress
from pitcore_tools.train.procedural import draw as draw_crops


@click.command()
@click.option("--out", "folder", required=True, type=OutputFolder(), help="Folder for the crops.")
@click.option("--count", default=1000, show_default=True, type=click.IntRange(2, 1_000_000))
@click.option("--seed", default=2, show_default=True, type=click.IntRange(0))
def draw(folder: Path, count: int, seed: int) -> None:
    """Draw procedural crops into cherry_clean/ and cherry_pit/, the same number in each.

    Use them for pre-training, or to try the tools without real crops. Equal seeds give equal crops.

    \b
    Example:
      pitcore-tools draw --out out/procedural --count 2000
    """
    with progress("draw", count) as bar:
        for _ in draw_crops(folder, seed, count):
            bar.update(1)
    click.echo(f"{folder}: {count} crops of seed {seed}")
