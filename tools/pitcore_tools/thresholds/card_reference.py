"""Makes the reference of a card: histograms of the test crops' figures, with which the board compares its cherries.

The figures are those of the board (``pitcore.line_watch.drift``): the calibrated probability, and area and mean grey
levels over the mask. The edges are chosen so that all bins have about the same number of crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pitcore.camera.crops import LABELS, LabelledCrop, fold_of
from pitcore.errors import DataError
from pitcore.model_card import FigureCounts, Reference, load_bundle
from pitcore.preprocess.prepare import CropSpec
from pitcore_tools.evaluate import figures
from pitcore_tools.evaluate.score import bundle_margins
from pitcore_tools.train.dataset import prepare, read_crops
from pitcore_tools.train.recipe import Recipe, load_recipe

BINS = 10


def card_reference(folder: Path, data: Path, *, held_out: bool) -> Reference:
    """Judge labelled crops by a bundle and count their figures.

    Args:
        folder: folder of the bundle.
        data: folder with ``cherry_clean`` and ``cherry_pit``.
        held_out: True uses only the crops of the fold that was kept from training, as the bundle's recipe says; False
            uses all crops.

    Raises:
        PitcoreError: the bundle or the crops cannot be used.
        ConfigError: ``held_out``, and the bundle's recipe cannot be read.
        DataError: there is no crop of a label.
    """
    bundle = load_bundle(folder)
    card = bundle.card
    crops, which = read_crops(data), "all crops"
    if held_out:
        recipe = load_recipe(folder / "config.yaml")
        crops = [crop for crop in crops if fold_of(crop.hash, recipe.folds) == recipe.held_out_fold]
        which = held_out_text(recipe)
    labels = np.array([crop.label for crop in crops])
    for number, name in enumerate(LABELS):
        if not (labels == number).any():
            raise DataError(f"{data}: no {name} crop among {which}; the card needs some")
    margins = bundle_margins(bundle, prepare(crops, CropSpec(card.crop_size_px, card.resize, len(card.planes))))
    probabilities = figures.platt(margins, card.calibration.slope, card.calibration.intercept)
    return reference_of(crops, probabilities, card.planes, which)


def held_out_text(recipe: Recipe) -> str:
    """Return which crops a net was not trained on, for people."""
    return f"crops of fold {recipe.held_out_fold} of {recipe.folds}"


def reference_of(
    crops: Sequence[LabelledCrop], probabilities: NDArray[np.float64], planes: Sequence[str], which: str
) -> Reference:
    """Count the figures of labelled crops.

    Args:
        crops: as they lie on disk.
        probabilities: (N,) of a pit, calibrated; of each crop.
        planes: names of the crops' planes, in order.
        which: names the crops, for people.
    """
    labels = np.array([crop.label for crop in crops])
    areas = np.array([float(_mask(crop).sum()) for crop in crops])
    values = {"pit_probability": probabilities, "area_px": areas}
    for plane, name in enumerate(planes):
        values[f"mean_{name}"] = np.array([float(crop.pixels[..., plane].sum()) for crop in crops]) / areas
    how = f"{which}: {len(crops)}, {int((labels == 1).sum())} with a pit"
    return Reference(how, {name: _counted(found, labels) for name, found in values.items()})


def _mask(crop: LabelledCrop) -> NDArray[np.bool_]:
    return np.asarray((crop.pixels > 0).any(axis=2))


def _counted(values: NDArray[np.float64], labels: NDArray[np.int64]) -> FigureCounts:
    edges = np.unique(np.quantile(values, np.arange(1, BINS) / BINS).round(4))
    counts = [
        np.bincount(np.searchsorted(edges, values[labels == one], side="right"), minlength=len(edges) + 1)
        for one in (0, 1)
    ]
    return FigureCounts(edges.tolist(), counts[0].tolist(), counts[1].tolist())
