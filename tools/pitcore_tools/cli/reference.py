"""``pitcore-tools reference``."""

from __future__ import annotations

from pathlib import Path

import click

from pitcore.cli.parameters import InputPath, OutputFolder, Text
from pitcore_tools.quantise.bundle import rewrite_card
from pitcore_tools.thresholds.card_reference import card_reference


@click.command()
@click.argument("bundle", type=OutputFolder())
@click.argument("version", type=Text())
@click.option("--data", required=True, type=InputPath(), help="Folder with cherry_clean/, cherry_pit/.")
@click.option(
    "--fold", type=click.IntRange(0, 4), help="Only crops of this fold: those that the net was not trained on."
)
def reference(bundle: Path, version: str, data: Path, fold: int | None) -> None:
    """Write statistics of labelled crops to BUNDLE's card, as version VERSION.

    A board warns (`unlike_card`) if its cherries differ from them. Use crops that the net was not trained on.

    \b
    Example:
      pitcore-tools reference out/bundle 1.2.4 --data cherries/train --fold 0
    """
    found = card_reference(bundle, data, fold)
    rewrite_card(bundle, version, reference=found)
    click.echo(f"{bundle}: card {version} holds a reference of {found.how}")
