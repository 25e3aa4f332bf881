"""``pitcore-tools thresholds``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pitcore.cli.parameters import InputPath, Number, OutputFile, OutputFolder, Text
from pitcore.errors import DataError
from pitcore_tools.cli.kinds import PLOT
from pitcore_tools.evaluate import figures
from pitcore_tools.evaluate.logits import COMMITTED, HeldOut, read_logits
from pitcore_tools.experiments.bundled import EVIDENCE
from pitcore_tools.quantise.bundle import rewrite_points
from pitcore_tools.thresholds import report
from pitcore_tools.thresholds.points import basis_text, calibration, card_points, points_text
from pitcore_tools.thresholds.provenance import evidence_folds
from pitcore_tools.thresholds.report import ThresholdRequest

SHARE = Number(0.0, 1.0, min_open=True, max_open=True)


@click.command()
@click.option(
    "--logits",
    type=InputPath(),
    help="Held-out logits (CSV) of the net. Default: those of the bundled model; --write needs its own.",
)
@click.option("--max-miss", default=0.01, show_default=True, type=SHARE, help="Share of pits that may pass as clean.")
@click.option("--confidence", default=0.95, show_default=True, type=SHARE, help="Confidence of the promise about pits.")
@click.option("--max-clean-loss", default=0.02, show_default=True, type=SHARE, help="Share of clean ones to reject.")
@click.option("--fold", type=click.IntRange(0), help="Only this fold: the crops that one net never saw.")
@click.option("--plot", type=OutputFile(PLOT), help="Draw pit recall against review share here.")
@click.option("--points", is_flag=True, help="Print the operating points instead, per 1,000 cherries.")
@click.option(
    "--evidence",
    type=InputPath(),
    help="With --points: out-of-fold logits (CSV) of all folds of the net's recipe. Default without --logits: those of "
    "the bundled model's recipe; with --logits: none, so the points rest on the net's own held-out pits.",
)
@click.option(
    "--write",
    nargs=2,
    type=(OutputFolder(), Text()),
    metavar="BUNDLE VERSION",
    help="With --points and --logits: put them and their calibration into this bundle's card, under this version.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def thresholds(
    logits: Path | None,
    max_miss: float,
    confidence: float,
    max_clean_loss: float,
    fold: int | None,
    plot: Path | None,
    points: bool,
    evidence: Path | None,
    write: tuple[Path, str] | None,
    as_json: bool,
) -> None:
    """Choose thresholds from held-out logits, with a guaranteed limit of missed pits.

    If there are too few pits for the guarantee, prints how many are needed and exits with code 2.

    \b
    Examples:
      pitcore-tools thresholds --max-miss 0.01 --confidence 0.95
      pitcore-tools thresholds --points
      pitcore-tools thresholds --points --logits out/logits.csv --evidence out/results/NAME.csv --write out/bundle 1.2.4
      pitcore-tools thresholds --logits out/logits.csv --fold 0 --plot out/thresholds.png
    """
    if not points and (evidence is not None or write is not None):
        raise click.UsageError("--evidence and --write are about operating points; give --points too")
    if write is not None and logits is None:
        raise click.UsageError(
            "--write needs --logits: the held-out logits that `pitcore-tools quantise` wrote together with this bundle"
        )
    bundled = logits is None
    if bundled and points and fold is None:
        evidence = evidence or EVIDENCE
    logits = logits or COMMITTED
    held_out = read_logits(logits)
    if fold is not None:
        held_out = held_out.of_fold(fold)
        if not len(held_out.labels):
            raise DataError(f"{logits}: no crop of fold {fold} in it; give another --fold")
    if points:
        _points(held_out, None if evidence is None else read_logits(evidence), write)
        return
    wish = ThresholdRequest(max_miss, confidence, max_clean_loss)
    found = report.find(held_out, wish)
    if plot is not None:
        report.plot(held_out, wish, plot)
    if as_json:
        click.echo(json.dumps(report.summary(found)))
        return
    click.echo(report.text(found, wish))
    if bundled:
        click.echo("\nThese are of the bundled net's own held-out crops. `--points` prints the thresholds of its card.")


def _points(own: HeldOut, evidence: HeldOut | None, write: tuple[Path, str] | None) -> None:
    """Print the operating points of a net, and with ``write`` store them in its bundle."""
    if report.scores(own).nets > 1:
        raise DataError("operating points belong to one net: give --fold, and the logits of all folds as --evidence")
    if evidence is not None:
        evidence_folds(evidence)
    points = card_points(own, figures.platt(own.margins, *calibration(own, evidence)), evidence)
    if write is not None:
        folder, version = write
        rewrite_points(folder, own, evidence, version)
    scored = report.scores(evidence or own)
    click.echo(points_text(points, scored.labels, scored.probabilities))
    click.echo(f"\n{basis_text(points)}")
    if write is not None:
        click.echo(f"written: {folder / 'card.json'}, version {version}")
