"""Tables as spreadsheets, editors and people leave them: each row is used, or the line that is wrong is named."""

from pathlib import Path

import pytest

from pitcore.errors import DataError
from pitcore_tools import experiments
from pitcore_tools.evaluate.logits import COMMITTED, read_logits
from pitcore_tools.train.dataset import read_crops, read_relabel
from pitcore_tools.train.loop import load_split
from tests.tools.conftest import TINY, changed

A, B, C = "0123456789abcdef", "123456789abcdef0", "23456789abcdef01"
RESULTS = Path(experiments.__file__).parent / "results"
HEAD = "hash,fold,label,float_margin,int8_margin\n"
TABLE = f"{HEAD}{A},0,0,-1.5,-1.25\n{B},0,1,2.5,2.25\n"


def logits_of(tmp_path, content):
    (tmp_path / "l.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_logits(tmp_path / "l.csv")


@pytest.mark.parametrize(
    "content",
    [
        TABLE,
        TABLE.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + TABLE.encode(),
        TABLE.replace("\n", "\n\n"),
        TABLE.rstrip("\n"),
        TABLE.replace("\n", ",seen\n"),
    ],
)
def test_a_table_is_read_whatever_ends_its_lines(tmp_path, content):
    found = logits_of(tmp_path, content)
    assert (found.hashes, found.labels.tolist(), found.folds.tolist()) == ([A, B], [0, 1], [0, 0])
    assert (found.float_margins.tolist(), found.int8_margins.tolist()) == ([-1.5, 2.5], [-1.25, 2.25])


BAD = {
    "utf-16": (TABLE.encode("utf-16"), "not UTF-8 text, but UTF-16; save it as UTF-8"),
    "latin-1": (TABLE.encode() + b"f\xfcr,0,0,0,0\n", "not UTF-8 text at byte"),
    "semicolons": (TABLE.replace(",", ";"), "line 1: cells are separated by ';'; save it with commas"),
    "decimal commas": (TABLE.replace(".", ","), "line 2: has 7 cells, the header 5; write 0.5 and not 0,5"),
    "quoted decimal comma": (
        TABLE.replace("2.5", '"2,5"'),
        r"line 3: float_margin '2,5' has a decimal comma",
    ),
    "short row": (f"{TABLE}{C},0,1\n", "line 4: has 3 cells, the header 5"),
    "no rows": (HEAD, "has no rows"),
    "nothing": ("", "line 1: no column hash, fold, label"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0", "not UTF-8 text at byte 0"),
    "label 2": (TABLE.replace("0,1,2.5", "0,2,2.5"), "line 3: label '2' is not one of 0, 1"),
    "label 0.9": (TABLE.replace("0,1,2.5", "0,0.9,2.5"), "line 3: label '0.9' is not one of 0, 1"),
    "label -1": (TABLE.replace("0,0,-1.5", "0,-1,-1.5"), "line 2: label '-1' is not one of 0, 1"),
    "fold": (TABLE.replace("0,1,2.5", "1e30,1,2.5"), "line 3: fold '1e30' is not a whole number from 0 to 9999"),
    "nan": (TABLE.replace("2.5", "nan"), "line 3: float_margin 'nan' is not finite"),
    "infinite": (TABLE.replace("2.5", "1e999"), "line 3: float_margin '1e999' is not finite"),
    "a word": (TABLE.replace("2.5", "high"), "line 3: float_margin 'high' is not a number"),
    "upper case": (
        TABLE.replace(A, A.upper()),
        "line 2: hash '0123456789ABCDEF' is not 16 to 64 digits",
    ),
    "cut hash": (TABLE.replace(A, A[:9]), "line 2: hash '012345678' is not 16 to 64"),
    "excel's hash": (TABLE.replace(A, "1.23E+15"), r"line 2: hash '1\.23E\+15' is not 16 to 64"),
    "twice": (TABLE + TABLE.removeprefix(HEAD), "line 4: the same crop as line 2"),
    "twice with its header": (TABLE + TABLE, "line 4: hash 'hash' is not 16 to 64"),
    "twice, contradicting": (f"{TABLE}{B},0,0,2.5,2.25\n", "line 4: the same crop as line 3"),
    "int8 in some rows": (f"{TABLE}{C},0,1,3.0,\n", "line 4: int8_margin is empty in some rows only"),
    "column twice": (TABLE.replace("fold,label", "fold,label,label"), "line 1: column label is there twice"),
    "huge cell": (f"{TABLE}{'a' * 200_000},0,0,0,0\n", "line 4: field larger than field limit"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_row_that_cannot_be_used_is_named_with_its_line(tmp_path, what):
    content, said = BAD[what]
    with pytest.raises(DataError, match=rf"l\.csv: {said}") as caught:
        logits_of(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_a_picture_that_lies_twice_in_the_data_has_two_equal_rows(tmp_path):
    assert logits_of(tmp_path, f"{TABLE}{B},0,1,2.5,2.25\n").hashes == [A, B, B]


def test_every_committed_table_is_read():
    tables = [COMMITTED, *sorted(RESULTS.glob("*.csv"))]
    assert len(tables) > 20
    assert all(len(read_logits(path).hashes) >= 699 for path in tables)  # the smallest of five folds


def test_a_relabel_row_that_matches_no_crop_is_named_and_nothing_is_trained(procedural_crops, tmp_path):
    names = sorted(crop.hash for crop in read_crops(procedural_crops))
    path = tmp_path / "rel.csv"
    recipe = changed(TINY, relabel=str(path))
    path.write_text(f"hash,label\n{names[0]},drop\n{'0' * 64},drop\n{names[1][:16]},pit\n")
    with pytest.raises(DataError, match=r"rel\.csv: 2 of 3 rows used; no crop has the hash of line 3; take out"):
        load_split(recipe, procedural_crops)
    path.write_text(f"hash,label\n{names[0]},drop\n{names[1][:16]},pit\n")
    load_split(recipe, procedural_crops)


def test_a_relabel_file_without_a_suggestion_changes_nothing(tmp_path):
    (tmp_path / "rel.csv").write_text("hash,label\n")
    assert read_relabel(tmp_path / "rel.csv", ["clean", "pit"], [A]) == {}


def test_a_relabel_file_that_contradicts_itself_is_refused(tmp_path):
    (tmp_path / "rel.csv").write_text(f"hash,label\n{A},pit\n{B},pit\n{A},pit\n{B}{C},drop\n")
    with pytest.raises(DataError, match=rf"line 5: hash {B} has another label in line 3; keep one"):
        read_relabel(tmp_path / "rel.csv", ["clean", "pit"])
