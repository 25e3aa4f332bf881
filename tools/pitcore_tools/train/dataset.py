"""Holds labelled crops in memory, prepared by the code of the service, and splits them by their hash."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pitcore.camera.crops import LABELS, LabelledCrop, fold_of, load_labelled
from pitcore.errors import DataError
from pitcore.preprocess.prepare import CropSpec, crop_from_image
from pitcore_tools.tables import HASH_DIGITS, crop_name, one_of, read_table

SOURCE_SIZE_PX = 128  # training rotates and shifts a crop before cutting it, so it needs a larger one


@dataclass(frozen=True, slots=True)
class CropSet:
    """Crops with labels.

    Attributes:
        pixels: (N, S, S, planes) uint8.
        labels: (N,) int64, index into ``pitcore.camera.crops.LABELS``, or into a recipe's own.
        hashes: hashes of the pictures on disk, which determine the split.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    hashes: list[str]

    def __len__(self) -> int:
        return len(self.hashes)

    def with_labels(self, labels: Sequence[str]) -> CropSet:
        """Return the same crops with labels that are indices into a recipe's list instead of ``LABELS``."""
        index = np.array([labels.index(name) for name in LABELS], np.int64)
        return CropSet(self.pixels, index[self.labels], self.hashes)

    def where(self, chosen: NDArray[np.bool_]) -> CropSet:
        """Return the chosen crops, in the same order."""
        hashes = [name for name, keep in zip(self.hashes, chosen, strict=True) if keep]
        return CropSet(self.pixels[chosen], self.labels[chosen], hashes)


def read_crops(folder: Path) -> list[LabelledCrop]:
    """Read every crop of both classes without preparation.

    Raises:
        DataError: a class is missing or empty, or a picture is in both classes.
        ImageError: a picture cannot be used.
    """
    crops = load_labelled(folder)
    label_of: dict[str, int] = {}
    for crop in crops:
        if label_of.setdefault(crop.hash, crop.label) != crop.label:
            raise DataError(f"{crop.path}: the same picture lies in the other class too; decide, and remove one")
    return crops


def read_relabel(path: Path, labels: Sequence[str], known: Collection[str] | None = None) -> dict[str, int | None]:
    """Read a relabel file: CSV with ``hash`` (or its first 16 digits) and ``label``.

    Args:
        path: path of the file.
        labels: labels of the recipe.
        known: hashes of all crops; None does not check the rows against them.

    Returns:
        By the first digits of the hash: the index of the new label, or None to leave the crop out (``drop``).

    Raises:
        DataError: the file cannot be read, or a row is wrong, names no crop, or contradicts another; the message names
            the line.
    """
    label_of = one_of(*labels, "drop")
    found: dict[str, int | None] = {}
    lines: dict[str, int] = {}
    rows = read_table(path, ("hash", "label"), "pitcore-tools audit` or `label")
    for row in rows:
        name, label = row.value("hash", crop_name), row.value("label", label_of)
        new = None if label == "drop" else list(labels).index(label)
        if name in found and found[name] != new:
            raise row.wrong(f"hash {name} has another label in line {lines[name]}; keep one")
        found[name], lines[name] = new, row.line
    if known is not None:
        there = {name[:HASH_DIGITS] for name in known}
        lost = [str(row.line) for row in rows if row.cells["hash"][:HASH_DIGITS] not in there]
        if lost:
            raise DataError(
                f"{path}: {len(rows) - len(lost)} of {len(rows)} rows used; no crop has the hash of line "
                f"{', '.join(lost[:5])}{' ...' if len(lost) > 5 else ''}; take out these rows, or give the crops "
                "that they were made of"
            )
    return found


def relabelled(crops: CropSet, relabel: dict[str, int | None]) -> CropSet:
    """Return the crops with their new labels, without those to leave out."""
    new = [relabel.get(name[:HASH_DIGITS], int(label)) for name, label in zip(crops.hashes, crops.labels, strict=True)]
    kept = np.array([label is not None for label in new], np.bool_)
    labels = np.array([-1 if label is None else label for label in new], np.int64)
    return CropSet(crops.pixels, labels, crops.hashes).where(kept)


def prepare(crops: Sequence[LabelledCrop], spec: CropSpec) -> CropSet:
    """Prepare crops with the code of the service."""
    pixels = np.stack([crop_from_image(crop.pixels, spec) for crop in crops])
    return CropSet(pixels, np.array([crop.label for crop in crops], np.int64), [crop.hash for crop in crops])


def in_fold(crops: CropSet, folds: int, fold: int) -> NDArray[np.bool_]:
    """Return (N,) True for the crops of a fold. Exact duplicates are in the same fold."""
    return np.array([fold_of(name, folds) == fold for name in crops.hashes], np.bool_)


def split(crops: CropSet, folds: int, held_out_fold: int) -> tuple[CropSet, CropSet]:
    """Return the crops to train on, and the held-out ones.

    Raises:
        DataError: one side would be empty or of one class only.
    """
    held_out = in_fold(crops, folds, held_out_fold)
    parts = crops.where(~held_out), crops.where(held_out)
    for name, part in zip(("training", "held-out"), parts, strict=True):
        if len(set(part.labels.tolist())) < 2:
            raise DataError(
                f"the {name} part of {len(crops)} crops has {len(part)} of one class or none; give more crops"
            )
    return parts
