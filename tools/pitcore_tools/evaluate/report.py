"""Formats an evaluation as a table for people and as a dictionary for programs."""

from __future__ import annotations

from typing import Any

from pitcore_tools.evaluate import figures
from pitcore_tools.evaluate.figures import Confusion
from pitcore_tools.evaluate.logits import HeldOut


def summary(held_out: HeldOut) -> dict[str, Any]:
    """Return every figure of the float net, and of the int8 one if there is one, with intervals."""
    labels, raw = held_out.labels, figures.platt(held_out.margins, 1.0, 0.0)
    found: dict[str, Any] = {"crops": len(labels), "folds": sorted({int(fold) for fold in held_out.folds})}
    found |= {name: _figures(counts) for name, counts in _counts(held_out).items()}
    if held_out.has_int8:
        only_float, only_int8, p = figures.mcnemar(labels, held_out.float_margins, held_out.int8_margins)
        found["mcnemar"] = {"only_float_right": only_float, "only_int8_right": only_int8, "p": p}
    found[f"ece_{_ships(held_out)}"] = {
        "bins": figures.ECE_BINS,
        "before": figures.expected_calibration_error(labels, raw),
        "after_cross_fitted": figures.expected_calibration_error(labels, held_out.probabilities),
    }
    return found


def text(held_out: HeldOut) -> str:
    """Return the table that ``pitcore-tools evaluate`` prints."""
    found = summary(held_out)
    nets, ships = _counts(held_out), _ships(held_out)
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
    if "mcnemar" in found:
        test = found["mcnemar"]
        difference = nets["int8"].shares["accuracy"].value - nets["float"].shares["accuracy"].value
        lines.append(
            f"  int8 - float          {difference * 100:+z.2f} points; only float right {test['only_float_right']}, "
            f"only int8 right {test['only_int8_right']}, McNemar exact p = {test['p']:.3f}"
        )
    ece, name = found[f"ece_{ships}"], f"calibration ({ships})"
    lines.append(
        f"  {name:21} ECE {ece['before']:.4f} before, {ece['after_cross_fitted']:.4f} after "
        f"(Platt, cross-fitted, {ece['bins']} bins of equal mass)"
    )
    return "\n".join(lines)


def _counts(held_out: HeldOut) -> dict[str, Confusion]:
    """Return the confusion of the float net, and of the int8 net if there is one."""
    nets = {"float": held_out.float_margins} | ({"int8": held_out.int8_margins} if held_out.has_int8 else {})
    return {name: figures.confusion(held_out.labels, margins) for name, margins in nets.items()}


def _ships(held_out: HeldOut) -> str:
    return "int8" if held_out.has_int8 else "float"


def _figures(counts: Confusion) -> dict[str, Any]:
    shares = {name.replace(" ", "_"): figures.share_facts(share) for name, share in counts.shares.items()}
    rows = {"clean": [counts.clean_clean, counts.clean_pit], "pit": [counts.pit_clean, counts.pit_pit]}
    return {**shares, "confusion_clean_pit": rows}
