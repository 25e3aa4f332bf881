"""Packs crops and ImageNet's weights into one small folder, for a machine without access to a package registry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pitcore.camera.crops import fold_of
from pitcore.preprocess.prepare import CropSpec
from pitcore_tools.distil.crops import FOLDS, SIDE_PX, Crops
from pitcore_tools.distil.files import write_arrays
from pitcore_tools.distil.teachers import weights_of
from pitcore_tools.networks.checkpoint import save_weights
from pitcore_tools.networks.imagenet import SOURCES, read_weights
from pitcore_tools.train.dataset import SOURCE_SIZE_PX, prepare, read_crops


def load_crops(folder: Path, device: torch.device, fold_count: int = FOLDS) -> Crops:
    """Read the crops of a folder with ``cherry_clean`` and ``cherry_pit``, and split them into folds.

    Raises:
        DataError, ImageError: the folder or a crop cannot be used.
    """
    crops = prepare(read_crops(folder), CropSpec(SOURCE_SIZE_PX, "centre", 2))
    order = np.argsort(np.array(crops.hashes), kind="stable")
    start = (SOURCE_SIZE_PX - SIDE_PX) // 2
    inner = crops.pixels[order, start : start + SIDE_PX, start : start + SIDE_PX]
    hashes = [crops.hashes[index] for index in order]
    return Crops(
        torch.from_numpy(np.ascontiguousarray(inner.transpose(0, 3, 1, 2))).to(device),
        torch.from_numpy(crops.labels[order]).to(device),
        torch.tensor([fold_of(name, fold_count) for name in hashes], device=device),
        hashes,
        fold_count,
    )


def pack_crops(crops: Crops, path: Path) -> None:
    """Write crops for ``crops.load_packed``. Never commit the file: it contains pictures of real cherries."""
    content = {name: getattr(crops, name).cpu().numpy() for name in ("pixels", "labels", "folds")}
    write_arrays(path, hashes=np.array(crops.hashes), **content)


def pack_weights(source: str, path: Path) -> None:
    """Write a source's weights without its last layer, with matrices in half precision. Raises DataError."""
    state = read_weights(weights_of(SOURCES[source]), SOURCES[source])
    kept = list(state)[:-2]
    small = {name: state[name].half() if state[name].ndim > 1 else state[name] for name in kept}
    save_weights(path, small)
