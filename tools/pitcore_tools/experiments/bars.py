"""Makes the table of the project's bars: what is wanted, and what the bundled recipe and its teachers reach."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pitcore_tools.distil import report as distilled
from pitcore_tools.documents import markdown
from pitcore_tools.evaluate import figures
from pitcore_tools.evaluate.logits import COMMITTED, HeldOut, read_logits
from pitcore_tools.experiments.bundled import BUNDLED_RECIPE
from pitcore_tools.experiments.tables import MAX_CLEAN_LOSS
from pitcore_tools.thresholds import control
from pitcore_tools.thresholds import report as thresholds
from pitcore_tools.thresholds.points import calibration, card_points

BARS = {
    "accuracy at one half": "at least 93.5 %",
    "pit recall at one half": "at least 92 %",
    "accuracy at a calibrated half": "",
    "pit recall at a calibrated half": "",
    "log loss": "",
    "review at 95.0% of pits caught": "",
    "review at 98.0%": "",
    "review at 99.0%": "at most 22 %",
    "review at 99.5%": "",
    f"ECE over {figures.ECE_BINS} bins": "at most 0.02",
    "clean cherries that pass at `balanced`": "at least 80 %",
}


def bars_table(results: Path) -> str:
    """Return the bars, and beside each what the bundled recipe and its teachers reach on crops they never saw.

    Thresholds and calibration are chosen on other crops than those on which they are scored. Those of the table of
    points, from which the last row comes, are the card's.
    """
    path = results / f"{BUNDLED_RECIPE}.csv"
    if not path.exists():
        return f"Not run: {BUNDLED_RECIPE}."
    recipe, own = read_logits(path), read_logits(COMMITTED)
    columns = {
        "int8, five nets": _reached(recipe) | {"clean cherries that pass at `balanced`": _passed(own, recipe)},
        "float, five nets": _reached(replace(recipe, int8_margins=np.full(len(recipe.labels), np.nan))),
        "int8, the bundled net on its own fold": _reached(own),
        "teachers' mean of eight views, float": _reached(distilled.held_out(distilled.TEACHERS)),
    }
    rows = [[name, bar, *(column.get(name, "") for column in columns.values())] for name, bar in BARS.items()]
    crops = [str(len(one.labels)) for one in (recipe, recipe, own, recipe)]
    return markdown(["", "bar", *columns], [["crops", "", *crops], *rows])


def _reached(held_out: HeldOut) -> dict[str, str]:
    """Return the figures of one net, or of the five of one recipe, by the names of ``BARS``."""
    scored = thresholds.scores(held_out)
    tiers = control.tiers(scored.labels, scored.probabilities, scored.groups, MAX_CLEAN_LOSS)
    reviews = (f"{row.review.value:.1%}" for row in tiers)
    probabilities = held_out.probabilities
    calibrated = np.log(probabilities) - np.log1p(-probabilities)
    halves = [
        f"{figures.confusion(held_out.labels, margins).shares[name].value:.2%}"
        for margins in (held_out.margins, calibrated)
        for name in ("accuracy", "pit recall")
    ]
    loss = f"{figures.log_loss(held_out.labels, probabilities):.4f}"
    error = f"{figures.expected_calibration_error(held_out.labels, probabilities):.4f}"
    return dict(zip(BARS, [*halves, loss, *reviews, error], strict=False))  # the last bar is the card's


def _passed(own: HeldOut, evidence: HeldOut) -> str:
    """Return the share of clean cherries that pass at `balanced` with the thresholds of the card."""
    points = card_points(own, figures.platt(own.margins, *calibration(own, evidence)), evidence)
    found = points["balanced"].evidence
    return "" if found is None else f"{found.clean_passed / found.clean:.1%}"
