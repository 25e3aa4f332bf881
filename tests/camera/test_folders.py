"""Tests that the walk through a folder of pictures reports skipped files."""

import os
import tempfile
from pathlib import Path

import pytest

from pitcore.camera.folders import LINK, below, walk

NOBODY = 65534


@pytest.fixture
def folder():
    """A folder that every user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made)
        path.chmod(0o755)
        yield path
        for below in path.iterdir():
            below.chmod(0o755)


def walked(folder):
    """Walk as a user without permission for some folders."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        return walk(folder)
    finally:
        if is_root:
            os.seteuid(0)


def test_a_subfolder_that_cannot_be_read_is_named_and_the_rest_is_found(folder):
    (folder / "open.png").write_bytes(b"")
    (folder / "closed").mkdir(mode=0o000)
    found = walked(folder)
    assert [path.name for path in found.pictures] == ["open.png"]
    assert str(found) == "1 skipped: closed (folder cannot be read: Permission denied)"


def test_a_name_with_a_newline_is_escaped_where_it_is_named(folder):
    (folder / "a\n2 passed over.jpg").write_bytes(b"")
    (told,) = walked(folder).passed_over
    assert "\n" not in told
    assert told.endswith("(not a PNG)")


def test_a_walk_gives_everything_once_and_says_what_it_did_not_enter(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.pem").write_bytes(b"")
    (tmp_path / "to").symlink_to(tmp_path / "a")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    found = {entry.path.relative_to(tmp_path).as_posix(): entry for entry in below(tmp_path)}
    assert list(found) == ["a", "a/b", "a/b/x.pem", "gone", "pipe", "to"]
    assert [name for name, entry in found.items() if entry.is_file] == ["a/b/x.pem"]
    assert {name: entry.passed_over for name, entry in found.items() if entry.passed_over} == {
        "gone": "No such file or directory",
        "to": LINK,
    }
