"""``pitcore-tools score``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pitcore.cli.parameters import InputPath, OutputFile
from pitcore_tools.cli.kinds import LOGITS_FILE
from pitcore_tools.evaluate import figures
from pitcore_tools.evaluate.logits import write_logits
from pitcore_tools.evaluate.score import score as score_model


@click.command()
@click.argument("model", type=InputPath())
@click.option("--data", required=True, type=InputPath(), help="Folder with cherry_clean/, cherry_pit/.")
@click.option("--logits", type=OutputFile(LOGITS_FILE), help="Also write the margins (CSV) here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def score(model: Path, data: Path, logits: Path | None, as_json: bool) -> None:
    """Score MODEL, a bundle or a training run, on crops of another line, another season, or procedural crops.

    For a bundle it also prints the verdicts by the card's thresholds. A warning says on how many of the crops it was or
    may have been trained; in JSON this is "trained_on", null if unknown.

    \b
    Examples:
      pitcore-tools score pitcore/models/default --data season2/
      pitcore-tools score out/run --data out/procedural
    """
    found = score_model(model, data)
    counts = figures.confusion(found.held_out.labels, found.held_out.margins)
    if logits is not None:
        write_logits(logits, found.held_out)
    shares = counts.shares | found.tiers
    if as_json:
        facts = {name.replace(" ", "_"): figures.share_facts(share) for name, share in shares.items()}
        said = {"crops": len(found.held_out.labels), "trained_on": found.trained_on, "not_finite": counts.none}
        click.echo(json.dumps({**said, **facts}))
        return
    click.echo(f"{len(found.held_out.labels)} crops, threshold one half, 95 % intervals after Wilson")
    if found.trained_on is None:
        click.echo("  it is not known which of them it was trained on; with those the figures are too good")
    elif found.trained_on and found.untouched:
        click.echo(
            f"  it may have been trained on {found.trained_on} of them, those outside {found.untouched}; if so, the "
            "figures are too good"
        )
    elif found.trained_on:
        click.echo(f"  it was trained on {found.trained_on} of them, so the figures are too good")
    if counts.none:
        click.echo(
            f"  {counts.none} of them got NaN or infinity: the board says maybe, and no figure counts them as right"
        )
    for name, share in shares.items():
        click.echo(f"  {name:16} {share}")
