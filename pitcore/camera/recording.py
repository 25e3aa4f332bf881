"""Defines and parses the format of a recording: a folder that any tool can read and a power cut does not damage.

``manifest.json``   written once, first: schema, plane names, sizes, belt scale; ``noise`` if the source has any.
``frames.raw``      the frames in order; each is its planes in order, row by row, uint8.
``index.jsonl``     one line for each frame, appended after its pixels: ``{"seq","t_ns","tick","offset","crc32"}``; the
                    CRC is of the frame's bytes.
``truth.jsonl``     optional: one line for each object of an emulated belt, see ``truth.Truth``.

A frame counts as recorded when its index line is complete. Data after the last complete line, in either file, was left
by a recorder that was killed; readers ignore it and report it. ``recorder`` writes the files.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from pitcore.errors import RecordingError
from pitcore.frame import Geometry, Noise

SCHEMA = "pitcore.recording/1"
MANIFEST = "manifest.json"
FRAMES = "frames.raw"
INDEX = "index.jsonl"
TRUTH = "truth.jsonl"


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The contents of ``manifest.json``: the properties of every frame."""

    schema: str
    plane_names: tuple[str, ...]
    height_px: int
    width_px: int
    px_per_tick: float
    noise: Noise = "none"  # recordings of older versions do not have it, so no frame of them counts as frozen

    @property
    def geometry(self) -> Geometry:
        """Geometry of the frames, as a source has it."""
        return Geometry(self.plane_names, self.height_px, self.width_px, self.px_per_tick)

    @property
    def plane_bytes(self) -> int:
        """Bytes of one plane."""
        return self.height_px * self.width_px

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.plane_bytes * len(self.plane_names)


class IndexEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the index: offset of a frame in ``frames.raw`` in bytes, its number, stamps and CRC."""

    seq: int
    t_ns: int
    tick: int
    offset: int
    crc32: int


def manifest_of(geometry: Geometry, noise: Noise) -> Manifest:
    """Return the manifest of a recording with this geometry."""
    return Manifest(SCHEMA, geometry.plane_names, geometry.height_px, geometry.width_px, geometry.px_per_tick, noise)


def read_manifest(folder: Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        RecordingError: the folder or file is missing, damaged, or of another schema.
    """
    path = folder / MANIFEST
    try:
        raw = path.read_bytes()
    except OSError as error:
        why = error.strerror or "unreadable"
        raise RecordingError(f"{path}: {why}; name a folder written by 'pitcore record'") from error
    try:
        schema = msgspec.json.decode(raw, type=dict[str, object]).get("schema")
        if schema != SCHEMA:
            raise RecordingError(f"{path}: schema {schema!r}, this version reads {SCHEMA!r}; record again, or update")
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as error:
        raise RecordingError(f"{path}: damaged: {error}; the recording cannot be used") from error
    if min(manifest.height_px, manifest.width_px, len(manifest.plane_names)) < 1 or manifest.px_per_tick == 0:
        raise RecordingError(f"{path}: a size is 0; the recording cannot be used")
    return manifest


def read_index(folder: Path, manifest: Manifest) -> tuple[list[IndexEntry], bool]:
    """Read the index.

    Returns:
        The entries, and True if the last line was incomplete and ignored.

    Raises:
        RecordingError: the index is missing, or damaged before its last line.
    """
    path = folder / INDEX
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror or 'unreadable'}; the recording is incomplete") from error
    torn = lines.pop() != b""  # what follows the last line feed
    entries: list[IndexEntry] = []
    decoder = msgspec.json.Decoder(IndexEntry)
    for number, line in enumerate(lines, 1):
        try:
            entry = decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise RecordingError(f"{path}: line {number} is damaged: {error}; the recording cannot be used") from error
        if entry.offset != (number - 1) * manifest.frame_bytes:
            raise RecordingError(f"{path}: line {number} has a wrong offset; lines are missing or out of order")
        entries.append(entry)
    return entries, torn
