"""Reads results of experiments, and formats them for tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pitcore_tools.evaluate import figures
from pitcore_tools.evaluate.figures import Confusion, Share
from pitcore_tools.evaluate.logits import HeldOut, read_logits
from pitcore_tools.experiments import experiment as experiments
from pitcore_tools.experiments.experiment import Experiment
from pitcore_tools.thresholds import control
from pitcore_tools.thresholds import report as thresholds

MAX_CLEAN_LOSS = 0.02
RECALL = 0.99


@dataclass(frozen=True, slots=True)
class Result:
    """An experiment with its held-out logits, None if it was not run."""

    name: str
    experiment: Experiment
    held_out: HeldOut | None

    @property
    def folds(self) -> str:
        """The folds on which it is scored, as text."""
        return ", ".join(map(str, self.experiment.folds))

    @property
    def float_counts(self) -> Confusion | None:
        """The confusion of the float net at probability one half; None if it was not run."""
        return None if self.held_out is None else figures.confusion(self.held_out.labels, self.held_out.float_margins)


def results_of(group: str, results: Path) -> list[Result]:
    """Return the experiments of a group."""
    found = []
    for name in experiments.names():
        experiment = experiments.load(name)
        if group in experiment.groups:
            path = results / f"{name}.csv"
            found.append(Result(name, experiment, read_logits(path) if path.exists() else None))
    return found


def review_at_99(held_out: HeldOut) -> str:
    """Return the review share at which 99 % of pits are caught and at most 2 % of clean cherries are rejected."""
    scored = thresholds.scores(held_out)
    tiers = control.tiers(scored.labels, scored.probabilities, scored.groups, MAX_CLEAN_LOSS)
    return f"{next(row for row in tiers if row.wanted == RECALL).review.value:.1%}"


def share_text(share: Share) -> str:
    """Format a share with its interval."""
    low, high = share.interval
    return f"{share.value:.2%} [{low:.2%}, {high:.2%}]"
