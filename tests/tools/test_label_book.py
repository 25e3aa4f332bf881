"""Tests that labels of people are stored, can be undone, and are compared."""

import csv

import pytest

from pitcore.errors import DataError
from pitcore_tools.label.book import Book, kappa_of


def test_a_label_book_is_continued_and_the_last_label_counts(tmp_path):
    crops = [f"{number:064x}" for number in range(1 << 60, (1 << 60) + 3)]
    crops = [crop[::-1] for crop in crops]
    book = Book(tmp_path, crops)
    book.say("anna", crops[0], "clean")
    book.say("anna", crops[1], "pit")
    book.say("anna", crops[0], "pit")
    again = Book(tmp_path, crops)
    assert again.said("anna") == {crops[1]: "pit", crops[0]: "pit"}
    assert again.undo("anna") == crops[0]
    assert Book(tmp_path, crops).said("anna") == {crops[1]: "pit"}
    rows = list(csv.DictReader((tmp_path / "labels.csv").read_text().splitlines()))
    assert [(row["hash"], row["label"]) for row in rows] == [(crops[1], "pit")]


@pytest.mark.parametrize("name", ["", "../x", "a/b", "Anna", "labels", "a" * 33, "-a", "ä"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="not a valid name"):
        Book(tmp_path, ["ab" * 32]).say(name, "ab" * 32, "pit")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_crop_and_an_unknown_label_are_refused(tmp_path):
    book = Book(tmp_path, ["ab" * 32])
    with pytest.raises(DataError, match="no such crop"):
        book.say("anna", "cd" * 32, "pit")
    with pytest.raises(DataError, match="not one of"):
        book.say("anna", "ab" * 32, "stone")


def test_kappa_has_the_published_value():
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert kappa_of(pairs) == pytest.approx(0.4)
    assert kappa_of([("yes", "yes")] * 3) is None
