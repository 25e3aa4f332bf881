"""Holds crops on a device, in the order of their hashes, so that a position means the same crop on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pitcore_tools.digest import crops_digest

FOLDS = 5
SIDE_PX = 112  # side of the stored crops: enough for a view of 84 px, enlarged, rotated and shifted


def fold_name(fold: int, fold_count: int = FOLDS) -> str:
    """Return the name of a fold in the paths of results: ``fold3``, or ``fold9of10`` if there are not five folds."""
    return f"fold{fold}" if fold_count == FOLDS else f"fold{fold}of{fold_count}"


@dataclass(frozen=True, slots=True)
class Crops:
    """All crops.

    Attributes:
        pixels: (N, 2, 112, 112) uint8.
        labels: (N,) int64, 1 for a pit.
        folds: (N,) int64.
        hashes: hashes of the pictures on disk, ascending.
        fold_count: number of folds into which the crops are split.
    """

    pixels: Tensor
    labels: Tensor
    folds: Tensor
    hashes: list[str]
    fold_count: int = FOLDS

    def name(self, fold: int) -> str:
        """Return the name of a fold, see ``fold_name``."""
        return fold_name(fold, self.fold_count)

    def of_folds(self, folds: Sequence[int]) -> Tensor:
        """Return the positions of the crops of some folds, ascending."""
        return torch.isin(self.folds, torch.tensor(list(folds), device=self.folds.device)).nonzero()[:, 0]

    def without(self, fold: int) -> Tensor:
        """Return the positions of the crops of all other folds."""
        return (self.folds != fold).nonzero()[:, 0]

    def digest_without(self, fold: int, *, labels: bool = False) -> str:
        """Return the SHA-256 of the hashes of the crops of all other folds, and of their labels if ``labels``."""
        where = self.without(fold)
        return crops_digest(
            [self.hashes[index] for index in where.tolist()], self.labels[where].tolist() if labels else None
        )


def load_packed(path: Path, device: torch.device) -> Crops:
    """Read crops that ``packing.pack_crops`` wrote. Raises OSError, KeyError."""
    with np.load(path) as content:
        pixels, labels, folds, hashes = (content[key] for key in ("pixels", "labels", "folds", "hashes"))
    return Crops(
        torch.from_numpy(pixels).to(device),
        torch.from_numpy(labels).to(device),
        torch.from_numpy(folds).to(device),
        [str(name) for name in hashes],
    )
