"""Finds crops that are the same picture, and crops that show the same cherry. Does no IO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter, uniform_filter

from pitcore.camera.crops import LabelledCrop, fold_of
from pitcore.preprocess.prepare import CropSpec
from pitcore_tools.train.dataset import SOURCE_SIZE_PX, prepare

FOLDS = 5  # number of folds in docs/model.md

# Most cherries have a round outline, so cherries are compared by the texture inside.
FINE_PX, BROAD_PX = 3, 13  # texture is the detail between these two sizes
RIM_PX = 4  # the bright edge that every cherry has is left out
SHIFT_PX = 4  # the box around a cherry shifts by a few pixels with its mask
CELL_PX = 4
BLOCK = 512

# Chosen by looking at the 3,646 different pictures of the real set. Mirrored pictures, which never show the same
# cherry, reach 0.702 at most; of the unmirrored pairs all 18 above 0.72 show one cherry to the eye, and some of those
# from 0.70 on. File numbers, which the measure does not know, agree: of the 17 pairs with one label none are further
# apart than 51. The first look, at coarse cells, keeps all 18 with room: their lowest is 0.61.
SAME_CHERRY = 0.72
WORTH_A_LOOK = 0.55

Texture = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NearPair:
    """Two different pictures that probably show one cherry.

    Attributes:
        first, second: the crops, in the order of the folder.
        likeness: correlation of their textures, ``SAME_CHERRY`` to 1.
    """

    first: LabelledCrop
    second: LabelledCrop
    likeness: float

    @property
    def labels_differ(self) -> bool:
        """True if their labels differ."""
        return self.first.label != self.second.label

    @property
    def across_folds(self) -> bool:
        """True if they are in different folds, so that one is trained on while the other is held out."""
        return fold_of(self.first.hash, FOLDS) != fold_of(self.second.hash, FOLDS)


def exact_groups(crops: Sequence[LabelledCrop]) -> list[list[LabelledCrop]]:
    """Return the groups of two or more crops with equal pixels, whatever their labels."""
    groups: dict[str, list[LabelledCrop]] = {}
    for crop in crops:
        groups.setdefault(crop.hash, []).append(crop)
    return [group for group in groups.values() if len(group) > 1]


def in_conflict(group: Sequence[LabelledCrop]) -> bool:
    """Return True if the crops of a group have both labels."""
    return len({crop.label for crop in group}) > 1


def near_pairs(crops: Sequence[LabelledCrop]) -> list[NearPair]:
    """Return pairs of different pictures that probably show one cherry, most alike first.

    Every pair is compared in coarse cells; similar pairs are compared pixel by pixel, at every shift up to
    ``SHIFT_PX``. Five thousand crops take about a minute; the time grows with the square of the number.

    The measure is the normalised cross-correlation of J. P. Lewis, "Fast normalized cross-correlation", 1995, of the
    textures of both planes, averaged.
    """
    once = list({crop.hash: crop for crop in reversed(crops)}.values())[::-1]
    pixels = prepare(once, CropSpec(SOURCE_SIZE_PX, "centre", 2)).pixels

    @lru_cache(maxsize=BLOCK)
    def spectrum(index: int) -> NDArray[np.complex128]:
        return np.fft.rfft2(texture(pixels[index]))

    found = []
    for first, second in _worth_a_look(np.stack([_cells(texture(picture)) for picture in pixels])):
        likeness = _best_shift(spectrum(first), spectrum(second))
        if likeness >= SAME_CHERRY:
            found.append(NearPair(once[first], once[second], likeness))
    return sorted(found, key=lambda pair: -pair.likeness)


def texture(pixels: NDArray[np.uint8]) -> Texture:
    """Return the texture of a cherry: detail inside the rim, without brightness, contrast or outline.

    Args:
        pixels: (S, S, 2) uint8, zero outside the mask.

    Returns:
        (2, S, S) float32; each plane has mean 0 inside and norm 1, or is all 0 where nothing is inside the rim.
    """
    planes = np.moveaxis(pixels, 2, 0).astype(np.float32)
    mask = np.asarray(pixels.any(axis=2)).astype(np.float32)
    inside = minimum_filter(mask, 2 * RIM_PX + 1, mode="constant")
    detail = (_softened(planes, mask, FINE_PX) - _softened(planes, mask, BROAD_PX)) * inside
    detail = (detail - detail.sum(axis=(1, 2), keepdims=True) / max(float(inside.sum()), 1.0)) * inside
    norms = np.linalg.norm(detail, axis=(1, 2), keepdims=True)
    return np.asarray(detail / np.maximum(norms, 1e-6), np.float32)


def _softened(planes: Texture, mask: Texture, size_px: int) -> Texture:
    """Return the mean over a square of each pixel's neighbours inside the mask."""
    share = np.maximum(uniform_filter(mask, size_px, mode="constant"), 1e-3)
    return np.asarray(uniform_filter(planes, (0, size_px, size_px), mode="constant") / share)


def _cells(detail: Texture) -> Texture:
    """Return the texture in cells of ``CELL_PX``, as a vector of norm 1."""
    count = detail.shape[1] // CELL_PX
    flat = detail.reshape(2, count, CELL_PX, count, CELL_PX).mean(axis=(2, 4)).ravel()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-6), np.float32)


def _worth_a_look(cells: Texture) -> list[tuple[int, int]]:
    """Return pairs of rows of (N, D) whose product reaches ``WORTH_A_LOOK``, each once, by blocks of rows."""
    found: list[tuple[int, int]] = []
    for start in range(0, len(cells), BLOCK):
        alike = cells[start : start + BLOCK] @ cells[start:].T
        rows, columns = np.nonzero(np.triu(alike >= WORTH_A_LOOK, k=1))
        found += zip((rows + start).tolist(), (columns + start).tolist(), strict=True)
    return found


def _best_shift(first: NDArray[np.complex128], second: NDArray[np.complex128]) -> float:
    """Return the highest correlation over all shifts, from two (2, S, S // 2 + 1) spectra; the planes move together."""
    correlation = np.fft.irfft2((first * np.conj(second)).mean(axis=0), s=(SOURCE_SIZE_PX, SOURCE_SIZE_PX))
    shifts = np.arange(-SHIFT_PX, SHIFT_PX + 1)
    return float(correlation[np.ix_(shifts, shifts)].max())
