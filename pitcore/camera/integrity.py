"""Checks that the bytes of a PNG or JPEG are complete and undamaged, before the picture is judged. Does no IO.

A decoder fills missing parts with grey, zeros or the previous picture, and reports no error. So pitcore checks every
crop (PNG) and every JPEG of a camera here. For other formats ``film`` uses FFmpeg's own error reports.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = ">IIBBBBB"  # width, height, bits, colour type, compression, filter, interlace
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # samples of a pixel, by the colour type (PNG 3rd edition, 11.2.1)
# First column and row of each of Adam7's passes, and their steps (PNG 3rd edition, 8.2).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_JPEG_END, _JPEG_SCAN = b"\xff\xd9", b"\xff\xda"


def png_fault(content: bytes) -> str | None:
    """Return what is damaged or missing in a PNG file, None if nothing is.

    Checks the length and CRC of each chunk, the end chunk, and that the pixel data decompress to exactly the number of
    bytes that the header gives. Check the size in the header before the call: that much memory is allocated.
    """
    if not content.startswith(PNG_SIGNATURE):
        return "it does not begin like a PNG"
    header, pixels, ended = b"", [], False
    for name, body, fault in _chunks(content):
        if fault is not None:
            return fault
        if not header:
            if name != b"IHDR" or len(body) != struct.calcsize(_HEADER):
                return "its first chunk is not a header"
            header = body
        if name == b"IDAT":
            pixels.append(body)
        ended = ended or name == b"IEND"
    if not ended:
        return "its end is missing"
    return _pixels_fault(header, b"".join(pixels))


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes, str | None]]:
    """Yield name, body and fault of each chunk, up to the end chunk or the first fault."""
    at, name = len(PNG_SIGNATURE), b""
    while at < len(content) and name != b"IEND":
        if at + 12 > len(content):
            yield name, b"", "it is cut off"
            return
        (length,) = struct.unpack_from(">I", content, at)
        name, end = content[at + 4 : at + 8], at + 8 + length
        if end + 4 > len(content):
            yield name, b"", f"it is cut off in its chunk {_printable(name)}"
            return
        if zlib.crc32(content[at + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            yield name, b"", f"the checksum of its chunk {_printable(name)} is wrong"
            return
        yield name, content[at + 8 : end], None
        at = end + 4


def _pixels_fault(header: bytes, packed: bytes) -> str | None:
    width_px, height_px, bits, colour, _, _, interlaced = struct.unpack(_HEADER, header)
    if colour not in _SAMPLES:
        return f"its colour type {colour} is unknown"
    expected = _pixel_bytes(width_px, height_px, bits * _SAMPLES[colour], interlaced=bool(interlaced))
    decompressor = zlib.decompressobj()
    try:
        actual = len(decompressor.decompress(packed, expected + 1))  # one byte more, to notice surplus data
    except zlib.error:
        return "its pixel data cannot be decompressed"
    if actual > expected:
        return "it holds more pixels than its header says"
    if actual < expected or not decompressor.eof:
        return f"it holds {actual} of the {expected} bytes of pixels that its header says"
    return None


def _pixel_bytes(width_px: int, height_px: int, bits: int, *, interlaced: bool) -> int:
    """Return the size of the decompressed pixel data in bytes; each row has one extra byte for its filter type."""
    if not interlaced:
        return height_px * (1 + (width_px * bits + 7) // 8)
    total = 0
    for column, row, right, down in _ADAM7:
        wide, high = (width_px - column + right - 1) // right, (height_px - row + down - 1) // down
        total += high * (1 + (wide * bits + 7) // 8) if wide > 0 else 0
    return total


def jpeg_fault(content: bytes) -> str | None:
    """Return what is missing in a camera's JPEG, None if nothing is.

    The end marker must follow the pixel data. Bytes after the marker are allowed, because some cameras send their
    whole buffer. A JPEG has no checksum: a changed bit that leaves it decodable is not detected.
    """
    scan = content.rfind(_JPEG_SCAN)
    if scan < 0:
        return "the JPEG holds no pixels"
    if content.find(_JPEG_END, scan) < 0:
        return "the JPEG is cut off, its end marker is missing"
    return None


def _printable(name: bytes) -> str:
    return ascii(name.decode("latin-1"))[1:-1]
