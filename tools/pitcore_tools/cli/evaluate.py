"""``pitcore-tools evaluate``."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np

from pitcore.cli.parameters import InputPath
from pitcore.errors import DataError
from pitcore.model_card import DEFAULT_BUNDLE, Bundle, load_bundle
from pitcore.preprocess.prepare import CropSpec
from pitcore_tools.evaluate import report
from pitcore_tools.evaluate.logits import COMMITTED, HeldOut, read_logits
from pitcore_tools.evaluate.score import bundle_margins
from pitcore_tools.tables import HASH_DIGITS
from pitcore_tools.train.dataset import prepare, read_crops

MAX_DISTANCE = 1e-3  # largest difference of a margin between the file and this machine


@click.command()
@click.option(
    "--logits",
    default=COMMITTED,
    type=InputPath(),
    help="Held-out logits (CSV). Default: those of the bundled model, committed with it.",
)
@click.option("--data", type=InputPath(), help="Run the int8 net again on these crops and compare.")
@click.option("--bundle", default=DEFAULT_BUNDLE, type=InputPath(), help="The net to run again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def evaluate(logits: Path, data: Path | None, bundle: Path, as_json: bool) -> None:
    """Print the accuracy of a model on held-out crops: float and int8, with 95 % intervals.

    Without --data every figure comes from the logits, in seconds. With --data the int8 net runs again over the
    held-out crops with the code that boards run, and the logits must be the same.

    \b
    Examples:
      pitcore-tools evaluate
      pitcore-tools evaluate --data ../shared/cherries/train
    """
    held_out = read_logits(logits)
    worst = None if data is None else _run_again(held_out, load_bundle(bundle), data)
    if worst is not None and worst > MAX_DISTANCE:
        raise DataError(
            f"{logits}: the margins of {bundle} are off by {worst:.3g}; they are of another net, give its --bundle"
        )
    if as_json:
        click.echo(json.dumps({**report.summary(held_out), "int8_margins_off_by": worst}))
        return
    click.echo(report.text(held_out))
    if worst is not None:
        click.echo(f"  run again             int8 margins within {worst:.2g} of the file's")


def _run_again(held_out: HeldOut, bundle: Bundle, data: Path) -> float:
    """Return the largest difference between the file's int8 margins and those of this machine.

    Raises:
        DataError: crops are missing.
    """
    spec = CropSpec(bundle.card.crop_size_px, bundle.card.resize, len(bundle.card.planes))
    wanted = {name[:HASH_DIGITS] for name in held_out.hashes}
    found_crops = [crop for crop in read_crops(data) if crop.hash[:HASH_DIGITS] in wanted]
    if missing := wanted - {crop.hash[:HASH_DIGITS] for crop in found_crops}:
        raise DataError(f"{data}: {len(missing)} of {len(wanted)} held-out crops are not there; give the same data")
    crops = prepare(found_crops, spec)
    names = [name[:HASH_DIGITS] for name in crops.hashes]
    found = dict(zip(names, bundle_margins(bundle, crops).tolist(), strict=True))
    again = np.array([found[name[:HASH_DIGITS]] for name in held_out.hashes])
    return float(np.abs(again - held_out.int8_margins).max())
