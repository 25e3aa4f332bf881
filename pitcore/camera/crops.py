"""Reading real crops: one cherry, cut out by its mask, as an RGB PNG whose green plane is empty.

Red is the top camera (reflected light), blue the bottom one (light through the cherry). Nothing here resizes,
centres or scales: that is preprocessing. Training tools read crops through this module as well, so that what is
trained and what is classified is decoded by the same code.
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
_NAMED = 5  # faulty crops in one line

_PNG_START = PNG_SIGNATURE + b"\0\0\0\rIHDR"  # with the name of the first chunk, for the sizes are read from it
_HEADER_BYTES = 24  # signature, length and name of IHDR, width, height


class LabelledCrop(NamedTuple):
    """A crop with what a person said about it.

    Attributes:
        path: the file.
        label: index into ``LABELS``.
        pixels: (H, W, 2) uint8, top then bottom; zero outside the cherry's mask.
        hash: of the pixels, see ``crop_hash``.
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
    """Refuse what is no PNG or has an impossible size, before a decoder allocates memory for it."""
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
    """Decode an RGB PNG that is whole to (H, W, 3) uint8."""
    fault = png_fault(content)
    if fault is not None:
        raise ImageError(f"{path}: the PNG is damaged: {fault}; copy the file again")
    try:
        with Image.open(BytesIO(content), formats=("PNG",)) as image:
            mode = image.mode
            image.load()
            if mode == "RGB" and content[_HEADER_BYTES] == 8:
                return np.asarray(image, np.uint8)
    except (OSError, SyntaxError, ValueError, struct.error) as error:  # what Pillow raises for damaged files
        raise ImageError(f"{path}: the PNG is damaged: {first_line(error)}; copy the file again") from error
    if mode == "RGB":  # Pillow drops the lower half of 16 bits without a word
        raise ImageError(f"{path}: {content[_HEADER_BYTES]} bits a plane; save crops as 8-bit RGB PNG")
    planes = len(Image.new(mode, (1, 1)).getbands())
    raise ImageError(f"{path}: mode {mode} with {planes} plane(s); a crop is RGB with top in red and bottom in blue")


def encode_crop(pixels: NDArray[np.uint8], texts: Mapping[str, str] | None = None) -> bytes:
    """Return the PNG that ``read_crop`` reads back to the same pixels.

    Args:
        pixels: (H, W, 2) uint8, top then bottom, sides of 8 to 512 px; zero outside the cherry's mask.
        texts: kept in the file beside the pixels, by keyword (``crop_texts`` reads them).
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
    """Read one crop from a file's bytes, as ``read_crop`` does from a file.

    Args:
        content: of the PNG.
        name: for messages.

    Raises:
        ImageError: as ``read_crop``.
    """
    file = BytesIO(content)
    _check_header(file, name)
    return _pixels_of(_decode(content, name), name)


def crop_texts(content: bytes, name: str) -> dict[str, str]:
    """Return the texts that ``encode_crop`` put into a PNG whose pixels were read before. Raises ImageError."""
    try:
        with Image.open(BytesIO(content), formats=("PNG",)) as image:
            image.load()
            return {key: str(text) for key, text in getattr(image, "text", {}).items()}
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{name}: its texts cannot be read: {first_line(error)}; copy the file again") from error


def crop_hash(pixels: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of shape and pixels, in hex: equal for exact duplicates, whatever their file says."""
    digest = hashlib.sha256(repr(tuple(pixels.shape)).encode())
    digest.update(np.ascontiguousarray(pixels).data)  # copies only if the caller hands a view with gaps
    return digest.hexdigest()


def fold_of(hash_hex: str, folds: int) -> int:
    """Return the fold, 0..folds-1, in which a crop falls; exact duplicates fall in the same one."""
    return int(hash_hex[:8], 16) % folds


def find_crops(folder: Path) -> list[Path]:
    """Return every ``*.png`` below a folder, sorted by its path relative to it; what is passed over is logged.

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
    _name_strangers(folder)
    files = []
    for label, name in enumerate(CLASS_FOLDERS):
        found = find_crops(folder / name) if (folder / name).is_dir() else []
        if not found:
            raise DataError(f"{folder}: no PNG in {name}/; both {' and '.join(CLASS_FOLDERS)} need crops")
        files += [(label, path) for path in found]
    return files


def _name_strangers(folder: Path) -> None:
    """Log what lies beside the two class folders and looks as if it held crops."""
    beside = [path for path in sorted(folder.iterdir()) if path.name not in CLASS_FOLDERS]
    names = [printable(path.name) for path in beside if path.is_dir() or path.suffix.lower() == ".png"]
    if names:
        said = ", ".join(names[:_NAMED])
        log.warning("%s: %d skipped, in no class folder: %s", printable(folder), len(names), said)


def load_labelled(folder: Path) -> list[LabelledCrop]:
    """Read ``cherry_clean/`` and ``cherry_pit/`` below a folder, clean ones first, each sorted by path.

    Raises:
        DataError: the folder or one of the two classes is missing or empty.
        ImageError: crops cannot be used; says how many, and why the first ones cannot.
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
        said = "; ".join(faults[:_NAMED])
        raise ImageError(f"{folder}: {len(faults)} of {len(faults) + len(crops)} crops cannot be used: {said}{more}")
    return crops
