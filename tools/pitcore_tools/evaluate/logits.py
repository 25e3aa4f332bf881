"""Reads and writes held-out margins as a small CSV, to check every figure in seconds without the crops."""

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
from pitcore_tools.tables import HASH_DIGITS, Row, count, crop_name, number, one_of, read_table

COMMITTED = Path(__file__).parent / "heldout_logits.csv"
COLUMNS = ("hash", "fold", "label", "float_margin", "int8_margin")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Margins of the float and the int8 net on crops on which neither was trained.

    A margin is the pit logit minus the log-sum-exp of the others, as the board computes it.

    Attributes:
        hashes: hashes of the crops, or their first 16 digits.
        folds: (N,) int64.
        labels: (N,) int64, 1 for a pit.
        float_margins: (N,) float64.
        int8_margins: (N,) float64 of the int8 net; NaN if the net has no int8 form.
    """

    hashes: list[str]
    folds: NDArray[np.int64]
    labels: NDArray[np.int64]
    float_margins: NDArray[np.float64]
    int8_margins: NDArray[np.float64]

    @property
    def has_int8(self) -> bool:
        """True if the net has an int8 form."""
        return not bool(np.isnan(self.int8_margins).any())

    @property
    def margins(self) -> NDArray[np.float64]:
        """(N,) margins of the shipped net: the int8 one if there is one."""
        return self.int8_margins if self.has_int8 else self.float_margins

    def where(self, chosen: NDArray[np.bool_]) -> HeldOut:
        """Return the chosen crops."""
        hashes = [name for name, keep in zip(self.hashes, chosen, strict=True) if keep]
        return HeldOut(
            hashes, self.folds[chosen], self.labels[chosen], self.float_margins[chosen], self.int8_margins[chosen]
        )

    @property
    def groups(self) -> NDArray[np.int64]:
        """(N,) groups for cross-fitting: the fold, or two halves by hash if all crops are of one fold."""
        if len(np.unique(self.folds)) > 1:
            return self.folds
        return np.array([int(name[8:16], 16) % 2 for name in self.hashes], np.int64)

    def of_fold(self, fold: int) -> HeldOut:
        """Return the crops of one fold."""
        return self.where(self.folds == fold)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(N,) probabilities of a pit by the shipped net, cross-fitted over ``groups``."""
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
    """Write the CSV, sorted by hash, with the first 16 digits of each hash.

    Raises:
        DataError: a margin is NaN or infinite.
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
    """Read the CSV.

    A picture that is twice in the data has two equal consecutive rows.

    Raises:
        DataError: the file cannot be read, or a row is wrong or repeated; the message names the line.
    """
    rows = read_table(path, COLUMNS, "pitcore-tools quantise")
    if not rows:
        raise DataError(f"{path}: has no rows; write it with `pitcore-tools quantise`")
    hashes, numbers, lines = [], [], dict[str, Row]()
    ships = rows[0].cells["int8_margin"] != ""
    for row in rows:
        name = row.value("hash", crop_name)
        _check_repeated(row, lines.get(name))
        hashes.append(name)
        lines[name] = row
        if (row.cells["int8_margin"] != "") is not ships:
            raise row.wrong("int8_margin is empty in some rows only; write the table again")
        numbers.append(
            (
                row.value("fold", count),
                int(row.value("label", one_of("0", "1"))),
                row.value("float_margin", number),
                row.value("int8_margin", number) if ships else math.nan,
            )
        )
    table = np.array(numbers, np.float64)
    counts = table[:, :2].astype(np.int64)
    return HeldOut(hashes, counts[:, 0], counts[:, 1], table[:, 2], table[:, 3])


def _check_repeated(row: Row, before: Row | None) -> None:
    """Raise DataError if an earlier row has the same crop, except for an equal row just before."""
    if before is not None and (before.cells != row.cells or before.line != row.line - 1):
        raise row.wrong(f"the same crop as line {before.line}; the table has crops twice: write it again")
