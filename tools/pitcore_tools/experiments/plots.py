"""The plots of ``docs/experiments.md``, from the same logits as its tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from pitcore.durable import replace_file
from pitcore.errors import DataError
from pitcore_tools.evaluate import figures
from pitcore_tools.evaluate.figures import Floats, Share
from pitcore_tools.evaluate.logits import COMMITTED, read_logits
from pitcore_tools.experiments import experiment as experiments
from pitcore_tools.experiments.cost import cost_of
from pitcore_tools.experiments.tables import MAX_CLEAN_LOSS, results_of
from pitcore_tools.thresholds import report as thresholds

mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "pitcore"  # equal results give equal files
DPI = 110


def write_plots(folder: Path, results: Path) -> list[Path]:
    """Draw every plot whose results are there. Raises DataError if one cannot be written.

    Returns:
        What was written.
    """
    from matplotlib import pyplot as plt  # noqa: PLC0415  slow to import, and only here

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be made: {error.strerror}; name another folder") from error
    written = []
    for name, draw in PLOTS.items():
        figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
        axes.grid(visible=True, alpha=0.3)
        path = folder / f"{name}.svg"
        try:
            if draw(axes, results):
                replace_file(path, partial(figure.savefig, format="svg", dpi=DPI, metadata={"Date": None}))
                written.append(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror}; name a folder that exists") from error
        finally:
            plt.close(figure)
    return written


def frontier(axes: Any, results: Path) -> bool:  # noqa: ANN401  matplotlib's axes
    """Draw held-out accuracy of the int8 nets over their work, on a logarithmic axis; bars are 95 % intervals."""
    found = [result for result in results_of("frontier", results) if result.held_out]
    for result in found:
        assert result.held_out is not None  # noqa: S101  narrows the type
        recipe = experiments.recipe_of(result.name, result.experiment, Path(), result.experiment.folds[0])
        cost = cost_of(recipe)
        share = figures.confusion(result.held_out.labels, result.held_out.margins).shares["accuracy"]
        low, high = share.interval
        size = 3.0 + 2.0 * np.sqrt(cost.parameters / 1e6)
        bars = [[(share.value - low) * 100], [(high - share.value) * 100]]
        axes.errorbar([cost.macs / 1e6], [share.value * 100], bars, fmt="o", markersize=size, capsize=2)
        axes.annotate(result.name, (cost.macs / 1e6, share.value * 100), (5, 4), textcoords="offset points", fontsize=7)
    axes.set_xscale("log")
    axes.set(xlabel="million multiply-accumulates a cherry", ylabel="held-out accuracy of the int8 net, %")
    axes.set_title("size of a dot: its weights")
    return bool(found)


def reliability(axes: Any, _results: Path) -> bool:  # noqa: ANN401
    """Draw what the bundled net said against what came, before and after calibration, over bins of equal mass."""
    held_out = read_logits(COMMITTED)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    said = {"before": figures.platt(held_out.margins, 1.0, 0.0), "after, cross-fitted": held_out.probabilities}
    for (name, probabilities), marker in zip(said.items(), ("s", "o"), strict=True):
        x, y, bars = _bins(held_out.labels, probabilities)
        ece = figures.expected_calibration_error(held_out.labels, probabilities)
        axes.errorbar(x, y, bars, fmt=marker, markersize=4, capsize=2, label=f"{name}, ECE {ece:.4f}")
    axes.set(xlabel="probability of a pit, as said", ylabel="share of pits that came")
    axes.legend()
    return True


def review(axes: Any, _results: Path) -> bool:  # noqa: ANN401
    """Draw which share of cherries the bundled net sends to review so that a share of pits does not pass."""
    thresholds.draw(axes, read_logits(COMMITTED), MAX_CLEAN_LOSS)
    return True


def _bins(labels: figures.Labels, probabilities: Floats) -> tuple[list[float], list[float], Floats]:
    """Return middle, share of pits and its 95 % interval of each bin of equal mass."""
    order = np.argsort(probabilities, kind="stable")
    parts = np.array_split(order, figures.ECE_BINS)
    shares = [Share(int(labels[part].sum()), len(part)) for part in parts]
    ends = [share.interval for share in shares]
    bars = np.array([[share.value - low, high - share.value] for share, (low, high) in zip(shares, ends, strict=True)])
    return [float(probabilities[part].mean()) for part in parts], [share.value for share in shares], bars.T.clip(0)


PLOTS: dict[str, Callable[[Any, Path], bool]] = {
    "frontier": frontier,
    "reliability": reliability,
    "review": review,
}
