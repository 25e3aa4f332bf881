"""Judges pieces of an archive; the same code runs on the driver, on other cores and on other machines."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from pitcore.cli.classify import json_line
from pitcore.errors import DataError
from pitcore.loop.classifier import Classifier, Picture
from pitcore.model_card import BUNDLE_FILES, Bundle, load_bundle
from pitcore_tools.rescore.pieces import Piece, read_piece


class Judged(msgspec.Struct, frozen=True):
    """The result of one crop.

    Attributes:
        line: the line that `pitcore classify --json` writes at the point ``strict``.
        p_pit: the candidate's probability of a pit; None if the crop could not be judged.
        bad: why it could not be judged; else None.
        sha256, board, at, verdict, reason: the archive's columns: hash of the file, and the board's verdict.
        before: the board's probability of a pit.
    """

    line: str
    p_pit: float | None
    bad: str | None = None
    sha256: str | None = None
    board: str | None = None
    at: str | None = None
    verdict: str | None = None
    reason: str | None = None
    before: float | None = None


class Result(msgspec.Struct, frozen=True):
    """The result of a piece; ``node`` is the machine that judged it, ``bad`` why the piece could not be read."""

    id: str
    node: str
    crops: list[Judged]
    bad: str | None = None


def bundle_content(bundle: Bundle) -> dict[str, bytes]:
    """Return the files of a bundle by name, because the machines of a cluster have no copy of it."""
    return {name: (bundle.directory / name).read_bytes() for name in ("card.json", *BUNDLE_FILES)}


class Judge:
    """Holds the model on one core.

    Args:
        content: files of the bundle, by name.
    """

    def __init__(self, content: dict[str, bytes]) -> None:
        with tempfile.TemporaryDirectory(prefix="pitcore-rescore-") as place:
            for name, raw in content.items():
                (Path(place) / name).write_bytes(raw)
            bundle = load_bundle(Path(place))
            self._classifier, self._label = Classifier(bundle), bundle.label

    def judge(self, piece: Piece, node: str) -> Result:
        """Judge a piece on the machine ``node``."""
        try:
            records = list(read_piece(piece))
        except DataError as error:
            return Result(piece.id, node, [], str(error))
        pictures = [Picture(record.name, record.png) for record in records]
        crops = []
        for record, verdict in zip(records, self._classifier.classify_pictures(pictures), strict=True):
            stored = record.stored
            crops.append(
                Judged(
                    line=json_line(verdict, self._label),
                    p_pit=verdict.p_pit,
                    bad=verdict.error,
                    sha256=stored.get("sha256"),
                    board=stored.get("board"),
                    at=stored.get("at"),
                    verdict=stored.get("verdict"),
                    reason=stored.get("reason"),
                    before=stored.get("p_pit"),
                )
            )
        return Result(piece.id, node, crops)
