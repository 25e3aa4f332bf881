"""Tests the messages if picamera2 or PyAV cannot be imported: the usual installation faults."""

import subprocess
import sys

import pytest

from pitcore.camera import library
from pitcore.errors import SourceError
from tests.cli.program import assert_one_clear_line, run_pitcore
from tests.conftest import ROOT


def importable(tmp_path, monkeypatch, name, text):
    """Make ``import name`` find a module with this text."""
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)


def failing(importing):
    with pytest.raises(SourceError) as caught:
        importing()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import libcamera", "no module libcamera, which pip does not install: sudo apt install python3-picamera2"),
        ("import prctl_that_is_missing", "picamera2 needs prctl_that_is_missing, which is missing: sudo apt install"),
        (
            "raise ValueError('numpy.dtype size changed')",
            "picamera2 was built for another numpy (numpy.dtype size changed): use",
        ),
        (
            "raise ImportError('libcamera.so.0.5: cannot open')",
            "cannot be imported: libcamera.so.0.5",
        ),
    ],
    ids=["libcamera", "another", "numpy ABI", "shared object"],
)
def test_each_known_problem_of_picamera2_is_reported_with_its_fix(tmp_path, monkeypatch, text, said):
    importable(tmp_path, monkeypatch, "picamera2", text)
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    told = failing(library.picamera2)
    assert said in told
    assert "venv" not in told


def test_in_a_virtual_environment_the_message_says_how_to_use_the_packages_of_apt(tmp_path, monkeypatch):
    importable(tmp_path, monkeypatch, "picamera2", "import libcamera")
    monkeypatch.setattr(sys, "prefix", "/home/pi/env")
    assert failing(library.picamera2).endswith("python3 -m venv --system-site-packages /home/pi/env")


def test_a_missing_video_library_is_reported_with_its_fix(tmp_path, monkeypatch):
    importable(tmp_path, monkeypatch, "av", "raise ImportError('libavcodec.so.62')")
    assert failing(library.av) == "PyAV cannot be imported (libavcodec.so.62): pip install 'pitcore[video]'"


def test_a_board_configuration_on_a_machine_without_cameras_is_one_clear_line(tmp_path):
    board = (ROOT / "firmware_configs" / "boards" / "pi4-one.toml").read_text()
    for given in ("/var/log/pitcore", "/var/lib/pitcore", "/run/pitcore"):
        board = board.replace(given, str(tmp_path))
    (tmp_path / "board.toml").write_text(board)
    done = run_pitcore("record", tmp_path / "rec", "--config", tmp_path / "board.toml")
    assert_one_clear_line(done, "no module libcamera", "sudo apt install python3-picamera2 python3-libcamera")


def test_camera_libraries_are_imported_only_when_a_camera_is_used():
    code = "import sys, pitcore.loop.app, pitcore.cli.run; print({'picamera2', 'libcamera', 'av'} & set(sys.modules))"
    done = run_python(code)
    assert done == "set()"


def run_python(code):

    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
