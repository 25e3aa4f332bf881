"""Writes the files of an audit, and checks the folder for them."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from operator import methodcaller
from pathlib import Path

from PIL import Image

from pitcore.camera.crops import LABELS
from pitcore.durable import replace_file
from pitcore.errors import DataError
from pitcore_tools.audit import report
from pitcore_tools.audit.findings import Findings, Suggestion, suggestions
from pitcore_tools.audit.sheet import PER_SHEET, Suspect, draw_sheets, sheet_name

FINDINGS, TABLE, RELABEL = "findings.json", "findings.csv", "relabel.csv"
RELABEL_COLUMNS = ("hash", "label", "was", "p_pit", "reason", "sheet", "seen_by")


def claim_folder(folder: Path) -> None:
    """Create the folder for an audit's files.

    Raises:
        DataError: the folder is not empty (it may have a person's decisions on an earlier audit), it cannot be created,
            or it is in a git work tree that does not ignore it, so that crops could be committed.
    """
    if (tree := _work_tree(folder)) is not None and not _ignored(folder, tree):
        raise DataError(
            f"{folder}: is in the git work tree {tree}, and pictures of crops must never be committed; "
            "name a folder outside of it, or one that its .gitignore names"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = next(folder.iterdir(), None)
    except OSError as error:
        raise DataError(f"{folder}: cannot be created: {error.strerror}; name another --out") from error
    if held is not None:
        raise DataError(f"{folder}: already contains {held.name}, maybe with your decisions; name a new or empty --out")


def write(found: Findings, data: Path, folder: Path) -> list[str]:
    """Write an audit's files and return their names.

    Raises:
        DataError: one cannot be written.
    """
    details = [dict(zip(report.COLUMNS, row, strict=True)) for row in report.rows(found, data)]
    suggested = suggestions(found)
    contents = {
        FINDINGS: json.dumps({**report.summary(found), "findings": details}, indent=1).encode(),
        TABLE: _csv(report.COLUMNS, (row.values() for row in details)),
        RELABEL: _csv(RELABEL_COLUMNS, _relabel_rows(suggested)),
    }
    contents |= {sheet_name(i): _png(sheet) for i, sheet in enumerate(draw_sheets(_drawn(found, suggested)), start=1)}
    try:
        for name, content in contents.items():
            replace_file(folder / name, methodcaller("write", content))
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}; make room, or name another --out") from error
    return list(contents)


def _drawn(found: Findings, suggested: Sequence[Suggestion]) -> list[Suspect]:
    crops = found.by_hash
    return [
        Suspect(crops[row.hash].pixels, row.hash, LABELS[row.was], row.p_pit)
        for row in suggested
        if row.was is not None and row.p_pit is not None
    ]


def _relabel_rows(suggested: Sequence[Suggestion]) -> Iterable[Sequence[str]]:
    """Yield the rows of the relabel file: suspects first, in the order of the sheets. ``seen_by`` is for people."""
    for index, row in enumerate(suggested):
        suspect = row.was is not None and row.p_pit is not None
        yield (
            row.hash,
            "drop" if row.label is None else LABELS[row.label],
            "" if row.was is None else LABELS[row.was],
            "" if row.p_pit is None else f"{row.p_pit:.4f}",
            row.reason,
            f"{sheet_name(index // PER_SHEET + 1)} number {index + 1}" if suspect else "",
            "",
        )


def _csv(columns: Sequence[str], rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def _png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def _work_tree(folder: Path) -> Path | None:
    """Return the git work tree that contains a folder, which need not exist; follows links. None if there is none."""
    place = folder.resolve()
    return next((parent for parent in (place, *place.parents) if (parent / ".git").exists()), None)


def _ignored(folder: Path, tree: Path) -> bool:
    """Return True if git is installed and ignores pictures in this folder."""
    git = shutil.which("git")
    if git is None:
        return False
    asked = folder.resolve() / sheet_name(1)
    command = [git, "-C", str(tree), "check-ignore", "--quiet", "--", str(asked)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603  no shell, fixed words
