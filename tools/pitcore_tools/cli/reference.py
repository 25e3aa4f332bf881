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
    "--held-out", is_flag=True, help="Only the crops kept from the net's training, by the split in the bundle's recipe."
)
def reference(bundle: Path, version: str, data: Path, held_out: bool) -> None:
    """Write statistics of labelled crops to BUNDLE's card, as version VERSION.

    A board warns (`unlike_card`) if its cherries differ from them. Use crops that the net was not trained on.

    \b
    Example:
      pitcore-tools reference out/bundle 1.2.4 --data cherries/train --held-out
    """
    found = card_reference(bundle, data, held_out=held_out)
    rewrite_card(bundle, version, reference=found)
    click.echo(f"{bundle}: card {version} holds a reference of {found.how}")
