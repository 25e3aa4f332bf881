"""``pitcore config``: look at a board's configuration."""

from __future__ import annotations

from pathlib import Path

import click

from pitcore.config import effective_thresholds, load_config
from pitcore.model_choice import open_bundle


@click.group()
def config() -> None:
    """Look at a board's configuration: pitcore config check FILE."""


@config.command()
@click.argument("path", type=click.Path(path_type=Path))
def check(path: Path) -> None:
    """Check a configuration file and its model.

    Exit code 0 if both are good, 2 if not; the message names file, section and key. Nothing is started: neither
    cameras nor the verdict file are opened.

    \b
    Example:
      pitcore config check /etc/pitcore/board.toml
    """
    loaded = load_config(path)
    bundle = open_bundle(loaded)
    thresholds = effective_thresholds(bundle.card.thresholds, loaded.decision)
    frame = loaded.frame
    click.echo(f"{path}: good")
    click.echo(f"  frame       {' + '.join(frame.planes)}, {frame.height_px}x{frame.width_px} px")
    click.echo(f"  model       {bundle.label} ({bundle.directory})")
    click.echo(f"  thresholds  clean below {thresholds.accept}, pit from {thresholds.reject}")
    click.echo(f"  hash        {loaded.sha256}")
