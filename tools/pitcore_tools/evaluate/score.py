"""Scores a model on any labelled folder: another line's crops, a new season's, procedural ones.

Unlike ``evaluate``, which knows what a net was trained on by its folds, this can only compare with what a run wrote
down.
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
from pitcore_tools.train.dataset import CropSet, prepare, read_crops

BATCH = 128
FOLDS = 5  # that the crops are counted in, for cross-fitting


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model says of labelled crops.

    Attributes:
        held_out: its margins; the float ones of a run, those of the net itself of a bundle.
        trained_on: how many of the crops it is known to have been trained on.
        tiers: of a bundle: pits that pass, clean ones that are rejected, and reviews, by its card.
    """

    held_out: HeldOut
    trained_on: int
    tiers: dict[str, Share]


def score(model: Path, data: Path) -> Scored:
    """Score a bundle, as boards run it, or a training run, in float.

    Args:
        model: a folder with ``card.json``, or one with ``model_best.pt``.
        data: folder with ``cherry_clean`` and ``cherry_pit``.

    Raises:
        PitcoreError: either cannot be used.
    """
    if (model / "card.json").exists():
        bundle = load_bundle(model)
        card = bundle.card
        crops = prepare(read_crops(data), CropSpec(card.crop_size_px, card.resize, len(card.planes)))
        margins = bundle_margins(bundle, crops)
        return Scored(_held_out(crops, margins, margins), 0, _tiers(bundle, crops, margins))
    from pitcore_tools.train.loop import load_network, logits_of, seen_by  # noqa: PLC0415  a bundle needs no torch

    recipe, network = load_network(model)
    crops = prepare(read_crops(data), recipe.spec)
    seen = seen_by(model)
    margins = figures.pit_margins(logits_of(network, crops.pixels, recipe), recipe.labels)
    trained_on = sum(name in seen for name in crops.hashes)
    return Scored(_held_out(crops, margins, np.full(len(crops), np.nan)), trained_on, {})


def bundle_margins(bundle: Bundle, crops: CropSet) -> Floats:
    """Run a bundle over crops through the code that boards run; returns (N,) margins."""
    card, session = bundle.card, Session(bundle, capacity=BATCH, workers=usable_cores())
    found = np.empty(len(crops))
    for start in range(0, len(crops), BATCH):
        piece = crops.pixels[start : start + BATCH]
        if card.dtype == "uint8":
            session.batch[: len(piece)] = piece
        else:
            to_float(piece, card.layout, card.scale, card.offset, session.batch[: len(piece)])
        found[start : start + len(piece)] = figures.pit_margins(session.run(len(piece)), card.labels)
    return found


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
