"""Makes the graph to ship from a training run: exports, tests, quantises."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn

from pitcore.camera.crops import LabelledCrop, fold_of
from pitcore.errors import BundleError, DataError
from pitcore_tools.evaluate import figures
from pitcore_tools.evaluate.logits import HeldOut
from pitcore_tools.export.graph import float_graph
from pitcore_tools.quantise.static import METHODS, float_ops, op_histogram, quantise, run, session_for, to_nchw
from pitcore_tools.train.dataset import CropSet, prepare, read_crops, split
from pitcore_tools.train.loop import load_network, logits_of, seen_by
from pitcore_tools.train.recipe import Recipe

CALIBRATION_CROPS = 320  # more than 200 change the ranges hardly; a multiple of the batch
MAX_EXPORT_ERROR = 1e-3  # largest difference of a logit between torch and ONNX Runtime in float
GRANULE = 32

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Graph:
    """The graph to ship, and how it was made.

    Attributes:
        model: ONNX model from crops to float logits.
        dtype: ``uint8`` for an int8 graph, whose input is NHWC bytes; ``float32`` for a float graph, NCHW in 0..255.
        method: the chosen calibration; empty for a float graph.
        errors: for each method, the mean difference of its margins from the float net's, on training crops that were
            not used for calibration.
        operators: operators of the optimised graph on this machine.
    """

    model: onnx.ModelProto
    dtype: Literal["uint8", "float32"]
    method: str | None
    errors: dict[str, float]
    operators: Counter[str]

    @property
    def layout(self) -> Literal["NHWC", "NCHW"]:
        """Layout of the input."""
        return "NHWC" if self.dtype == "uint8" else "NCHW"

    def as_input(self, crops: NDArray[np.uint8]) -> NDArray[np.uint8 | np.float32]:
        """Convert (N, S, S, planes) uint8 crops to the input of the graph."""
        return crops if self.dtype == "uint8" else to_nchw(crops)

    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the graph over prepared crops: (N, S, S, planes) uint8 -> (N, classes) float32."""
        return run(session_for(self.model), self.as_input(crops))


@dataclass(frozen=True, slots=True)
class Run:
    """A finished training run with its prepared data.

    Attributes:
        pictures: the held-out crops as they lie on disk, in the order of ``held_out``.
    """

    recipe: Recipe
    network: nn.Module
    training: CropSet
    held_out: CropSet
    pictures: list[LabelledCrop]


def load_run(run_folder: Path, data: Path) -> Run:
    """Load a run with its training crops and its held-out crops.

    Raises:
        DataError: the run was trained on some of the held-out crops.
        PitcoreError: the run or the crops cannot be used.
    """
    recipe, network = load_network(run_folder)
    crops = read_crops(data)
    training, held_out = split(prepare(crops, recipe.spec), recipe.folds, recipe.held_out_fold)
    if leaked := seen_by(run_folder) & set(held_out.hashes):
        raise DataError(
            f"{run_folder}: was trained on {len(leaked)} of the {len(held_out)} crops of fold {recipe.held_out_fold} "
            f"of {data}, which are to judge it; give the data and the config.yaml it was trained with"
        )
    pictures = [crop for crop in crops if fold_of(crop.hash, recipe.folds) == recipe.held_out_fold]
    return Run(recipe, network, training, held_out, pictures)


def calibration_sample(crops: CropSet) -> tuple[CropSet, CropSet]:
    """Return crops for calibration, with the brightest and darkest, and as many others for choosing the method."""
    order = np.argsort([hashlib.sha256(name.encode()).digest() for name in crops.hashes], kind="stable")
    brightness = crops.pixels.astype(np.float64).sum(axis=(1, 2, 3))
    extremes = np.argsort(brightness, kind="stable")
    extremes = np.concatenate([extremes[: GRANULE // 2], extremes[-GRANULE // 2 :]])
    rest = order[~np.isin(order, extremes)]
    count = min(CALIBRATION_CROPS, len(crops) // 2 // GRANULE * GRANULE)
    if count < GRANULE:
        raise DataError(
            f"{len(crops)} training crops are too few to calibrate a quantiser; give at least {2 * GRANULE}"
        )
    chosen = np.concatenate([extremes, rest])[:count]
    others = rest[max(0, count - GRANULE) :][:count]
    masks = [np.isin(np.arange(len(crops)), part) for part in (chosen, others)]
    return crops.where(masks[0]), crops.where(masks[1])


def quantise_run(trained: Run, say: Say) -> Graph:
    """Export, quantise with each calibration, and return the graph closest to the float net.

    Raises:
        BundleError: the exported graph differs from the network, or its int8 form contains float operators.
    """
    recipe = trained.recipe
    if recipe.normalise:
        raise BundleError(
            "the network wants normalised crops, whose mean does not fold into an int8 graph; "
            "give --float, or train without normalise"
        )
    calibration, choice = calibration_sample(trained.training)
    model, reference = _exported(trained, choice, say)
    candidates = {method: quantise(model, calibration.pixels, method) for method in METHODS}
    errors = {}
    for method, candidate in candidates.items():
        margins = figures.pit_margins(run(session_for(candidate), choice.pixels), recipe.labels)
        difference = margins - figures.pit_margins(reference, recipe.labels)
        errors[method] = float(np.abs(difference).mean())
        say(f"calibration {method}: margins off by {errors[method]:.4f} on average, on {len(choice)} training crops")
    method = min(errors, key=lambda name: errors[name])
    operators = op_histogram(candidates[method])
    if islands := float_ops(operators):
        raise BundleError(
            f"the optimised int8 graph holds {', '.join(sorted(islands))}: ONNX Runtime could not fuse it"
        )
    say(f"chosen: {method}; operators {dict(operators.most_common())}")
    return Graph(candidates[method], "uint8", method, errors, operators)


def float_run(trained: Run, say: Say) -> Graph:
    """Export a float graph: for networks without an int8 form, and for comparison. Raises BundleError."""
    _, choice = calibration_sample(trained.training)
    model, _ = _exported(trained, choice, say)
    return Graph(model, "float32", None, {}, op_histogram(model))


def _exported(trained: Run, crops: CropSet, say: Say) -> tuple[onnx.ModelProto, NDArray[np.float32]]:
    """Export, and compare with torch on some crops. Return the graph and torch's logits. Raises BundleError."""
    recipe = trained.recipe
    model, zeroed = float_graph(trained.network, recipe.crop_size_px, normalised=bool(recipe.normalise))
    reference = logits_of(trained.network, crops.pixels, recipe)
    worst = check_export(model, crops.pixels, reference)
    say(f"export: {zeroed} subnormal weights zeroed; logits within {worst:.2g} of torch on {len(crops)} crops")
    return model, reference


def check_export(model: onnx.ModelProto, crops: NDArray[np.uint8], reference: NDArray[np.float32]) -> float:
    """Return the largest distance between a float graph's logits and torch's. Raises BundleError if it is large."""
    worst = float(np.abs(run(session_for(model), to_nchw(crops)) - reference).max())
    if not worst <= MAX_EXPORT_ERROR:
        raise BundleError(f"the exported graph is off by {worst:.3g} from the network; the export is wrong")
    return worst


def held_out_logits(trained: Run, graph: Graph) -> HeldOut:
    """Return the margins of the float and the int8 net, or of the float net only, on the held-out crops."""
    crops, labels = trained.held_out, trained.recipe.labels
    no_int8 = np.full(len(crops), np.nan)
    return HeldOut(
        hashes=crops.hashes,
        folds=np.full(len(crops), trained.recipe.held_out_fold, np.int64),
        labels=crops.labels,
        float_margins=figures.pit_margins(logits_of(trained.network, crops.pixels, trained.recipe), labels),
        int8_margins=no_int8 if graph.method is None else figures.pit_margins(graph.logits(crops.pixels), labels),
    )
