"""Makes the patches to a release, and keeps the smallest one for each base, if it is small enough."""

from __future__ import annotations

import hashlib
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import bsdiff4
import zstandard

from pitcore.errors import PublishError
from pitcore.ota import delta

WORTH = 0.70  # largest size of a patch relative to the full archive, which needs no base
MAX_BSDIFF_BYTES = 128 * 1024 * 1024  # largest archive for bsdiff, which needs about 17 times its size in memory


@dataclass(frozen=True, slots=True)
class MadePatch:
    """A patch that was applied once as a test.

    Attributes:
        method: ``zstd`` or ``bsdiff4``.
        content: the bytes of the patch.
    """

    method: Literal["zstd", "bsdiff4"]
    content: bytes


def zstd_patch(base: bytes, full: bytes) -> bytes:
    """Return a zstd frame with the base as its raw dictionary, like ``zstd --patch-from``."""
    dictionary = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    window_log = max((len(base) + len(full)).bit_length(), 20)  # the window covers the whole base
    if 2**window_log > delta.MAX_WINDOW_BYTES:
        raise PublishError(f"an archive of {len(full)} bytes is too large for a zstd patch")
    parameters = zstandard.ZstdCompressionParameters.from_level(
        19, window_log=window_log, enable_ldm=True, source_size=len(full)
    )
    return zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters).compress(full)


def candidates(base: bytes, full: bytes) -> list[MadePatch]:
    """Return a patch by each method, smallest first."""
    found = []
    if 2 ** (len(base) + len(full)).bit_length() <= delta.MAX_WINDOW_BYTES:
        found.append(MadePatch("zstd", zstd_patch(base, full)))
    if max(len(base), len(full)) <= MAX_BSDIFF_BYTES:
        found.append(MadePatch("bsdiff4", bsdiff4.diff(base, full)))
    return sorted(found, key=lambda patch: len(patch.content))


def best_patch(base: bytes, full: bytes) -> MadePatch | None:
    """Return the smallest patch, or None if none is small enough.

    Raises:
        PublishError: the board's code does not reproduce the archive with the patch.
    """
    for patch in candidates(base, full)[:1]:
        if len(patch.content) <= WORTH * len(full):
            _prove(patch, base, full)
            return patch
    return None


def _prove(patch: MadePatch, base: bytes, full: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="pitcore-patch-") as folder:
        (Path(folder) / "base").write_bytes(base)
        (Path(folder) / "patch").write_bytes(patch.content)
        made = io.BytesIO()
        delta.apply(patch.method, Path(folder) / "base", Path(folder) / "patch", made, len(full))
    if hashlib.sha256(made.getbuffer()).digest() != hashlib.sha256(full).digest():
        raise PublishError(f"the {patch.method} patch does not lead to the archive; this is a fault of this program")
