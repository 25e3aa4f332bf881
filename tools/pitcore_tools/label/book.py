"""Stores the labels that people gave to crops: a table for each person, and the joined table that training reads.

Every label is on the disk before the page gets its answer. Crops on which people disagree are left out of training
until somebody decides.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pitcore.durable import replace_file
from pitcore.errors import DataError
from pitcore.wall_clock import utc_now
from pitcore_tools.tables import HASH_DIGITS, crop_name, one_of, read_table

SAID = ("clean", "pit", "unsure", "unusable")
FOR_TRAINING = {"clean": "clean", "pit": "pit", "unsure": "drop", "unusable": "drop"}
DECIDER = "decision"  # the name under which disagreements are decided
JOINED = "labels.csv"
COLUMNS = ("hash", "label", "said", "by", "at")
PERSON = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement on the crops that at least two people labelled.

    Attributes:
        crops: number of these crops.
        agreed: number of crops with equal labels.
        kappa: Cohen's kappa of the two people with most crops in common; None if it is undefined.
    """

    crops: int
    agreed: int
    kappa: float | None


class Book:
    """Reads and writes the tables of a folder.

    Args:
        folder: folder of the tables; created if it is missing. Existing tables are continued.
        crops: hashes of the crops that may be labelled.

    Raises:
        DataError: a table cannot be read.
    """

    def __init__(self, folder: Path, crops: Collection[str]) -> None:
        self._folder = folder
        self._by_name = {crop[:HASH_DIGITS]: crop for crop in crops}
        self._said: dict[str, dict[str, tuple[str, str]]] = {}  # by person and crop, in order: (label, time)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tables = sorted(folder.glob("*.csv"))
        except OSError as error:
            raise DataError(f"{folder}: cannot be used: {error.strerror}; name another --out") from error
        for path in tables:
            if path.name != JOINED:
                self._said[person(path.stem)] = self._read(path)

    def said(self, by: str) -> dict[str, str]:
        """Return a person's labels by crop, in the order in which they were given."""
        return {crop: said for crop, (said, _) in self._said.get(person(by), {}).items()}

    def say(self, by: str, crop: str, said: str) -> None:
        """Store a person's label of a crop. Raises DataError."""
        self.say_all(by, [(crop, said)])

    def say_all(self, by: str, words: Iterable[tuple[str, str]]) -> None:
        """Store many labels of a person, all or none; for scripts. Raises DataError."""
        by = person(by)
        table = dict(self._said.get(by, {}))
        for crop, said in words:
            if self._by_name.get(crop[:HASH_DIGITS]) != crop:
                raise DataError(f"{crop[:64]}: no such crop")
            if said not in SAID:
                raise DataError(f"{said[:64]}: not one of {', '.join(SAID)}")
            table.pop(crop, None)  # so that the last label is the last row
            table[crop] = (said, utc_now())
        before = self._said.get(by, {})
        self._said[by] = table
        self._keep(by, before)

    def undo(self, by: str) -> str | None:
        """Remove the last label of a person, and return its crop; None if there is none. Raises DataError."""
        by = person(by)
        table = self._said.get(by, {})
        if not table:
            return None
        before = dict(table)
        crop, _ = table.popitem()
        self._keep(by, before)
        return crop

    def differing(self) -> dict[str, dict[str, str]]:
        """Return the crops with different labels and no decision, and each person's label."""
        decided = self.said(DECIDER)
        return {
            crop: said for crop, said in self._by_crop().items() if len(set(said.values())) > 1 and crop not in decided
        }

    def agreement(self) -> Agreement:
        """Return the agreement of the labels."""
        both = {crop: said for crop, said in self._by_crop().items() if len(said) > 1}
        agreed = sum(len(set(said.values())) == 1 for said in both.values())
        pairs = Counter((one, other) for said in both.values() for one in said for other in said if one < other)
        kappa = None
        if pairs:
            (one, other), _ = pairs.most_common(1)[0]
            kappa = kappa_of([(said[one], said[other]) for said in both.values() if one in said and other in said])
        return Agreement(len(both), agreed, kappa)

    def _by_crop(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for by in sorted(self._said):
            if by != DECIDER:
                for crop, (said, _) in self._said[by].items():
                    found.setdefault(crop, {})[by] = said
        return found

    def _joined(self) -> Iterable[Sequence[str]]:
        """Yield the rows of the joined table. Crops without an agreed or decided label get ``drop``."""
        decided, now = self.said(DECIDER), utc_now()
        for crop, said in sorted(self._by_crop().items()):
            words = {decided[crop]} if crop in decided else set(said.values())
            word = words.pop() if len(words) == 1 else "differ"
            yield crop, FOR_TRAINING.get(word, "drop"), word, "+".join(said), now

    def _keep(self, by: str, before: dict[str, tuple[str, str]]) -> None:
        """Write a person's table and the joined table. If that fails, restore ``before`` and raise DataError."""
        rows = ((crop, FOR_TRAINING[said], said, by, at) for crop, (said, at) in self._said[by].items())
        try:
            _write(self._folder / f"{by}.csv", rows)
            _write(self._folder / JOINED, self._joined())
        except OSError as error:
            self._said[by] = before
            raise DataError(f"{self._folder}: cannot be written: {error.strerror}; free some space") from error

    def _read(self, path: Path) -> dict[str, tuple[str, str]]:
        """Read a person's table. Rows of crops that are not in this source are kept. Raises DataError."""
        found: dict[str, tuple[str, str]] = {}
        for row in read_table(path, COLUMNS, "pitcore-tools label"):
            name, said = row.value("hash", crop_name), row.value("said", one_of(*SAID))
            found[self._by_name.get(name, row.cells["hash"])] = (said, row.cells["at"])
        return found


def person(name: str) -> str:
    """Return a person's name if it can be the name of a file. Raises DataError."""
    if not PERSON.fullmatch(name) or name == Path(JOINED).stem:
        raise DataError(f"{name[:40]!a}: not a valid name; use up to 32 of a-z, 0-9, - and _")
    return name


def kappa_of(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Return Cohen's kappa; None if both people used only one and the same label.

    Source: J. Cohen, Educational and Psychological Measurement 20, 1960, 37-46.

    Args:
        pairs: the labels of two people for each crop.
    """
    count = len(pairs)
    observed = sum(one == other for one, other in pairs) / count
    ones, others = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    expected = sum(ones[word] * others[word] for word in ones) / count**2
    return None if expected == 1.0 else (observed - expected) / (1.0 - expected)


def _write(path: Path, rows: Iterable[Sequence[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    replace_file(path, lambda file: file.write(text.getvalue().encode()))
