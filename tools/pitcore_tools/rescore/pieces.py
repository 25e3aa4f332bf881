"""Divides an archive into pieces that are judged independently, in any order, each exactly once.

A piece is a few hundred crops: rows of a Parquet shard, or files of a folder. Its id is a hash of its contents and of
the model, so a stored result can be matched to its piece. The columns of an archive are those of `pitcore-tools pull`;
only ``name`` and ``png`` are required.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pitcore.errors import DataError, first_line
from pitcore.plain_text import printable

PIECE_CROPS = 512
SUFFIX = ".parquet"
STORED = ("sha256", "board", "at", "verdict", "reason", "p_pit")  # optional columns with the board's verdict


class Piece(msgspec.Struct, frozen=True):
    """One piece.

    Attributes:
        id: identifies the piece and the model.
        shard: URL of the shard; None for files of a folder.
        first, count: first row and number of rows of the shard.
        paths: paths of the files.
    """

    id: str
    shard: str | None = None
    first: int = 0
    count: int = 0
    paths: list[str] = []


@dataclass(slots=True)
class Record:
    """One crop: its name, its file, and the board's verdict (columns ``STORED``)."""

    name: str
    png: bytes | None
    stored: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """All pieces in the order of the archive, and a message for each shard that cannot be read."""

    pieces: list[Piece]
    bad_shards: list[str]


def _libraries() -> tuple[Any, Any, Any]:
    """Import fsspec, pyarrow and pyarrow.parquet, which only archives need. Raises DataError."""
    try:
        import fsspec  # noqa: PLC0415  optional
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise DataError(f"{error.name} is not installed: pip install 'pitcore-tools[rescore]'") from error
    return fsspec, pa, pq


def plan_archive(url: str, model: str) -> Plan:
    """Divide an archive of Parquet shards into pieces.

    Args:
        url: a folder, or a URL of fsspec.
        model: hash of the bundle.

    Raises:
        DataError: there is no shard, or the store cannot be read.
    """
    fsspec, pa, pq = _libraries()
    try:
        store, root = fsspec.core.url_to_fs(url)
        shards = sorted(str(path) for path in store.find(root) if str(path).endswith(SUFFIX))
    except (ImportError, ValueError, OSError) as error:
        raise DataError(
            f"{url}: cannot be read: {first_line(error)}; name an archive of `pitcore-tools pull`"
        ) from error
    if not shards:
        raise DataError(f"{url}: no crops (PNG or *{SUFFIX}) in it; name a folder of crops, or an archive")
    plan = Plan([], [])
    for path in shards:
        where = store.unstrip_protocol(path)
        try:
            with store.open(path, "rb") as file:
                rows = pq.ParquetFile(file).metadata.num_rows
        except (OSError, pa.ArrowException) as error:
            plan.bad_shards.append(f"{printable(path)}: {first_line(error)}")
            continue
        size = store.size(path)
        for first in range(0, rows, PIECE_CROPS):
            name = path.removeprefix(root)
            plan.pieces.append(Piece(_id(model, name, size, first), where, first, min(PIECE_CROPS, rows - first)))
    return plan


def plan_files(paths: Sequence[str], model: str) -> Plan:
    """Divide a list of files into pieces."""
    cuts = [list(paths[first : first + PIECE_CROPS]) for first in range(0, len(paths), PIECE_CROPS)]
    return Plan([Piece(_id(model, *cut), count=len(cut), paths=cut) for cut in cuts], [])


def read_piece(piece: Piece) -> Iterator[Record]:
    """Yield the crops of a piece; files of a folder are read later. Raises DataError."""
    if piece.shard is None:
        yield from (Record(path, None) for path in piece.paths)
        return
    fsspec, pa, pq = _libraries()
    try:
        with fsspec.open(piece.shard, "rb") as file:
            table = pq.ParquetFile(file)
            wanted = [name for name in ("name", "png", *STORED) if name in table.schema_arrow.names]
            if not {"name", "png"} <= set(wanted):
                raise DataError(f"{piece.shard}: has no columns name and png; fill archives with `pitcore-tools pull`")
            yield from _rows(table.iter_batches(batch_size=PIECE_CROPS, columns=wanted), piece.first, piece.count)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{piece.shard}: cannot be read: {first_line(error)}") from error


def _rows(batches: Iterator[Any], first: int, count: int) -> Iterator[Record]:
    """Yield ``count`` rows from row ``first`` on, whatever the sizes of the batches."""
    at = 0
    for batch in batches:
        skip = max(0, first - at)
        at += len(batch)
        if at <= first:
            continue
        for row in batch.slice(skip, count).to_pylist():
            yield Record(row.pop("name") or "", row.pop("png") or b"", row)
            count -= 1
        if not count:
            return


def _id(*parts: object) -> str:
    return hashlib.sha256(msgspec.json.encode([str(part) for part in parts])).hexdigest()[:32]
