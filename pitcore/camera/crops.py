"""Reads and writes crops: one cherry, cut out by its mask, as an RGB PNG whose green plane is empty.

Red is the top camera (reflected light), blue the bottom one (light through the cherry). This module does not resize,
centre or scale; ``preprocess`` does. The training tools also read crops through this module, so training and
classification use the same decoder.
"""

from __future__ import annotations

import hashlib
import logging
import struct
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pitcore.camera.folders import walk
from pitcore.camera.integrity import PNG_SIGNATURE, png_fault
from pitcore.errors import DataError, ImageError, first_line
from pitcore.plain_text import printable

log = logging.getLogger(__name__)

LABELS = ("clean", "pit")
CLASS_FOLDERS = ("cherry_clean", "cherry_pit")  # in the order of LABELS
MIN_SIDE_PX = 8
MAX_SIDE_PX = 512
_NAMED = 5  # faulty crops listed in one message

_PNG_START = PNG_SIGNATURE + b"\0\0\0\rIHDR"  # up to the name of the first chunk, which holds the size of the picture
_HEADER_BYTES = 24  # signature, length and name of IHDR, width, height


class LabelledCrop(NamedTuple):
    """A crop with the label that a person gave it.

    Attributes:
        path: the file.
        label: index into ``LABELS``.
        pixels: (H, W, 2) uint8, top then bottom; zero outside the cherry's mask.
        hash: hash of the pixels, see ``crop_hash``.
    """

    path: Path
    label: int
    pixels: NDArray[np.uint8]
    hash: str


def read_crop(path: Path) -> NDArray[np.uint8]:
    """Read one crop.

    Returns:
        (H, W, 2) uint8, C-contiguous, top (red) then bottom (blue).

    Raises:
        ImageError: the file is missing, no PNG, damaged or cut off, not 8-bit RGB, has light in the green plane, is
            empty, or has a side outside 8..512 px.
    """
    try:
        with path.open("rb") as file:
            _check_header(file, path)
            content = file.read()
    except OSError as error:
        why = error.strerror or "unreadable"
        raise ImageError(f"{path}: cannot be read: {why}; name a readable PNG file") from error
    return _pixels_of(_decode(content, path), path)


def _pixels_of(rgb: NDArray[np.uint8], path: Path | str) -> NDArray[np.uint8]:
    """Return (H, W, 2) of a decoded crop. Raises ImageError."""
    if rgb[:, :, 1].any():
        raise ImageError(f"{path}: the green plane is not empty; store top as red, bottom as blue, green as 0")
    pixels = np.ascontiguousarray(rgb[:, :, ::2])  # copies: decoded rows interleave the green plane
    if not pixels.any():
        raise ImageError(f"{path}: every pixel is zero, there is no cherry in it; remove the file")
    return pixels


def _check_header(file: BinaryIO, path: Path | str) -> None:
    """Check signature and size before a decoder allocates memory. Raises ImageError."""
    header = file.read(_HEADER_BYTES)
    file.seek(0)
    if not header.startswith(_PNG_START[: len(header)]) or not header:
        raise ImageError(f"{path}: not a PNG file; save crops as 8-bit RGB PNG")
    if len(header) < _HEADER_BYTES:
        raise ImageError(f"{path}: the PNG ends inside its header; copy the file again")
    width_px, height_px = struct.unpack(">II", header[16:])
    if not (MIN_SIDE_PX <= width_px <= MAX_SIDE_PX and MIN_SIDE_PX <= height_px <= MAX_SIDE_PX):
        raise ImageError(
            f"{path}: {width_px}x{height_px} px, but a crop has sides of {MIN_SIDE_PX}..{MAX_SIDE_PX} px; "
            "cut single cherries"
        )


def _decode(content: bytes, path: Path | str) -> NDArray[np.uint8]:
    """Decode an RGB PNG to (H, W, 3) uint8. Raises ImageError if it is damaged or has another pixel format."""
    fault = png_fault(content)
    if fault is not None:
        raise ImageError(f"{path}: the PNG is damaged: {fault}; copy the file again")
    try:
        with Image.open(BytesIO(content), formats=("PNG",)) as image:
            mode = image.mode
            image.load()
            if mode == "RGB" and content[_HEADER_BYTES] == 8:
                return np.asarray(image, np.uint8)
    except (OSError, SyntaxError, ValueError, struct.error) as error:  # Pillow raises these for damaged files
        raise ImageError(f"{path}: the PNG is damaged: {first_line(error)}; copy the file again") from error
    if mode == "RGB":  # Pillow silently drops the lower 8 of 16 bits
        raise ImageError(f"{path}: {content[_HEADER_BYTES]} bits a plane; save crops as 8-bit RGB PNG")
    planes = len(Image.new(mode, (1, 1)).getbands())
    raise ImageError(f"{path}: mode {mode} with {planes} plane(s); a crop is RGB with top in red and bottom in blue")


def encode_crop(pixels: NDArray[np.uint8], texts: Mapping[str, str] | None = None) -> bytes:
    """Return the PNG that ``read_crop`` reads back to the same pixels.

    Args:
        pixels: (H, W, 2) uint8, top then bottom, sides of 8 to 512 px; zero outside the cherry's mask.
        texts: text chunks to store in the file, by keyword (``crop_texts`` reads them).
    """
    rgb = np.zeros((*pixels.shape[:2], 3), np.uint8)
    rgb[:, :, ::2] = pixels
    info = PngInfo()
    for keyword, text in (texts or {}).items():
        info.add_itxt(keyword, text)
    file = BytesIO()
    Image.fromarray(rgb).save(file, "PNG", pnginfo=info, compress_level=6)
    return file.getvalue()


def decode_crop(content: bytes, name: str) -> NDArray[np.uint8]:
    """Read one crop from the bytes of a PNG file.

    Args:
        content: the bytes of the file.
        name: the file's name, for messages.

    Returns:
        (H, W, 2) uint8, as ``read_crop``.

    Raises:
        ImageError: as ``read_crop``.
    """
    file = BytesIO(content)
    _check_header(file, name)
    return _pixels_of(_decode(content, name), name)


def crop_texts(content: bytes, name: str) -> dict[str, str]:
    """Return the texts that ``encode_crop`` stored, by keyword. Raises ImageError.

    Call it only for a PNG that ``decode_crop`` accepted: this function does not check the size.
    """
    try:
        with Image.open(BytesIO(content), formats=("PNG",)) as image:
            image.load()
            return {key: str(text) for key, text in getattr(image, "text", {}).items()}
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{name}: its texts cannot be read: {first_line(error)}; copy the file again") from error


def crop_hash(pixels: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of shape and pixels, in hex. Crops with equal pixels have equal hashes."""
    digest = hashlib.sha256(repr(tuple(pixels.shape)).encode())
    digest.update(np.ascontiguousarray(pixels).data)  # copies only if the caller passes a view with gaps
    return digest.hexdigest()


def fold_of(hash_hex: str, folds: int) -> int:
    """Return the cross-validation fold of a crop, 0..folds-1. Crops with equal hashes are in the same fold."""
    return int(hash_hex[:8], 16) % folds


def find_crops(folder: Path) -> list[Path]:
    """Return every ``*.png`` below a folder, sorted by its path relative to the folder. Logs skipped entries.

    Raises:
        DataError: the folder does not exist.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; name the folder that holds the crops")
    found = walk(folder)
    if found.passed_over:
        log.warning("%s: %s", printable(folder), found)
    return found.pictures


def labelled_files(folder: Path) -> list[tuple[int, Path]]:
    """Return (label, file) of every crop in ``cherry_clean/`` and ``cherry_pit/``, clean ones first, sorted by path.

    Raises:
        DataError: the folder or one of the two classes is missing or empty.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; name the folder that holds {' and '.join(CLASS_FOLDERS)}")
    _log_unused(folder)
    files = []
    for label, name in enumerate(CLASS_FOLDERS):
        found = find_crops(folder / name) if (folder / name).is_dir() else []
        if not found:
            raise DataError(f"{folder}: no PNG in {name}/; both {' and '.join(CLASS_FOLDERS)} need crops")
        files += [(label, path) for path in found]
    return files


def _log_unused(folder: Path) -> None:
    """Log folders and PNG files beside the two class folders: they may hold crops that are not read."""
    beside = [path for path in sorted(folder.iterdir()) if path.name not in CLASS_FOLDERS]
    names = [printable(path.name) for path in beside if path.is_dir() or path.suffix.lower() == ".png"]
    if names:
        first_names = ", ".join(names[:_NAMED])
        log.warning("%s: %d skipped, in no class folder: %s", printable(folder), len(names), first_names)


def load_labelled(folder: Path) -> list[LabelledCrop]:
    """Read ``cherry_clean/`` and ``cherry_pit/`` below a folder, clean ones first, each sorted by path.

    Raises:
        DataError: the folder or one of the two classes is missing or empty.
        ImageError: some crops cannot be used; the message has their number and the reasons of the first ones.
    """
    crops, faults = [], []
    for label, path in labelled_files(folder):
        try:
            pixels = read_crop(path)
        except ImageError as error:
            faults.append(str(error))
            continue
        crops.append(LabelledCrop(path, label, pixels, crop_hash(pixels)))
    if faults:
        more = f"; and {len(faults) - _NAMED} more, which `pitcore classify` names" if len(faults) > _NAMED else ""
        reasons = "; ".join(faults[:_NAMED])
        raise ImageError(f"{folder}: {len(faults)} of {len(faults) + len(crops)} crops cannot be used: {reasons}{more}")
    return crops
