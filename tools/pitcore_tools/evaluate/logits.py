"""Held-out logits as a small CSV, so that every figure can be checked in seconds without the crops."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pitcore.durable import replace_file
from pitcore.errors import DataError

COMMITTED = Path(__file__).parent / "heldout_logits.csv"
COLUMNS = ("hash", "fold", "label", "float_clean", "float_pit", "int8_clean", "int8_pit")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Logits of the float and the int8 net on crops that neither was trained on.

    Attributes:
        hashes: of the crops.
        folds, labels: (N,) int64; label 1 is a pit.
        float_logits, int8_logits: (N, 2) clean, pit.
    """

    hashes: list[str]
    folds: NDArray[np.int64]
    labels: NDArray[np.int64]
    float_logits: NDArray[np.float64]
    int8_logits: NDArray[np.float64]

    @property
    def float_margins(self) -> NDArray[np.float64]:
        """(N,) pit logit minus clean logit of the float net."""
        return np.asarray(self.float_logits[:, 1] - self.float_logits[:, 0])

    @property
    def int8_margins(self) -> NDArray[np.float64]:
        """(N,) pit logit minus clean logit of the int8 net."""
        return np.asarray(self.int8_logits[:, 1] - self.int8_logits[:, 0])

    @property
    def half(self) -> NDArray[np.bool_]:
        """(N,) one half of the crops, chosen by hash, for cross-fitting."""
        return np.array([int(name[8:16], 16) % 2 == 0 for name in self.hashes], np.bool_)


def write_logits(path: Path, held_out: HeldOut) -> None:
    """Write the CSV, sorted by hash."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for index in np.argsort(held_out.hashes, kind="stable"):
        numbers = (*held_out.float_logits[index], *held_out.int8_logits[index])
        row = [held_out.hashes[index], held_out.folds[index], held_out.labels[index]]
        writer.writerow([*row, *(f"{value:.5f}" for value in numbers)])
    replace_file(path, lambda file: file.write(text.getvalue().encode()))


def read_logits(path: Path) -> HeldOut:
    """Read the CSV. Raises DataError."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; write it with `pitcore-tools quantise`") from error
    try:
        if not rows:
            raise ValueError("no rows")  # noqa: TRY301  one message for every way the file can be wrong
        numbers = np.array([[float(row[name]) for name in COLUMNS[1:]] for row in rows])
        if not np.isfinite(numbers).all():
            raise ValueError("a number is not finite")  # noqa: TRY301
        hashes = [row["hash"] for row in rows]
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a table of held-out logits ({error}); columns: {', '.join(COLUMNS)}") from error
    counts = numbers[:, :2].astype(np.int64)
    return HeldOut(hashes, counts[:, 0], counts[:, 1], numbers[:, 2:4], numbers[:, 4:6])
