"""Tests the way back to an earlier model, and updates of stores that are damaged, full, incomplete or in use."""

import json
import os
import shutil

import pytest

from pitcore.errors import Refusal
from pitcore.ota import state as states
from pitcore.ota.disk import Disk
from pitcore.ota.overview import look
from pitcore.ota.slots import Store
from pitcore.ota.update import Means, Updater
from tests.ota.board import BUNDLED, prove, refused
from tests.ota.line import Line
from tests.ota.shelf import Shelf


def test_going_back_by_hand_changes_the_service_over_and_the_timer_does_not_undo_it(board):
    board.install("1.0.0", 1)
    board.install("2.0.0", 2)
    assert board.updater().rollback().result == "rolled back"
    assert board.line.label == "tiny@1.0.0"
    assert board.updater().install().result == "refused here"
    board.updater().rollback()
    assert board.line.label == BUNDLED
    refused(Refusal.NOTHING_TO_DO, board.updater().rollback)


def test_going_back_from_a_damaged_model_goes_back_one_step_only(board):
    board.install("1.0.0", 1)
    board.install("2.0.0", 2)
    os.truncate(board.store.slot("b") / "model.onnx", 10)
    board.updater().rollback()
    assert board.line.label == "tiny@1.0.0"


def test_nothing_is_fetched_into_a_slot_that_is_on_trial(board):
    board.line.stop()
    assert board.install("1.0.0", 1).result == "on trial"
    board.shelf.put(board.bundle("2.0.0"), 2)
    assert "on trial in that slot" in refused(Refusal.BUSY, board.updater().fetch)
    assert board.line.start().label == "tiny@1.0.0"


def test_a_failed_model_does_not_block_later_ones(board):
    refused(Refusal.SELF_TEST, board.install, "2.0.0", 2, golden_shift=1.0)
    assert [entry.name for entry in board.store.staging.iterdir()] in ([], ["unpacked"])


def test_commit_without_a_trial_says_so(board):
    refused(Refusal.NOTHING_TO_DO, board.updater().commit)


def test_a_second_update_waits_for_nobody_and_says_why(board):
    with board.store.updating():
        for call in (board.updater().install, board.updater().check, board.updater().rollback):
            assert "another update is under way" in refused(Refusal.BUSY, call)


def test_a_damaged_active_model_is_left_and_installed_again(board):
    board.install("1.0.0", 1)
    board.install("2.0.0", 2)
    os.truncate(board.store.slot("b") / "model.onnx", 10)
    board.line.start()
    assert board.line.label == "tiny@1.0.0"
    assert board.updater().install().result == "committed"
    assert (board.line.label, board.state.active, board.state.release_seq_floor) == ("tiny@2.0.0", "b", 2)
    assert any("the active model is damaged and left" in line for line in board.told)


def test_with_both_models_damaged_the_bundled_one_runs_until_the_next_install(board):
    board.install("1.0.0", 1)
    board.install("2.0.0", 2)
    for slot in ("a", "b"):
        os.truncate(board.store.slot(slot) / "model.onnx", 10)
    assert board.line.start().label == BUNDLED
    assert board.updater().install().result == "committed"
    assert board.line.label == "tiny@2.0.0"


def test_a_state_that_is_lost_altogether_starts_over_from_the_bundled_model(board):
    board.install("1.0.0", 1)
    for path in (board.store.state_path, board.store.backup_path):
        path.write_bytes(b"")
    assert board.line.start().label == BUNDLED
    assert board.updater().install().result == "committed"
    assert board.line.label == "tiny@1.0.0"


def test_the_state_of_a_newer_pitcore_stops_an_update_before_it_touches_anything(board):
    board.install("1.0.0", 1)
    newer = json.dumps({"version": 99}).encode()
    board.store.state_path.write_bytes(newer)
    before = sorted(path for path in board.store.root.rglob("*"))
    refused(Refusal.NEWER_STATE, board.install, "2.0.0", 2)
    assert board.store.state_path.read_bytes() == newer
    assert sorted(path for path in board.store.root.rglob("*")) == before


def test_an_update_that_does_not_fit_touches_nothing_and_says_what_it_needs(board, monkeypatch):
    board.install("1.0.0", 1)
    board.install("2.0.0", 2)
    board.shelf.put(board.bundle("3.0.0"), 3)
    board.shelf.change_offer(length=10**15)
    message = refused(Refusal.NO_SPACE, board.updater().install)
    assert "the update needs 2000000000.1 MB" in message
    assert (board.state.previous, board.line.label) == ("a", "tiny@2.0.0")


def test_files_that_an_update_left_are_removed_by_the_next(board):
    (board.store.staging / "unpacked").mkdir()
    (board.store.staging / "unpacked" / "model.onnx").write_bytes(b"old")
    (board.store.staging / f"{'9' * 64}.part").write_bytes(b"old")
    shutil.copytree(board.bundle("1.0.0"), board.store.slot("a"))  # moved in, but the power went before TRIAL
    assert board.install("2.0.0", 2).result == "committed"
    assert list(board.store.staging.iterdir()) == []


@pytest.mark.parametrize("rotten", [b"", b"{", b'{"at": "\xff"}'])
def test_a_damaged_record_of_the_last_update_does_not_hide_the_rest(board, rotten):
    (board.store.root / "last.json").write_bytes(rotten)
    found = look(board.store, None)
    assert (found.last, found.role) == (None, "bundled")


class Quicker(Disk):
    """Before each directory is made, another update has made it."""

    def perform(self, operation):
        if operation.kind == "mkdir":
            operation.path.mkdir()
        super().perform(operation)


def test_two_first_updates_at_once_make_one_store(tmp_path):
    store = Store(tmp_path / "some" / "store", Quicker())
    store.prepare()
    assert store.read() == states.State()


def test_a_user_without_write_access_is_told_to_use_the_service_user(board, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may always, and tests may run as root
    fixes = [trouble.fix for trouble in look(board.store, None).troubles if "not writable" in trouble.what]
    assert ["sudo -u pitcore" in fix for fix in fixes] == [True]


def test_a_store_is_made_where_there_is_none(tmp_path):
    store = Store(tmp_path / "fresh")
    Updater(store, Means(Shelf(), prove, Line(store.root))).check()
    assert store.read() == states.State()
