"""Tests that a forked program ends and prints like the installed program."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.forks import Forked
from tests.cli.program import program, run_installed, run_pitcore
from tests.conftest import ROOT
from tests.patience import PATIENCE_S


@pytest.mark.parametrize("words", [["--version"], ["demmo"], ["config", "check", "nowhere.toml"]])
def test_a_forked_program_ends_and_prints_as_the_installed_one(tmp_path, words):
    forked, installed = run_pitcore(*words, cwd=tmp_path), run_installed(*words, cwd=tmp_path)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        installed.returncode,
        installed.stdout,
        installed.stderr,
    )


def test_a_forked_program_has_the_environment_and_the_modules_that_it_is_given(tmp_path):
    (tmp_path / "libcamera.py").write_text("raise ImportError('this one')")
    board = ROOT / "firmware_configs" / "boards" / "pi4-one.toml"
    done = run_pitcore("record", tmp_path / "rec", "--config", board, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert "this one" in done.stderr


def test_a_forked_program_reports_the_signal_that_ended_it(tmp_path):
    with Path("/dev/full").open("w") as nowhere:
        process = Forked(program(), ["demo", "--out", tmp_path / "out"], stdout=nowhere, stderr=nowhere)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.0)
    assert process.poll() is None
    process.kill()
    assert process.wait(PATIENCE_S) == process.poll() == -signal.SIGKILL
