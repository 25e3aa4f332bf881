"""The evaluation as a table for people and as a dictionary for programs."""

from __future__ import annotations

from typing import Any

from pitcore_tools.evaluate import figures
from pitcore_tools.evaluate.figures import Confusion
from pitcore_tools.evaluate.logits import HeldOut


def summary(held_out: HeldOut) -> dict[str, Any]:
    """Return every figure of the float and the int8 net, with intervals."""
    labels = held_out.labels
    only_float, only_int8, p = figures.mcnemar(labels, held_out.float_margins, held_out.int8_margins)
    raw = figures.platt(held_out.int8_margins, 1.0, 0.0)
    fitted = figures.cross_fitted(labels, held_out.int8_margins, held_out.groups)
    return {
        "crops": len(labels),
        "folds": sorted({int(fold) for fold in held_out.folds}),
        "float": _figures(figures.confusion(labels, held_out.float_margins)),
        "int8": _figures(figures.confusion(labels, held_out.int8_margins)),
        "mcnemar": {"only_float_right": only_float, "only_int8_right": only_int8, "p": p},
        "ece_int8": {
            "bins": figures.ECE_BINS,
            "before": figures.expected_calibration_error(labels, raw),
            "after_cross_fitted": figures.expected_calibration_error(labels, fitted),
        },
    }


def text(held_out: HeldOut) -> str:
    """Return the table that ``pitcore-tools evaluate`` prints."""
    found = summary(held_out)
    nets = {
        "float": figures.confusion(held_out.labels, held_out.float_margins),
        "int8": figures.confusion(held_out.labels, held_out.int8_margins),
    }
    folds = ", ".join(map(str, found["folds"]))
    lines = [f"{found['crops']} held-out crops of fold {folds}, threshold one half, 95 % intervals after Wilson", ""]
    for name, counts in nets.items():
        lines += [f"  {name:5} {figure:16} {share}" for figure, share in counts.shares.items()]
        lines += [
            (
                f"  {name:5} confusion        clean: {counts.clean_clean} clean, {counts.clean_pit} pit;  "
                f"pit: {counts.pit_clean} clean, {counts.pit_pit} pit"
            ),
            "",
        ]
    test, ece = found["mcnemar"], found["ece_int8"]
    difference = nets["int8"].shares["accuracy"].value - nets["float"].shares["accuracy"].value
    lines += [
        (
            f"  int8 - float          {difference * 100:+.2f} points; only float right {test['only_float_right']}, "
            f"only int8 right {test['only_int8_right']}, McNemar exact p = {test['p']:.3f}"
        ),
        (
            f"  calibration (int8)    ECE {ece['before']:.4f} before, {ece['after_cross_fitted']:.4f} after "
            f"(Platt, cross-fitted, {ece['bins']} bins of equal mass)"
        ),
    ]
    return "\n".join(lines)


def _figures(counts: Confusion) -> dict[str, Any]:
    shares = {name.replace(" ", "_"): figures.share_facts(share) for name, share in counts.shares.items()}
    rows = {"clean": [counts.clean_clean, counts.clean_pit], "pit": [counts.pit_clean, counts.pit_pit]}
    return {**shares, "confusion_clean_pit": rows}
