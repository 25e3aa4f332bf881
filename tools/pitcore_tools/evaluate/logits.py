"""Held-out margins as a small CSV, so that every figure can be checked in seconds without the crops."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pitcore.durable import replace_file
from pitcore.errors import DataError
from pitcore_tools.evaluate import figures
from pitcore_tools.networks.finite import refuse_not_finite
from pitcore_tools.train.dataset import HASH_DIGITS

COMMITTED = Path(__file__).parent / "heldout_logits.csv"
COLUMNS = ("hash", "fold", "label", "float_margin", "int8_margin")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Margins of the float and the int8 net on crops that neither was trained on.

    A margin is the pit logit minus the log-sum-exp of the others, as the board computes it.

    Attributes:
        hashes: of the crops, or their first digits.
        folds: (N,) int64.
        labels: (N,) int64, 1 for a pit.
        float_margins: (N,) float64.
        int8_margins: the same of the int8 net; NaN where the net has no int8 form.
    """

    hashes: list[str]
    folds: NDArray[np.int64]
    labels: NDArray[np.int64]
    float_margins: NDArray[np.float64]
    int8_margins: NDArray[np.float64]

    @property
    def has_int8(self) -> bool:
        """Whether the net has an int8 form."""
        return not bool(np.isnan(self.int8_margins).any())

    @property
    def margins(self) -> NDArray[np.float64]:
        """(N,) of the net that ships: the int8 one if there is one."""
        return self.int8_margins if self.has_int8 else self.float_margins

    def where(self, chosen: NDArray[np.bool_]) -> HeldOut:
        """Return the chosen crops."""
        hashes = [name for name, keep in zip(self.hashes, chosen, strict=True) if keep]
        return HeldOut(
            hashes, self.folds[chosen], self.labels[chosen], self.float_margins[chosen], self.int8_margins[chosen]
        )

    @property
    def groups(self) -> NDArray[np.int64]:
        """(N,) for cross-fitting: the fold, or one of two halves by hash where all crops are of one fold."""
        if len(np.unique(self.folds)) > 1:
            return self.folds
        return np.array([int(name[8:16], 16) % 2 for name in self.hashes], np.int64)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(N,) of a pit, by the net that ships; no crop's calibration was fitted with its own group."""
        return figures.cross_fitted(self.labels, self.margins, self.groups)


def merged(parts: Sequence[HeldOut]) -> HeldOut:
    """Join the held-out crops of several folds."""
    return HeldOut(
        [name for part in parts for name in part.hashes],
        np.concatenate([part.folds for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.float_margins for part in parts]),
        np.concatenate([part.int8_margins for part in parts]),
    )


def write_logits(path: Path, held_out: HeldOut) -> None:
    """Write the CSV, sorted by hash; of a hash its first digits, which are enough to name a crop.

    Raises:
        DataError: a margin is NaN or infinite: the table could not be read again.
    """
    ships = [("int8 margins", held_out.int8_margins)] if not np.isnan(held_out.int8_margins).all() else []
    refuse_not_finite(path, [("float margins", held_out.float_margins), *ships], "the network gives no numbers")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for index in np.argsort(held_out.hashes, kind="stable"):
        numbers = held_out.float_margins[index], held_out.int8_margins[index]
        row = [held_out.hashes[index][:HASH_DIGITS], held_out.folds[index], held_out.labels[index]]
        writer.writerow([*row, *("" if np.isnan(value) else f"{value:.5f}" for value in numbers)])
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
        numbers = np.array([[_number(row[name]) for name in COLUMNS[1:]] for row in rows])
        if not np.isfinite(numbers[:, :3]).all() or np.isnan(numbers[:, 3]).any() != np.isnan(numbers[:, 3]).all():
            raise ValueError("a number is missing")  # noqa: TRY301
        hashes = [row["hash"] for row in rows]
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a table of held-out logits ({error}); columns: {', '.join(COLUMNS)}") from error
    counts = numbers[:, :2].astype(np.int64)
    return HeldOut(hashes, counts[:, 0], counts[:, 1], numbers[:, 2], numbers[:, 3])


def _number(text: str) -> float:
    """Return a finite number, or NaN for nothing."""
    if text == "":
        return math.nan
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is not finite")
    return value
