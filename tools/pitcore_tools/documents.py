"""Formats Markdown tables, and writes them to the marked places in documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pitcore.durable import replace_file
from pitcore.errors import DataError, first_line

OPEN, CLOSE = "<!-- table: {} -->", "<!-- end -->"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def fill(path: Path, tables: Mapping[str, Callable[[], str]]) -> None:
    """Write current tables into a file. Raises DataError if it cannot be read, or as ``filled``."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {first_line(error)}; name a Markdown file") from error
    replaced = filled(text, tables)
    replace_file(path, lambda file: file.write(replaced.encode()))


def filled(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """Replace the tables in a document, each between ``<!-- table: NAME -->`` and ``<!-- end -->``.

    Args:
        text: the document; it need not have a place for every table.
        tables: functions that return the tables, by name.

    Raises:
        DataError: the document has no place for any table, or a place without an end.
    """
    places = [name for name in tables if OPEN.format(name) in text]
    if not places:
        raise DataError(f"the document has no {OPEN.format(next(iter(tables)))} with {CLOSE} after it; add both")
    for name in places:
        start = text.find(OPEN.format(name)) + len(OPEN.format(name))
        end = text.find(CLOSE, start)
        if end < 0:
            raise DataError(f"the table {name} has no {CLOSE} after it; add one")
        text = f"{text[:start]}\n{tables[name]()}\n{text[end:]}"
    return text
