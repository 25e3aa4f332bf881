"""Makes the tables that combine experiments: agreement of nets against labels, one and two stages, renderers."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pitcore_tools.audit.opinions import SURE
from pitcore_tools.documents import markdown
from pitcore_tools.evaluate import figures
from pitcore_tools.evaluate.figures import Share
from pitcore_tools.evaluate.logits import COMMITTED, HeldOut, read_logits
from pitcore_tools.experiments import stages
from pitcore_tools.experiments.bundled import BUNDLED_RECIPE
from pitcore_tools.experiments.run import MAYBE
from pitcore_tools.experiments.stages import Rule, StagesResult
from pitcore_tools.experiments.tables import results_of, share_text

STAGE_ONE, STAGE_TWO, ONE_STAGE, SECOND_NET = "stage-one", "stage-two", "half-pooled-80", "stage-one-again"
RENDERER = [  # what, the least it must reach, the file of its margins
    ("real cherries only, 1,000 procedural ones of seed 3", 0.9, "real-on-procedural"),
    ("procedural cherries only, all real ones", 0.75, "procedural-on-real"),
]
RENDERERS = {"first renderer": "-before", "second": "-second", "now": ""}  # endings of the names of their files


def renderer_table(results: Path) -> str:
    """Return the accuracy of nets trained on one kind of cherry and scored on the other, for each renderer."""
    rows = []
    for title, bar, name in RENDERER:
        cells = [title, f"{bar:.0%}"]
        for ending in RENDERERS.values():
            path = results / f"{name}{ending}.csv"
            if path.exists():
                scored = read_logits(path)
                cells.append(share_text(figures.confusion(scored.labels, scored.margins).shares["accuracy"]))
            else:
                cells.append("not run")
        rows.append(cells)
    return markdown(["trained on, scored on", "bar", *(f"{name} [95 %]" for name in RENDERERS)], rows)


def agreement_table(results: Path) -> str:
    """Return how often independent nets have the same errors, and how often all contradict a label.

    Only the nets that were scored on the most folds are compared.
    """
    run = [result for result in results_of("accuracy", results) if result.held_out]
    most = max((len(result.experiment.folds) for result in run), default=0)
    full = [result for result in run if len(result.experiment.folds) == most]
    nets = [result.held_out for result in full if result.held_out]
    if len(nets) < 2 or any(net.hashes != nets[0].hashes for net in nets):  # the files are sorted by hash
        return "Fewer than two nets were scored on the same folds."
    labels = nets[0].labels
    probabilities = np.stack([net.probabilities for net in nets])
    wrong = (probabilities > 0.5) != (labels == 1)
    against = np.where(labels == 1, 1.0 - probabilities, probabilities) > SURE
    logits = np.log(probabilities / (1.0 - probabilities))
    best = _best_pair(labels, logits)
    count = len(labels)
    rows = [
        ["nets", str(len(nets)), ", ".join(f"`{result.name}`" for result in full)],
        ["wrong by every net", share_text(Share(int(wrong.all(0).sum()), count)), "at the threshold of one half"],
        ["wrong by some net", share_text(Share(int(wrong.any(0).sum()), count)), ""],
        [
            "label contradicted by every net",
            share_text(Share(int(against.all(0).sum()), count)),
            f"each with probability above {SURE:.0%}",
        ],
        _together("all nets together", labels, logits, "mean logit"),
        _together("the best pair", labels, logits[best], " and ".join(f"`{full[index].name}`" for index in best)),
    ]
    return markdown(["", "share of crops [95 %]", ""], rows)


def _best_pair(labels: figures.Labels, logits: figures.Floats) -> list[int]:
    """Return the indices of the two of (nets, N) calibrated logits whose mean has the least log loss."""

    def loss(pair: Iterable[int]) -> float:
        return _log_loss(labels, logits[list(pair)].mean(0))

    return list(min(combinations(range(len(logits)), 2), key=loss))


def _together(title: str, labels: figures.Labels, logits: figures.Floats, remark: str) -> list[str]:
    """Return the table row of the mean of some nets."""
    mean = logits.mean(0)
    shares = figures.confusion(labels, mean).shares
    text = f"{remark}; pit recall {shares['pit recall'].value:.2%}, log loss {_log_loss(labels, mean):.4f}"
    return [title, share_text(shares["accuracy"]), text]


def _log_loss(labels: figures.Labels, logits: figures.Floats) -> float:
    return figures.log_loss(labels, figures.platt(logits, 1.0, 0.0))


def stages_table(results: Path) -> str:
    """Return the results of three rules for "maybe" on the same crops, each beside tiers with equal shares."""
    names = STAGE_ONE, STAGE_TWO, f"{STAGE_TWO}.{MAYBE.removesuffix('.csv')}", ONE_STAGE, SECOND_NET
    if missing := [name for name in names if not (results / f"{name}.csv").exists()]:
        return f"Not run: {', '.join(missing)}."
    one, two, maybe, single, again = (read_logits(results / f"{name}.csv") for name in names)
    labels, folds = one.labels, one.folds
    probabilities = single.probabilities
    rules = {
        "two stages, production's thresholds": stages.three_class_rule(two.float_margins, maybe.float_margins),
        "two nets, disagreement is maybe": stages.disagreement_rule(one.float_margins, again.float_margins),
        "one net, calibrated tiers 0.65 and 0.85": stages.fixed_tier_rule(probabilities, 0.65, 0.85),
    }
    rows = []
    for title, rule in rules.items():
        rows.append(_stage_row(title, stages.outcome(labels, rule)))
        equal = stages.tier_rule(probabilities, folds, *(float((rule == kind).mean()) for kind in (0, 2)))
        rows.append(_stage_row("... one net, tiers at the same shares", stages.outcome(labels, equal)))
    first, second = one.float_margins > 0, rules["two stages, production's thresholds"]
    forgotten = _forgotten(labels, first, second)
    head = ["rule", "pits passed [95 %]", "clean rejected", "review", "clean: accept/review/reject", "pit: the same"]
    return "\n".join([markdown(head, rows), "", forgotten])


def calibration_table(results: Path) -> str:
    """Return the reliability diagram of the bundled net as numbers, and the calibration error of its recipe.

    Bins have equal mass, and probabilities are cross-fitted. The recipe's error is over the crops of all folds, each
    judged by the net of its fold.
    """
    held_out = read_logits(COMMITTED)
    raw, fitted = figures.platt(held_out.margins, 1.0, 0.0), held_out.probabilities
    order = np.argsort(fitted, kind="stable")
    rows = [
        [str(number), str(len(part)), f"{raw[part].mean():.3f}", f"{fitted[part].mean():.3f}",
         f"{held_out.labels[part].mean():.3f}"]
        for number, part in enumerate(np.array_split(order, figures.ECE_BINS), start=1)
    ]  # fmt: skip
    table = markdown(["bin", "crops", "said, before", "said, after", "pits that came"], rows)
    errors = [_errors("the bundled net, its own fold", held_out)]
    recipe = results / f"{BUNDLED_RECIPE}.csv"
    if recipe.exists():
        errors.append(_errors(f"`{BUNDLED_RECIPE}`, all folds", read_logits(recipe)))
    head = [f"ECE over {figures.ECE_BINS} bins", "crops", "before", "after", "by chance, with perfect calibration"]
    return f"{table}\n\n{markdown(head, errors)}"


def _errors(title: str, held_out: HeldOut) -> list[str]:
    """Return the row of a net's calibration errors."""
    labels, fitted = held_out.labels, held_out.probabilities
    before = figures.expected_calibration_error(labels, figures.platt(held_out.margins, 1.0, 0.0))
    after = figures.expected_calibration_error(labels, fitted)
    chance = figures.chance_calibration_error(fitted)
    return [title, str(len(labels)), f"{before:.4f}", f"{after:.4f}", f"{chance:.4f}"]


def _stage_row(title: str, found: StagesResult) -> list[str]:
    clean, pit = ("/".join(map(str, row)) for row in found.counts.tolist())
    return [title, share_text(found.missed), f"{found.lost.value:.2%}", f"{found.review.value:.1%}", clean, pit]


def _forgotten(labels: figures.Labels, first: NDArray[np.bool_], second: Rule) -> str:
    pit = labels == 1
    passed = int((pit & first & (second == stages.ACCEPT)).sum())
    doubted = int((pit & first & (second == stages.REVIEW)).sum())
    learned = int((pit & ~first & (second != stages.ACCEPT)).sum())
    return (
        f"Of {int((pit & first).sum())} pits that stage one finds, stage two passes {passed} and doubts {doubted}; of "
        f"{int((pit & ~first).sum())} that stage one misses, stage two stops {learned}."
    )
