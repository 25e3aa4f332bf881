import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pitcore.cli.classify import find_pictures
from pitcore.errors import ImageError
from pitcore.loop.classifier import Classifier
from pitcore.model_card import load_bundle
from tests.cli.program import run_pitcore
from tests.conftest import tiny_network, write_tiny_bundle


def write_png(path, pixels, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels, mode).save(path)


def crop(level, size=64):
    """A crop whose top plane is ``level`` everywhere, so that the tiny network's mean is too."""
    rgb = np.zeros((size, size, 3), np.uint8)
    rgb[..., 0], rgb[..., 2] = level, 40
    return rgb


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "crops"
    write_png(place / "b.png", crop(80))
    write_png(place / "a" / "z.png", crop(120))
    write_png(place / "a" / "m.PNG", crop(101))
    (place / "notes.txt").write_text("not a picture")
    return place


def test_classify_prints_the_documented_json(folder, tiny_bundle):
    done = run_pitcore("classify", f"{folder}/", "--json", "--bundle", tiny_bundle)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [list(line) for line in lines] == [["path", "verdict", "code", "p_pit", "model"]] * 3
    assert [line["path"] for line in lines] == [f"{folder}/a/m.PNG", f"{folder}/a/z.png", f"{folder}/b.png"]
    assert [(line["verdict"], line["code"]) for line in lines] == [("maybe", 5), ("pit", 2), ("clean", 1)]
    assert [line["p_pit"] for line in lines] == [round(1 / (1 + np.exp(-m)), 6) for m in (0.25, 5.0, -5.0)]
    assert {line["model"] for line in lines} == {"tiny@1.2.3"}


def test_the_message_for_a_recording_names_pitcore_replay(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ImageError, match="this is a recording, not a folder of crops; `pitcore replay DIR` judges it"):
        find_pictures(str(tmp_path))


def test_the_message_for_an_unreadable_folder_says_that_it_cannot_be_read():
    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as made:  # every user may enter its parent, unlike that of pytest's folders
        Path(made).chmod(0o000)
        if is_root:
            os.seteuid(65534)
        try:
            with pytest.raises(ImageError, match="cannot be read: Permission denied; name a folder that this user may"):
                find_pictures(made)
        finally:
            if is_root:
                os.seteuid(0)
            Path(made).chmod(0o700)


def test_a_bad_picture_is_a_line_and_the_rest_go_on(folder, tiny_bundle):
    (folder / "a" / "n.png").write_bytes((folder / "b.png").read_bytes()[:60])
    write_png(folder / "a" / "o.png", np.full((64, 64), 9, np.uint8))
    write_png(folder / "a" / "p.png", np.full((64, 64, 4), 9, np.uint8))
    write_png(folder / "a" / "q.png", np.zeros((64, 64, 3), np.uint8))
    write_png(folder / "a" / "r.png", np.full((64, 64, 3), 9, np.uint8))
    write_png(folder / "a" / "s.png", crop(9, size=600))
    done = run_pitcore("classify", folder, "--json", "--bundle", tiny_bundle)
    assert done.returncode == 2
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    errors = {Path(line["path"]).name: line["error"] for line in lines if "error" in line}
    assert [list(line) for line in lines if "error" in line] == [["path", "error"]] * 6
    assert sorted(errors) == ["n.png", "o.png", "p.png", "q.png", "r.png", "s.png"]
    assert len(lines) == 9
    assert done.stderr.count("\n") == 1
    assert "6 of 9 pictures could not be judged" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("what", ["nowhere", "empty"])
def test_nothing_to_classify_is_one_clear_line(tmp_path, tiny_bundle, what):
    if what == "empty":
        (tmp_path / what).mkdir()
    done = run_pitcore("classify", tmp_path / what, "--bundle", tiny_bundle)
    assert done.returncode == 2
    assert done.stderr.startswith("pitcore: ")
    assert done.stderr.count("\n") == 1


def test_classify_prints_text_for_people(folder, tiny_bundle):
    done = run_pitcore("classify", folder / "b.png", "--bundle", tiny_bundle)
    assert done.stdout == f"clean  0.006693 {folder}/b.png\n"


@pytest.mark.parametrize("given", ["x", "x/", "x//"])
def test_paths_are_as_given_joined_with_the_relative_path(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    write_png(tmp_path / "x" / "d" / "a.png", crop(9))
    assert find_pictures(given) == ["x/d/a.png"]
    assert find_pictures("x/d/a.png") == ["x/d/a.png"]
    assert find_pictures(".") == ["./x/d/a.png"]


def test_more_pictures_than_a_batch_keep_their_order(tmp_path, tiny_bundle):
    levels = list(range(90, 110))
    for level in levels:
        write_png(tmp_path / "c" / f"{level:03}.png", crop(level))
    (tmp_path / "c" / "095b.png").write_bytes(b"")
    classifier = Classifier(load_bundle(tiny_bundle), batch=3)
    found = list(classifier.classify(find_pictures(str(tmp_path / "c"))))
    assert [Path(line.path).name for line in found] == sorted([f"{level:03}.png" for level in levels] + ["095b.png"])
    assert [line.p_pit for line in found if line.error is None] == sorted(
        line.p_pit for line in found if line.error is None
    )
    assert [line.path[-8:] for line in found if line.error] == ["095b.png"]


def test_a_picture_for_which_the_network_gives_no_number_is_maybe_and_said(folder, tmp_path):
    bundle = write_tiny_bundle(tmp_path / "nan", tiny_network(nan_below=65.0))
    done = run_pitcore("classify", folder, "--json", "--bundle", bundle)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["verdict"], line["p_pit"] is None) for line in lines] == [
        ("maybe", False),
        ("pit", False),
        ("maybe", True),
    ]
    assert done.stderr == "1 of 3 pictures: the network gave NaN or infinity, so they are maybe\n"


def test_skipped_files_are_named_and_no_name_adds_a_line_or_ends_the_run(folder, tmp_path, tiny_bundle):
    write_png(tmp_path / "store" / "x.png", crop(80))
    (folder / "link").symlink_to(tmp_path / "store")
    (folder / "c.jpg").write_bytes(b"\xff\xd8")
    os.mkfifo(folder / "pipe.png")
    (folder / "gone.png").symlink_to(tmp_path / "nowhere")
    for name in (b"M\xfcller.png", b"two\nlines.png"):
        shutil.copy(folder / "b.png", os.fsencode(folder) + b"/" + name)
    done = run_pitcore("classify", folder, "--bundle", tiny_bundle)
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        f"{folder}: 4 skipped: c.jpg (not a PNG), gone.png (No such file or directory), link (link to a folder), "
        "pipe.png (not a regular file)\n"
    )
    names = {line.rpartition("/")[2] for line in done.stdout.splitlines()}
    assert names == {"M\\udcfcller.png", "m.PNG", "z.png", "b.png", "two\\nlines.png"}
    done = run_pitcore("classify", folder, "--json", "--bundle", tiny_bundle)
    paths = {json.loads(line)["path"].rpartition("/")[2] for line in done.stdout.splitlines()}
    assert paths == {"M\\udcfcller.png", "m.PNG", "z.png", "b.png", "two\nlines.png"}
