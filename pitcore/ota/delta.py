"""Makes an archive from an older one and a patch, in bounded memory.

It holds one buffer of the output and, for ``zstd``, the base with a window as large as base and output; a patch that
expands to more than the signed length is stopped there. The caller hashes the result to compare it with the signature.

``bsdiff4`` is Colin Percival's format (BSDIFF40, https://www.daemonology.net/bsdiff/). The package of that name unpacks
the whole patch into memory. So this module reads the format itself, as a stream.
"""

from __future__ import annotations

import bz2
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import zstandard

from pitcore.errors import Refusal, UpdateError, first_line

CHUNK = 256 * 1024
MAX_WINDOW_BYTES = 512 * 1024 * 1024  # the limit of `package add`
TAKE_THE_WHOLE = "take the whole archive"
_MAGIC, _HEADER, _CONTROL = b"BSDIFF40", 32, 24


class _Output:
    """Passes bytes on, up to the signed length."""

    def __init__(self, out: BinaryIO, length: int) -> None:
        self._out, self._length, self.written = out, length, 0

    def expect(self, count: int) -> None:
        """Refuse ``count`` more bytes if they exceed the signed length."""
        if self.written + count > self._length:
            raise UpdateError(
                Refusal.PATCH_BOMB, f"the patch expands to more than the {self._length} bytes signed; {TAKE_THE_WHOLE}"
            )

    def write(self, content: bytes) -> None:
        self.expect(len(content))
        self._out.write(content)
        self.written += len(content)


def apply(method: str, base: Path, patch: Path, out: BinaryIO, length: int) -> None:
    """Write the archive that a patch makes from ``base``.

    Args:
        method: ``zstd`` or ``bsdiff4``.
        base: the archive it applies to.
        patch: verified before.
        out: takes the result, at most ``length`` bytes, in order. The caller hashes it.
        length: signed length of the result, in bytes.

    Raises:
        UpdateError: the patch does not decode, or gives more or less than ``length`` bytes.
        OSError: a file cannot be read or written.
    """
    limited = _Output(out, length)
    try:
        METHODS[method](base, patch, limited)
    except KeyError as error:
        raise _corrupt(f"method {method} is unknown") from error
    except (zstandard.ZstdError, ValueError, EOFError, struct.error) as error:
        raise _corrupt(first_line(error)) from error
    except OSError as error:
        if error.errno is None:  # bz2 says so of data it cannot decode
            raise _corrupt(first_line(error)) from error
        raise
    if limited.written != length:
        raise _corrupt(f"it gives {limited.written} of {length} bytes")


def _corrupt(why: str) -> UpdateError:
    return UpdateError(Refusal.CORRUPT_PATCH, f"the patch is damaged: {why}; {TAKE_THE_WHOLE}")


def _apply_zstd(base: Path, patch: Path, out: _Output) -> None:
    dictionary = zstandard.ZstdCompressionDict(base.read_bytes(), dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    decompressor = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=MAX_WINDOW_BYTES)
    with patch.open("rb") as file, decompressor.stream_reader(file, read_size=CHUNK) as stream:
        while chunk := stream.read(CHUNK):
            out.write(chunk)


def _apply_bsdiff(base: Path, patch: Path, out: _Output) -> None:
    """Each control triple: add ``x`` bytes of difference to the base, copy ``y`` new ones, move on by ``z``."""
    with patch.open("rb") as file:
        header = file.read(_HEADER)
    if header[:8] != _MAGIC or len(header) != _HEADER:
        raise ValueError("it is not a BSDIFF40 file")
    control_bytes, difference_bytes, promised = struct.unpack("<qqq", header[8:])
    if min(control_bytes, difference_bytes, promised) < 0:
        raise ValueError("negative lengths")
    out.expect(promised)
    with (
        base.open("rb") as base_file,
        mmap.mmap(base_file.fileno(), 0, access=mmap.ACCESS_READ) as old,
        _section(patch, _HEADER) as controls,
        _section(patch, _HEADER + control_bytes) as differences,
        _section(patch, _HEADER + control_bytes + difference_bytes) as extras,
    ):
        position = steps = 0
        while out.written < promised:
            add, copy, seek = map(_signed, struct.unpack("<QQQ", _exactly(controls, _CONTROL)))
            steps += 1
            if min(add, copy, position) < 0 or position + add > len(old):
                raise ValueError("a step reads outside the base")
            if steps > promised:  # a real one may be empty, but not most of them
                raise ValueError("more steps than bytes")
            for piece in _pieces(differences, add):
                made = np.frombuffer(piece, np.uint8) + np.frombuffer(old, np.uint8, len(piece), position)
                out.write(made.tobytes())  # may raise: no view of the map has a name here, or it could not be closed
                position += len(piece)
            for piece in _pieces(extras, copy):
                out.write(piece)
            position += seek


@contextmanager
def _section(patch: Path, offset: int) -> Iterator[bz2.BZ2File]:
    with patch.open("rb") as file:
        file.seek(offset)
        with bz2.BZ2File(file) as section:
            yield section


def _signed(value: int) -> int:
    """Decode the format's sign and magnitude."""
    return -(value & (2**63 - 1)) if value >> 63 else value


def _exactly(stream: bz2.BZ2File, count: int) -> bytes:
    content = stream.read(count)
    if len(content) != count:
        raise EOFError("it ends too early")
    return content


def _pieces(stream: bz2.BZ2File, count: int) -> Iterator[bytes]:
    while count > 0:
        piece = _exactly(stream, min(count, CHUNK))
        count -= len(piece)
        yield piece


METHODS = {"zstd": _apply_zstd, "bsdiff4": _apply_bsdiff}
