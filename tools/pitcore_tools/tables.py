"""Reads CSV tables that people edit. Every row is used, or an error names the wrong line.

Spreadsheets change separators, decimal points, and the case and length of long numbers. The reader does not guess the
original; it raises an error with the line and the fix.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pitcore.errors import DataError, first_line
from pitcore.plain_text import decode_text

HASH_DIGITS = 16  # digits of a crop's hash that identify it
_HASH = re.compile(r"[0-9a-f]{16,64}")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        path: path of the table.
        line: line number in the file; the header is line 1.
        cells: texts of the cells, by the name of the column.
    """

    path: Path
    line: int
    cells: dict[str, str]

    def value(self, column: str, read: Callable[[str], Read]) -> Read:
        """Return a cell, converted by ``read``. Raises DataError if ``read`` raises ValueError."""
        try:
            return read(self.cells[column])
        except ValueError as error:
            raise self.wrong(f"{column} {error}") from error

    def wrong(self, what: str) -> DataError:
        """Return an error that names this row."""
        return DataError(f"{self.path}: line {self.line}: {what}")


def read_table(path: Path, columns: Sequence[str], source: str) -> list[Row]:
    """Read a CSV file: UTF-8, commas, a header with at least these columns.

    Args:
        path: path of the table; a byte-order mark is ignored.
        columns: columns that it must have. It may have others.
        source: command that writes such a table, for messages.

    Returns:
        The rows, each with as many cells as the header; the list may be empty.

    Raises:
        DataError: the file cannot be read, or a row does not fit the header.
    """
    try:
        text = decode_text(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; write it with `{source}`") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    try:
        header = next(reader, [])
        _check_header(path, header, columns, source)
        for cells in reader:
            if not cells:
                continue  # an empty line
            row = Row(path, reader.line_num, dict(zip(header, cells, strict=False)))
            if len(cells) != len(header):
                comma = "; write 0.5 and not 0,5" if len(cells) > len(header) else ""
                raise row.wrong(f"has {len(cells)} cells, the header {len(header)}{comma}")
            rows.append(row)
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {first_line(error)}; write it with `{source}`") from error
    return rows


def _check_header(path: Path, header: list[str], columns: Sequence[str], source: str) -> None:
    missing = [name for name in columns if name not in header]
    if missing:
        for mark in (";", "\t"):
            if any(mark in cell for cell in header):
                raise DataError(f"{path}: line 1: cells are separated by {mark!r}; save it with commas")
        raise DataError(
            f"{path}: line 1: no column {', '.join(missing)}; write it with `{source}`, columns: {', '.join(columns)}"
        )
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise DataError(f"{path}: line 1: column {', '.join(twice)} is there twice; keep one")


def crop_name(text: str) -> str:
    """Return the first digits of a crop's hash. Raises ValueError if it is cut or changed."""
    if not _HASH.fullmatch(text):
        raise ValueError(
            f"{_shown(text)} is not {HASH_DIGITS} to 64 digits of 0-9 and a-f; spreadsheets change such cells: "
            "import the column as text"
        )
    return text[:HASH_DIGITS]


def number(text: str) -> float:
    """Return a finite number. Raises ValueError."""
    if _DECIMAL_COMMA.fullmatch(text):
        raise ValueError(f"{_shown(text)} has a decimal comma; write {text.replace(',', '.')}")
    try:
        value = float(text)
    except ValueError as error:
        raise ValueError(f"{_shown(text)} is not a number") from error
    if not math.isfinite(value):
        raise ValueError(f"{_shown(text)} is not finite")
    return value


def one_of(*allowed: str) -> Callable[[str], str]:
    """Return a function that returns a cell's text if it is one of ``allowed``, and raises ValueError otherwise."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"{_shown(text)} is not one of {', '.join(allowed)}")
        return text

    return read


def count(text: str) -> int:
    """Return a whole number from 0 to 9999. Raises ValueError."""
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII):
        raise ValueError(f"{_shown(text)} is not a whole number from 0 to 9999")
    return int(text)


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 40 else text[:40] + "...")
