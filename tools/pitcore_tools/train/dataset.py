"""Labelled crops in memory, prepared by the code that serves the belt, and split by their hash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pitcore.camera.crops import LabelledCrop, fold_of, load_labelled
from pitcore.errors import DataError
from pitcore.preprocess.prepare import CropSpec, crop_from_image

SOURCE_SIZE_PX = 128  # training turns and shifts a crop before cutting it, so it starts from a larger one


@dataclass(frozen=True, slots=True)
class CropSet:
    """Crops with labels.

    Attributes:
        pixels: (N, S, S, planes) uint8.
        labels: (N,) int64, index into ``pitcore.camera.crops.LABELS``.
        hashes: of the pictures as they lie on disk; the split follows them.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    hashes: list[str]

    def __len__(self) -> int:
        return len(self.hashes)

    def where(self, chosen: NDArray[np.bool_]) -> CropSet:
        """Return the chosen crops, in the same order."""
        hashes = [name for name, keep in zip(self.hashes, chosen, strict=True) if keep]
        return CropSet(self.pixels[chosen], self.labels[chosen], hashes)


def read_crops(folder: Path) -> list[LabelledCrop]:
    """Read every crop of both classes as it lies on disk.

    Raises:
        DataError: a class is missing or empty, or one picture lies in both.
        ImageError: a picture cannot be used.
    """
    crops = load_labelled(folder)
    label_of: dict[str, int] = {}
    for crop in crops:
        if label_of.setdefault(crop.hash, crop.label) != crop.label:
            raise DataError(f"{crop.path}: the same picture lies in the other class too; decide, and remove one")
    return crops


def prepare(crops: Sequence[LabelledCrop], spec: CropSpec) -> CropSet:
    """Prepare crops with the code that serves the belt."""
    pixels = np.stack([crop_from_image(crop.pixels, spec) for crop in crops])
    return CropSet(pixels, np.array([crop.label for crop in crops], np.int64), [crop.hash for crop in crops])


def in_fold(crops: CropSet, folds: int, fold: int) -> NDArray[np.bool_]:
    """Return which crops fall into a fold. Exact duplicates fall into the same one."""
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
