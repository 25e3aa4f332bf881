"""Reads and writes an archive: Parquet shards with the PNG of every crop and the board's data of it.

The name of a shard is a hash of its crops, and a shard is written atomically, so an interrupted pull leaves only whole
shards. A crop is identified by the SHA-256 of its file, and is read once even if several shards contain it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pitcore.camera.crops import crop_hash
from pitcore.capture.record import CaptureRecord, decode_record
from pitcore.errors import DataError, first_line

SUFFIX = ".parquet"
BATCH_ROWS = 256
# Columns for queries; the record in the PNG has all data.
SCHEMA = pa.schema(
    [
        ("sha256", pa.string()),  # hash of the file
        ("crop", pa.string()),  # hash of the pixels, which labels refer to
        ("name", pa.string()),  # name of the file on the board
        ("board", pa.string()),
        ("run", pa.string()),
        ("at", pa.string()),
        ("why", pa.list_(pa.string())),
        ("random_share", pa.float64()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("p_pit", pa.float64()),
        ("model", pa.string()),
        ("model_sha256", pa.string()),
        ("png", pa.binary()),
    ]
)


@dataclass(frozen=True, slots=True)
class Archived:
    """One crop.

    Attributes:
        sha256: hash of its file, in hex.
        crop: hash of its pixels, see ``pitcore.camera.crops.crop_hash``.
        name: name of its file on the board.
        record: the board's data of it.
        png: bytes of its file.
    """

    sha256: str
    crop: str
    name: str
    record: CaptureRecord
    png: bytes

    @classmethod
    def of(cls, name: str, png: bytes) -> Archived:
        """Read the file of a crop. Raises ImageError."""
        record, pixels = decode_record(png, name)
        return cls(hashlib.sha256(png).hexdigest(), crop_hash(pixels), name, record, png)

    def row(self) -> dict[str, Any]:
        """Return its row in a shard."""
        record, verdict = self.record, self.record.verdict
        return {
            "sha256": self.sha256,
            "crop": self.crop,
            "name": self.name,
            "board": record.board,
            "run": record.run,
            "at": record.at,
            "why": list(record.why),
            "random_share": record.random_share,
            "verdict": verdict.verdict,
            "reason": verdict.reason,
            "p_pit": None if verdict.probabilities is None else verdict.probabilities["pit"],
            "model": f"{verdict.model.name} {verdict.model.version}",
            "model_sha256": verdict.model.sha256,
            "png": self.png,
        }


class Archive:
    """An archive of crops.

    Args:
        url: a folder, or a URL of fsspec: ``s3://bucket/crops``, ``memory://x``.

    Raises:
        DataError: the kind of store is unknown, or the store cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError, OSError) as error:
            raise DataError(f"{url}: {first_line(error)}; name a folder or a store that fsspec supports") from error

    def shards(self) -> list[str]:
        """Return the paths of the shards, sorted; none if the archive does not exist. Raises DataError."""
        try:
            if not self._fs.exists(self._root):
                return []
            return sorted(path for path in self._fs.find(self._root) if path.endswith(SUFFIX))
        except OSError as error:
            raise DataError(f"{self.url}: cannot be read: {first_line(error)}; name an archive") from error

    def known(self) -> tuple[set[str], set[str]]:
        """Return the hashes of all files in the archive, and their names on the boards. Raises DataError."""
        hashes, names = set[str](), set[str]()
        for path in self.shards():
            for batch in self._batches(path, ["sha256", "name"]):
                hashes.update(batch.column(0).to_pylist())
                names.update(batch.column(1).to_pylist())
        return hashes, names

    def read(self) -> Iterator[Archived]:
        """Yield every crop once, shard by shard.

        Raises:
            DataError: there are no crops, or a shard cannot be read.
            ImageError: a crop is damaged.
        """
        shards, seen = self.shards(), set[str]()
        if not shards:
            raise DataError(f"{self.url}: no crops (*{SUFFIX}) in it; fill it with `pitcore-tools pull`")
        for path in shards:
            for batch in self._batches(path, ["name", "png"]):
                for name, png in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    one = Archived.of(f"{path}: {name}", png)
                    if one.sha256 not in seen:
                        seen.add(one.sha256)
                        yield one

    def write(self, crops: Sequence[Archived]) -> str:
        """Write a shard and return its path. Raises DataError."""
        digest = hashlib.sha256("".join(sorted(crop.sha256 for crop in crops)).encode()).hexdigest()[:32]
        path = f"{self._root.rstrip('/')}/{digest}{SUFFIX}"
        temporary = f"{path}.part"  # does not end in SUFFIX, so readers ignore it
        table = pa.Table.from_pylist([crop.row() for crop in crops], SCHEMA)
        try:
            self._fs.makedirs(self._root, exist_ok=True)
            with self._fs.open(temporary, "wb") as file:
                pq.write_table(table, file, compression="zstd")
            self._fs.mv(temporary, path)
        except OSError as error:
            raise DataError(f"{self.url}: cannot be written: {first_line(error)}; name another archive") from error
        return path

    def _batches(self, path: str, columns: list[str]) -> Iterator[Any]:
        """Yield the rows of a shard in batches. Raises DataError."""
        try:
            with self._fs.open(path, "rb") as file:
                yield from pq.ParquetFile(file).iter_batches(BATCH_ROWS, columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{path}: is not a complete shard of an archive: {first_line(error)}; remove it, and pull again"
            ) from error
