"""Tests the faults and fixes of `pitcore update status`."""

import os

import pytest

from pitcore.errors import ControlError
from tests.ota.board import BUNDLED


def fixes(board):
    return {trouble.what: trouble.fix for trouble in board.status().troubles}


def damage(board):
    os.truncate(board.store.slot("a") / "model.onnx", 10)


def lose_the_state(board):
    for path in (board.store.state_path, board.store.backup_path):
        path.write_bytes(b"")


def damage_and_fail_to_repair(board):
    damage(board)
    board.shelf.offer = None
    assert board.updater().install().result == "none"


@pytest.mark.parametrize("lose", [damage, lose_the_state, damage_and_fail_to_repair])
def test_no_reload_is_advised_while_only_the_service_has_the_running_model(board, lose):
    board.install("1.0.0", 1)
    lose(board)
    found = fixes(board)
    kept = f"tiny@1.0.0 is only in the service's memory: it would load {BUNDLED} if it started now"
    assert found[kept] == "`pitcore update install`; do not restart the service before"
    assert not any("pitcore reload" in fix for fix in found.values())
    board.install("1.0.0", 1)
    assert (board.line.label, fixes(board)) == ("tiny@1.0.0", {})


def hang(board, monkeypatch):
    def no_answer():
        raise ControlError("no answer")

    monkeypatch.setattr(board.line, "reload", no_answer)


def test_a_reload_is_advised_for_a_running_model_that_is_refused(board, monkeypatch):
    board.install("1.0.0", 1)
    hang(board, monkeypatch)
    board.updater().rollback()
    assert fixes(board) == {f"the service runs tiny@1.0.0, not {BUNDLED}": "`pitcore reload`"}


def test_a_reload_is_advised_for_a_running_model_that_could_be_loaded_again(board):
    bundled = board.line.session
    board.install("1.0.0", 1)
    first = board.line.session
    board.install("2.0.0", 2)
    for session in (bundled, first):
        board.line.session = session
        assert fixes(board) == {f"the service runs {board.line.label}, not tiny@2.0.0": "`pitcore reload`"}
