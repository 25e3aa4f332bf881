"""Scores a model on any labelled folder: crops of another line, of a new season, or procedural ones.

``evaluate`` knows from the folds which crops a net was trained on. A run may have recorded them; a bundle names only
the fold that was kept from training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pitcore.camera.crops import fold_of
from pitcore.inference.session import Session
from pitcore.machine import usable_cores
from pitcore.model_card import Bundle, load_bundle
from pitcore.preprocess.prepare import CropSpec, to_float
from pitcore_tools.evaluate import figures
from pitcore_tools.evaluate.figures import Floats, Share
from pitcore_tools.evaluate.logits import HeldOut
from pitcore_tools.train.dataset import CropSet, in_fold, prepare, read_crops
from pitcore_tools.yaml_text import read_yaml

BATCH = 128
FOLDS = 5  # number of folds for cross-fitting


@dataclass(frozen=True, slots=True)
class Scored:
    """The result of a model on labelled crops.

    Attributes:
        held_out: its margins: those of the float net for a run, those of its net for a bundle.
        trained_on: number of crops on which it is known to have been trained; for a bundle, on which it may have been
            trained, because they are outside its held-out fold; None if unknown.
        untouched: for a bundle, its held-out fold in words, for people; else empty.
        tiers: for a bundle: shares of pits that pass, clean cherries rejected, and reviews, by the card's thresholds.
    """

    held_out: HeldOut
    trained_on: int | None
    untouched: str
    tiers: dict[str, Share]


def score(model: Path, data: Path) -> Scored:
    """Score a bundle with the code of the boards, or a training run in float.

    Args:
        model: a folder with ``card.json`` (bundle) or ``model_best.pt`` (training run).
        data: folder with ``cherry_clean`` and ``cherry_pit``.

    Raises:
        PitcoreError: the model or the folder cannot be used.
    """
    if (model / "card.json").exists():
        bundle = load_bundle(model)
        card = bundle.card
        crops = prepare(read_crops(data), CropSpec(card.crop_size_px, card.resize, len(card.planes)))
        margins = bundle_margins(bundle, crops)
        return Scored(_held_out(crops, margins, margins), *_outside(model, crops), _tiers(bundle, crops, margins))
    from pitcore_tools.train.loop import SEEN, load_network, logits_of, seen_by  # noqa: PLC0415  a bundle needs no torch

    recipe, network = load_network(model)
    crops = prepare(read_crops(data), recipe.spec)
    margins = figures.pit_margins(logits_of(network, crops.pixels, recipe), recipe.labels)
    seen = seen_by(model)
    trained_on = sum(name in seen for name in crops.hashes) if (model / SEEN).exists() else None
    return Scored(_held_out(crops, margins, np.full(len(crops), np.nan)), trained_on, "", {})


def _outside(folder: Path, crops: CropSet) -> tuple[int | None, str]:
    """Return the number of crops outside the held-out fold of a bundle, and this fold in words.

    Recipes of older versions lack keys, so only the two that matter are read. Without them: None and an empty text.
    """
    try:
        recipe = read_yaml(folder / "config.yaml")
    except (OSError, ValueError):
        return None, ""
    folds, fold = (recipe.get(key) if isinstance(recipe, dict) else None for key in ("folds", "held_out_fold"))
    if type(folds) is not int or type(fold) is not int or not 0 <= fold < folds:
        return None, ""
    return int((~in_fold(crops, folds, fold)).sum()), f"fold {fold} of {folds}"


def bundle_margins(bundle: Bundle, crops: CropSet) -> Floats:
    """Run a bundle over crops with the code of the boards. Return (N,) margins."""
    card, session = bundle.card, Session(bundle, capacity=BATCH, workers=usable_cores())
    margins = np.empty(len(crops))
    for start in range(0, len(crops), BATCH):
        piece = crops.pixels[start : start + BATCH]
        if card.dtype == "uint8":
            session.batch[: len(piece)] = piece
        else:
            to_float(piece, card.layout, card.scale, card.offset, session.batch[: len(piece)])
        margins[start : start + len(piece)] = figures.pit_margins(session.run(len(piece)), card.labels)
    return margins


def _held_out(crops: CropSet, float_margins: Floats, int8_margins: Floats) -> HeldOut:
    folds = np.array([fold_of(name, FOLDS) for name in crops.hashes], np.int64)
    return HeldOut(crops.hashes, folds, crops.labels, float_margins, int8_margins)


def _tiers(bundle: Bundle, crops: CropSet, margins: Floats) -> dict[str, Share]:
    calibration, thresholds = bundle.card.calibration, bundle.card.thresholds
    probabilities = figures.platt(margins, calibration.slope, calibration.intercept)
    passed, thrown, pit = probabilities < thresholds.accept, probabilities >= thresholds.reject, crops.labels == 1
    return {
        "pits that pass": Share(int((pit & passed).sum()), int(pit.sum())),
        "clean rejected": Share(int((~pit & thrown).sum()), int((~pit).sum())),
        "review": Share(int((~passed & ~thrown).sum()), len(crops)),
    }
