"""Makes the tables of ``docs/experiments.md`` as Markdown, from the committed held-out logits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pitcore.model_card import DEFAULT_BUNDLE
from pitcore_tools.distil.report import taught_table
from pitcore_tools.documents import markdown
from pitcore_tools.evaluate import figures
from pitcore_tools.evaluate.logits import COMMITTED, HeldOut, read_logits
from pitcore_tools.experiments import experiment as experiments
from pitcore_tools.experiments.bars import bars_table
from pitcore_tools.experiments.cost import cost_of
from pitcore_tools.experiments.findings import agreement_table, calibration_table, renderer_table, stages_table
from pitcore_tools.experiments.tables import MAX_CLEAN_LOSS, results_of, review_at_99, share_text
from pitcore_tools.thresholds import control
from pitcore_tools.thresholds import report as thresholds

BASELINE = "half-pooled-80"  # every other experiment of the group "accuracy" is compared with it


def user_table(results: Path) -> str:
    """Return the user's results beside ours."""
    rows = []
    for result in results_of("user", results):
        theirs, ours = result.experiment.theirs, result.float_counts
        rows.append(
            [
                result.experiment.title,
                f"{theirs.accuracy:.2%}" if theirs else "",
                f"{theirs.f1:.4f}" if theirs else "",
                share_text(ours.shares["accuracy"]) if ours else "not run",
                f"{ours.f1:.4f}" if ours else "",
                f"{ours.shares['pit recall'].value:.2%}" if ours else "",
                f"{len(result.held_out.labels)} of fold {result.folds}" if result.held_out else "",
                result.experiment.remark,
            ]
        )
    head = ["row", "theirs", "F1", "ours, float [95 %]", "F1", "pit recall", "crops", "what sets ours apart"]
    return markdown(head, rows)


def accuracy_table(results: Path) -> str:
    """Return the expected and the actual result of each experiment of the group "accuracy"."""
    found = results_of("accuracy", results)
    base = next((result.held_out for result in found if result.name == BASELINE), None)
    rows = []
    for result in found:
        ours, held_out = result.float_counts, result.held_out
        if ours is None or held_out is None:
            rows.append([f"`{result.name}`", result.experiment.title, result.experiment.expected, "not run", *[""] * 5])
            continue
        rows.append(
            [
                f"`{result.name}`",
                result.experiment.title,
                result.experiment.expected,
                share_text(ours.shares["accuracy"]),
                _int8(held_out),
                f"{ours.shares['pit recall'].value:.2%}",
                f"{figures.log_loss(held_out.labels, held_out.probabilities):.4f}",
                _against(base, held_out) if base is not None and result.name != BASELINE else "",
                review_at_99(held_out),
            ]
        )
    head = ["name", "what", "expected", "float [95 %]", "int8", "pit recall", "log loss", f"against `{BASELINE}`"]
    return markdown([*head, "review"], rows)


def frontier_table(results: Path) -> str:
    """Return size, multiply-accumulates and accuracy of each net that could be shipped."""
    rows = []
    for result in results_of("frontier", results):
        cost = cost_of(experiments.recipe_of(result.name, result.experiment, Path(), result.experiment.folds[0]))
        done = result.held_out
        accuracy = figures.confusion(done.labels, done.margins).shares["accuracy"] if done else None
        rows.append(
            [
                f"`{result.name}`",
                result.experiment.title,
                f"{cost.parameters / 1e6:.1f}",
                f"{cost.macs / 1e6:.0f}",
                share_text(accuracy) if accuracy else "not run",
                review_at_99(done) if done else "",
            ]
        )
    return markdown(["name", "net", "million weights", "million MACs", "int8 [95 %]", "review"], rows)


def thresholds_table(results: Path) -> str:
    """Return the review share of every net for each pit recall."""
    rows = []
    for name, held_out in [("the bundled net", read_logits(COMMITTED)), *_all_results(results)]:
        scored = thresholds.scores(held_out)
        tiers = control.tiers(scored.labels, scored.probabilities, scored.groups, MAX_CLEAN_LOSS)
        rows.append([name, *(f"{row.review.value:.1%} ({row.caught.value:.2%})" for row in tiers)])
    return markdown(["net", *(f"catch {recall:.1%}" for recall in control.RECALLS)], rows)


def quantisation_table(results: Path) -> str:
    """Return the accuracy of every net in int8 and in float on the same crops."""
    rows = []
    for name, held_out in [("the bundled net", read_logits(COMMITTED)), *_all_results(results)]:
        if not held_out.has_int8:
            continue
        labels, both = held_out.labels, (held_out.float_margins, held_out.int8_margins)
        before, after = (figures.confusion(labels, margins).shares["accuracy"].value for margins in both)
        only_float, only_int8, p = figures.mcnemar(labels, *both)
        shares = [f"{before:.2%}", f"{after:.2%}", f"{(after - before) * 100:+z.2f}"]
        rows.append([name, str(len(labels)), *shares, str(only_float), str(only_int8), f"{p:.2f}"])
    head = ["net", "crops", "float", "int8", "points", "only float right", "only int8 right", "McNemar p"]
    return markdown(head, rows)


def sweep_table(_results: Path) -> str:
    """Return the error of each calibration of the bundled net's quantiser."""
    content = json.loads((DEFAULT_BUNDLE / "metrics.json").read_text(encoding="utf-8"))["quantisation"]
    rows = [
        [name, f"{error:.4f}", "chosen" if name == content["method"] else ""]
        for name, error in content["mean_margin_error"].items()
    ]
    return markdown(["calibration", "mean distance of a margin from the float net's, on training crops", ""], rows)


def imagenet_table(_results: Path) -> str:
    """Return the results of the nets with ImageNet's weights, and of the students that learned from them."""
    return taught_table()


TABLES: dict[str, Callable[[Path], str]] = {
    "bars": bars_table,
    "user": user_table,
    "imagenet": imagenet_table,
    "accuracy": accuracy_table,
    "agreement": agreement_table,
    "stages": stages_table,
    "frontier": frontier_table,
    "quantisation": quantisation_table,
    "sweep": sweep_table,
    "thresholds": thresholds_table,
    "calibration": calibration_table,
    "renderer": renderer_table,
}


def _all_results(results: Path) -> list[tuple[str, HeldOut]]:
    """Return the held-out logits of every experiment on real crops that was run."""
    names = [name for name in experiments.names() if not experiments.load(name).procedural]
    paths = [(name, results / f"{name}.csv") for name in names]
    return [(f"`{name}`", read_logits(path)) for name, path in paths if path.exists()]


def _int8(held_out: HeldOut) -> str:
    if not held_out.has_int8:
        return ""
    counts = figures.confusion(held_out.labels, held_out.int8_margins)
    p = figures.mcnemar(held_out.labels, held_out.float_margins, held_out.int8_margins)[2]
    return f"{counts.shares['accuracy'].value:.2%} (p = {p:.2f})"


def _against(base: HeldOut, other: HeldOut) -> str:
    """Compare two nets on the crops on which both were scored."""
    at = {name: index for index, name in enumerate(base.hashes)}
    shared = [(at[name], index) for index, name in enumerate(other.hashes) if name in at]
    mine, theirs = (np.array(side) for side in zip(*shared, strict=True))
    labels = other.labels[theirs]
    worse, better, p = figures.mcnemar(labels, base.float_margins[mine], other.float_margins[theirs])
    return f"{(better - worse) / len(labels) * 100:+z.2f} points (p = {p:.2f})"
