"""Checks that logits belong to a bundle, and that the evidence for its operating points is complete."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pitcore.camera.crops import fold_of
from pitcore.errors import DataError
from pitcore.model_card import load_bundle
from pitcore_tools.evaluate import report
from pitcore_tools.evaluate.logits import HeldOut
from pitcore_tools.tables import HASH_DIGITS

MAX_MARGIN_ERROR = 1e-3  # of one float net on two machines; see MAX_EXPORT_ERROR of quantise.graph
MAX_FIGURE_ERROR = 3e-3  # of figures that are no counts; a CSV has margins of five digits


class _Split(msgspec.Struct):
    folds: int
    held_out_fold: int


class _Metrics(msgspec.Struct):
    split: _Split
    held_out: dict[str, Any]


def check_own(folder: Path, own: HeldOut) -> int:
    """Check that logits are those of a bundle on the fold that was kept from its training.

    Args:
        folder: folder of the bundle.
        own: logits to check.

    Returns:
        Number of folds of the bundle's split.

    Raises:
        BundleError, CardError: the folder is not a valid bundle.
        DataError: the logits are of another net or of another fold, or ``metrics.json`` lacks the figures.
    """
    load_bundle(folder)  # which checks the hash of metrics.json
    path = folder / "metrics.json"
    try:
        metrics = msgspec.convert(json.loads(path.read_bytes()), type=_Metrics)
    except ValueError as error:  # msgspec's errors are ValueErrors too
        raise DataError(f"{path}: cannot be compared with the logits: {error}; make the bundle again") from error
    folds, fold = metrics.split.folds, metrics.split.held_out_fold
    if set(own.folds.tolist()) != {fold} or any(fold_of(name, folds) != fold for name in own.hashes):
        raise DataError(
            f"the logits are not those of fold {fold} of {folds}, which was kept from the training of {folder}; "
            "give --logits (and --fold) with the crops of this fold"
        )
    if not _close(metrics.held_out, json.loads(json.dumps(report.summary(own)))):
        raise DataError(
            f"the logits are of another net than {folder}: their figures are not those of its metrics.json; "
            "give the --logits that `pitcore-tools quantise` wrote together with this bundle"
        )
    return folds


def evidence_folds(evidence: HeldOut) -> int:
    """Return the number of folds of evidence.

    Raises:
        DataError: it does not have all folds of one split.
    """
    there = sorted({int(fold) for fold in evidence.folds})
    folds = there[-1] + 1
    if folds < 2 or there != list(range(folds)):
        raise DataError(
            f"the evidence has fold {', '.join(map(str, there))} only; give the logits of all folds of one split"
        )
    strange = sum(fold_of(name, folds) != fold for name, fold in zip(evidence.hashes, evidence.folds, strict=True))
    if strange:
        raise DataError(
            f"the evidence has folds 0 to {folds - 1}, but {strange} of {len(evidence.hashes)} crops are not in their "
            f"fold of {folds}; give the logits of all folds of one split"
        )
    return folds


def check_evidence(own: HeldOut, folds: int, evidence: HeldOut) -> None:
    """Check that evidence is complete and does not contradict the net that ships.

    The net that ships may be of another split than the nets of the evidence. If its fold is one of theirs, it is one of
    these nets.

    Args:
        own: held-out crops of the net that ships, all of one fold.
        folds: number of folds of its split.
        evidence: out-of-fold logits of all folds of its recipe.

    Raises:
        DataError: folds are missing, the evidence is of float nets and the net that ships of int8 or the other way
            round, or the rows of the net's own fold are of another net.
    """
    if own.has_int8 != evidence.has_int8:
        raise DataError(
            "only one of the net that ships and the evidence is int8; give evidence of the same kind of nets"
        )
    if evidence_folds(evidence) != folds:
        return
    fold = int(own.folds[0])
    theirs, ours = (_rows(part) for part in (evidence.of_fold(fold), own))
    if theirs.keys() != ours.keys() or any(
        label != ours[name][0] or not abs(margin - ours[name][1]) <= MAX_MARGIN_ERROR
        for name, (label, margin) in theirs.items()
    ):
        raise DataError(
            f"the evidence has another net for fold {fold} of {folds} than the one that ships; give the logits of the "
            "nets of all folds, with this net among them"
        )


def _rows(held_out: HeldOut) -> dict[str, tuple[int, float]]:
    """Return label and float margin by the first digits of the hash."""
    labels, margins = held_out.labels.tolist(), held_out.float_margins.tolist()
    return {
        name[:HASH_DIGITS]: (label, margin)
        for name, label, margin in zip(held_out.hashes, labels, margins, strict=True)
    }


def _close(one: object, other: object) -> bool:
    """Return whether figures agree: counts and texts exactly, other numbers within ``MAX_FIGURE_ERROR``."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_close, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or bool(np.isclose(one, other, rtol=0.0, atol=MAX_FIGURE_ERROR))
    return one == other
