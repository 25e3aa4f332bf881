import dataclasses
import io
import json
import os
import shutil
import tarfile

import msgspec
import pytest

from pitcore.config import DecisionConfig
from pitcore.errors import ControlError, Refusal
from pitcore.model_card import load_bundle
from pitcore.ota import state as states
from pitcore.ota.disk import Disk
from pitcore.ota.gate import Health
from pitcore.ota.overview import look
from pitcore.ota.slots import Store
from pitcore.ota.update import Means, Updater
from tests.conftest import tiny_card, write_card
from tests.ota.board import BUNDLED, prove, refused
from tests.ota.line import GATE, Line
from tests.ota.shelf import Shelf, packed, patch_of, sha256


def test_a_release_is_installed_judged_in_the_service_and_only_then_reported(board):
    outcome = board.install("1.0.0", 7)
    assert (outcome.result, board.line.label) == ("committed", "tiny@1.0.0")
    assert (board.state.active, board.state.release_seq_floor, board.state.trial) == ("a", 7, None)
    assert list(board.store.staging.iterdir()) == []
    assert board.updater().install().result == "current"


def test_the_next_release_goes_into_the_other_slot_and_the_last_stays(board):
    board.install("1.0.0", 1)
    board.install("2.0.0", 2)
    assert (board.state.active, board.state.previous) == ("b", "a")
    board.install("3.0.0", 3)
    assert (board.state.active, board.state.previous, board.line.label) == ("a", "b", "tiny@3.0.0")


def test_nothing_on_offer_is_no_fault(board):
    assert board.updater().check().result == board.updater().install().result == "none"


def test_what_came_with_pitcore_is_current_when_it_is_on_offer(board):
    board.shelf.put(board.bundled, 1)
    assert board.updater().install().result == "current"


def test_check_changes_nothing_and_fetch_installs_nothing(board):
    board.shelf.put(board.bundle("1.0.0"), 1)
    before = board.state
    assert board.updater().check().result == "available"
    assert board.state == before
    assert board.updater().fetch().result == "fetched"
    assert (board.state, board.line.label) == (before, BUNDLED)
    board.shelf.fetched.clear()
    assert board.updater().install().result == "committed"
    assert board.shelf.fetched == []  # it was here


@pytest.mark.parametrize("method", ["zstd", "bsdiff4"])
def test_a_patch_for_the_running_model_is_taken_instead_of_the_whole(board, method):
    board.install("1.0.0", 1)
    board.shelf.fetched.clear()
    offer = board.shelf.put(board.bundle("2.0.0"), 2, bases=[board.bundle("1.0.0")], method=method)
    assert board.updater().install().result == "committed"
    assert board.shelf.fetched == [offer.deltas[0].target]
    assert board.line.label == "tiny@2.0.0"


def test_the_first_update_may_come_by_a_patch_on_what_came_with_pitcore(board):
    offer = board.shelf.put(board.bundle("1.0.0"), 1, bases=[board.bundled])
    assert board.updater().install().result == "committed"
    assert board.shelf.fetched == [offer.deltas[0].target]


def spoil(board, offer, how):
    """Make the patch of an offer useless in one of the ways."""
    (patch,), shelf = offer.deltas, board.shelf
    if how == "gone":
        del shelf.files[patch.target]
    elif how == "wrong base":
        shelf.change_offer(deltas=(dataclasses.replace(patch, base_sha256="0" * 64),))
    else:
        other = bytearray(packed(board.bundle("2.0.0")))
        other[-2000] ^= 1
        content = shelf.files[patch.target]
        wrong = patch_of("zstd", packed(board.bundle("1.0.0")), bytes(other))
        content = content[: len(content) // 2] if how == "cut" else wrong
        shelf.files[patch.target] = content
        shelf.change_offer(deltas=(dataclasses.replace(patch, sha256=sha256(content), length=len(content)),))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("wrong base", "none of the 1 is for tiny@1.0.0"),
        ("cut", "damaged"),
        ("other result", "its result is not what was signed"),
        ("gone", "does not have it"),
    ],
)
def test_a_patch_that_does_not_do_is_told_and_the_whole_is_taken(board, how, said):
    board.install("1.0.0", 1)
    offer = board.shelf.put(board.bundle("2.0.0"), 2, bases=[board.bundle("1.0.0")])
    spoil(board, offer, how)
    assert board.updater().install().result == "committed"
    (line,) = [line for line in board.told if line.startswith("no update by patch")]
    assert said in line
    assert line.endswith("MB")
    assert board.shelf.fetched[-1] == offer.target
    assert list(board.store.staging.iterdir()) == []


BAD_MODELS = {
    "golden mismatch": ({"golden_shift": 1.0}, "golden vectors are off"),
    "no network": ({"network": b"this is no network"}, "does not load"),
}


@pytest.mark.parametrize("kind", BAD_MODELS)
def test_a_model_that_fails_its_self_test_is_never_on_trial_and_never_taken_again(board, kind):
    options, said = BAD_MODELS[kind]
    board.install("1.0.0", 1)
    message = refused(Refusal.SELF_TEST, board.install, "2.0.0", 2, **options)
    assert said in message
    assert "not be installed again" in message
    assert (board.state.active, board.state.trial, board.line.label) == ("a", None, "tiny@1.0.0")
    board.shelf.fetched.clear()
    outcome = board.updater().install()
    assert (outcome.result, board.shelf.fetched) == ("refused here", [])
    assert board.install("3.0.0", 3).result == "committed"


def test_a_technician_may_have_a_refused_release_tried_again(board):
    board.install("1.0.0", 1)
    board.shelf.put(board.bundle("2.0.0"), 2)
    board.store.change(lambda state: states.refuse(state, board.shelf.offer.card_sha256, "latency"))
    assert board.updater().install().result == "refused here"
    assert board.updater().install(again=True).result == "committed"


def test_planes_that_the_board_does_not_have_are_a_failed_self_test(board):
    bundle = board.bundle("2.0.0")
    write_card(bundle, tiny_card(bundle) | {"version": "2.0.0", "planes": ["bottom", "top"]})
    assert "wants planes bottom, top" in refused(Refusal.SELF_TEST, board.install, "2.0.0", 2)


@pytest.mark.parametrize("what", ["text", "other member", "one more", "cut", "other card"])
def test_an_archive_that_holds_no_bundle_is_refused_and_writes_nothing_outside(board, tmp_path, what):
    good = packed(board.bundle("1.0.0"))
    card = load_bundle(board.bundle("1.0.0")).sha256
    if what == "text":
        content = b"<html>please log in</html>" * 100
    elif what == "cut":
        content = good[: len(good) // 2]
    elif what == "other card":
        content, card = good, "1" * 64
    else:
        buffer = io.BytesIO(good if what == "one more" else b"")
        with tarfile.open(fileobj=buffer, mode="a" if what == "one more" else "w") as tar:
            member = tarfile.TarInfo("../../../evil")
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
        content = buffer.getvalue()
    board.shelf.put_bytes(content, 1, card)
    refused(Refusal.SELF_TEST, board.updater().install)
    assert not list(tmp_path.rglob("*evil*"))
    assert (board.state.active, board.state.trial) == (None, None)
    assert board.install("2.0.0", 2).result == "committed"


def test_bytes_that_are_not_what_was_signed_are_not_the_models_fault(board):
    offer = board.shelf.put(board.bundle("1.0.0"), 1)
    board.shelf.files[offer.target] = b"x" * offer.length
    refused(Refusal.WRONG_HASH, board.updater().install)
    assert board.state.bad == {}
    assert board.install("1.0.0", 1).result == "committed"


def test_an_older_release_is_refused_even_if_it_is_signed(board):
    board.install("2.0.0", 5)
    message = refused(Refusal.ROLLED_BACK, board.install, "1.0.0", 4)
    assert "release 4 is older than 5" in message
    assert board.line.label == "tiny@2.0.0"


def test_old_bytes_under_a_new_release_are_taken(board):
    board.install("1.0.0", 1)
    board.install("2.0.0", 2)
    assert board.install("1.0.0", 3).result == "committed"
    assert board.line.label == "tiny@1.0.0"


class Slow(Line):
    """A model that makes the line lose frames."""

    def health(self):
        if self.session.bundle.card.version == "2.0.0":
            self.troubles += 1
        return super().health()


def test_a_model_that_loses_frames_is_rolled_back_by_itself_and_the_next_good_one_is_taken(board):
    board.line = Slow(board.store.root).start()
    board.install("1.0.0", 1)
    message = refused(Refusal.TRIAL, board.install, "2.0.0", 2)
    assert "rolled back and will not be installed again" in message
    assert "the service has loaded it" in message
    assert board.line.label == "tiny@1.0.0"
    assert board.updater().install().result == "refused here"
    assert board.install("3.0.0", 3).result == "committed"


class Crashing(Line):
    """A model that takes the service down at its first frame; something starts the service again."""

    def health(self):
        if self.session.bundle.card.version == "2.0.0":
            self.die()
            self.start()
        return super().health()


def test_a_crash_loop_after_the_change_ends_with_the_model_from_before(board):
    board.line = Crashing(board.store.root).start()
    board.install("1.0.0", 1)
    message = refused(Refusal.TRIAL, board.install, "2.0.0", 2)
    assert "rolled back by the service: loaded 2 times on trial" in message
    assert (board.line.label, board.state.active) == ("tiny@1.0.0", "a")
    assert board.updater().install().result == "refused here"


class Dying(Line):
    """A model that takes the service down, and nothing starts it again."""

    def health(self):
        if self.session is not None and self.session.bundle.card.version == "2.0.0":
            self.die()
        return super().health()


def test_a_service_that_dies_and_stays_dead_rolls_the_trial_back(board):
    board.line, board.gate = Dying(board.store.root).start(), dataclasses.replace(GATE, timeout_s=0.2)
    board.install("1.0.0", 1)
    assert "the service died while it ran it" in refused(Refusal.TRIAL, board.install, "2.0.0", 2)
    assert board.line.start().label == "tiny@1.0.0"


def test_without_a_service_the_trial_waits_for_one_and_is_no_success(board):
    board.line.stop()
    outcome = board.install("1.0.0", 1)
    assert outcome.result == "on trial"
    assert "start it, then `pitcore update commit`" in outcome.message
    assert board.line.start().label == "tiny@1.0.0"
    assert board.updater().commit().result == "committed"


class Deaf(Line):
    """It runs, but cannot be spoken to: its socket is another's, or it is of another version."""

    def health(self):
        raise ControlError("Permission denied; become a member of the socket's group")

    reload = health


def test_a_service_that_cannot_be_spoken_to_is_not_the_models_fault(board):
    board.line = Deaf(board.store.root).start()
    assert "become a member of the socket's group" in refused(Refusal.NOT_SET_UP, board.install, "1.0.0", 1)
    assert (board.state.trial, board.state.bad) == (None, {})
    board.line = Line(board.store.root).start()
    assert board.updater().install().result == "committed"


class Idle(Line):
    """No frame comes."""

    def health(self):
        found = super().health()
        return Health(found.model_sha256, 0, 0, None)


def test_a_belt_that_stands_still_commits_nothing_and_blames_nobody(board):
    board.line, board.gate = Idle(board.store.root).start(), dataclasses.replace(GATE, timeout_s=0.2)
    assert board.install("1.0.0", 1).result == "on trial"
    assert (board.state.trial.slot, board.state.bad) == ("a", {})
    board.line = Line(board.store.root).start()
    assert board.updater().install().result == "committed"  # the next run goes on from there


def test_a_service_that_cannot_take_the_model_keeps_the_old_one(board):
    board.install("1.0.0", 1)
    board.line.config = msgspec.structs.replace(board.line.config, decision=DecisionConfig(accept=0.15))
    strict = board.bundle("2.0.0")
    write_card(strict, tiny_card(strict) | {"version": "2.0.0", "thresholds": {"accept": 0.01, "reject": 0.8}})
    refused(Refusal.TRIAL, board.install, "2.0.0", 2)
    assert board.line.label == "tiny@1.0.0"
    assert board.state.bad


class Failing(Disk):
    """A card that does not give back what was written, so many times: reading is an I/O error."""

    def __init__(self, times):
        self.times = times

    def attempt(self, operation):
        super().attempt(operation)
        if self.times and operation.kind == "sync" and operation.path.name == "metrics.json":
            self.times -= 1
            operation.path.unlink()
            operation.path.symlink_to("/proc/self/mem")


def test_a_disk_that_does_not_give_the_files_is_not_the_models_fault_and_nothing_is_fetched_again(board):
    board.store.disk = Failing(1)
    message = refused(Refusal.UNJUDGED, board.install, "1.0.0", 1)
    assert "Input/output error" in message
    assert "this does not mean that the model is bad: the next run tries it again (try 1 of 3)" in message
    assert (board.state.bad, board.state.trial, board.line.label) == ({}, None, BUNDLED)
    assert list(look(board.store, BUNDLED).unjudged.values()) == [1]
    board.shelf.fetched.clear()
    assert board.updater().install().result == "committed"
    assert board.shelf.fetched == []
    assert board.state.unjudged == {}


def test_what_the_machine_can_never_judge_is_given_up_after_a_few_times_and_told(board):
    board.store.disk = Failing(100)
    for _ in range(2):
        refused(Refusal.UNJUDGED, board.install, "1.0.0", 1)
    message = refused(Refusal.SELF_TEST, board.install, "1.0.0", 1)
    assert "could not be judged 3 times, the last time: " in message
    assert "it will not be installed again" in message
    assert board.updater().install().result == "refused here"
    board.store.disk = Disk()
    assert board.updater().install(again=True).result == "committed"


class Unheard(Line):
    """Its socket closes as soon as it has the new model; it lives and judges on."""

    def health(self):
        if self.session.bundle.card.version == "1.0.0":
            raise ControlError("the service closed the connection without an answer")
        return super().health()


def test_a_socket_that_closes_in_the_middle_of_the_gate_is_not_the_models_fault(board):
    board.line, board.gate = Unheard(board.store.root).start(), dataclasses.replace(GATE, timeout_s=0.2)
    outcome = board.install("1.0.0", 1)
    assert outcome.result == "on trial"
    assert "could not be judged and stays on trial (try 1 of 3): the service runs, but did not" in outcome.message
    assert board.state.bad == {}
    board.line, board.gate = Line(board.store.root).start(), GATE
    assert board.updater().install().result == "committed"


def test_a_service_that_is_never_heard_keeps_no_later_release_away(board):
    board.line, board.gate = Unheard(board.store.root).start(), dataclasses.replace(GATE, timeout_s=0.2)
    board.install("1.0.0", 1)
    assert board.updater().install().result == "on trial"
    assert "could not be judged 3 times" in refused(Refusal.TRIAL, board.updater().install)
    assert board.line.label == BUNDLED
    assert board.install("2.0.0", 2).result == "committed"


class CutOff(Line):
    """The connection breaks while it changes over, before or after it took the model."""

    takes = True

    def reload(self):
        if self.takes:
            super().reload()
        raise ControlError("the service went away: Connection reset by peer")


def test_a_connection_that_breaks_while_the_service_changes_over_costs_nothing(board):
    board.line = CutOff(board.store.root).start()
    assert board.install("1.0.0", 1).result == "committed"
    assert any("did not confirm that it loaded it" in line for line in board.told)


def test_a_service_that_never_changed_over_leaves_the_model_on_trial(board):
    board.line, board.gate = CutOff(board.store.root).start(), dataclasses.replace(GATE, timeout_s=0.2)
    board.line.takes = False
    outcome = board.install("1.0.0", 1)
    assert outcome.result == "on trial"
    assert "the service does not run it after 0.2 s" in outcome.message
    assert (board.state.bad, board.line.label) == ({}, BUNDLED)
    board.line = Line(board.store.root).start()
    assert board.updater().install().result == "committed"


def test_going_back_by_hand_changes_the_service_over_and_the_timer_does_not_undo_it(board):
    board.install("1.0.0", 1)
    board.install("2.0.0", 2)
    assert board.updater().rollback().result == "rolled back"
    assert board.line.label == "tiny@1.0.0"
    assert board.updater().install().result == "refused here"
    board.updater().rollback()
    assert board.line.label == BUNDLED
    refused(Refusal.NOT_SET_UP, board.updater().rollback)


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


def test_a_model_that_failed_leaves_nothing_in_the_way(board):
    refused(Refusal.SELF_TEST, board.install, "2.0.0", 2, golden_shift=1.0)
    assert [entry.name for entry in board.store.staging.iterdir()] in ([], ["unpacked"])


def test_commit_without_a_trial_says_so(board):
    refused(Refusal.NOT_SET_UP, board.updater().commit)


def test_a_second_update_waits_for_nobody_and_says_why(board):
    with board.store.updating():
        for call in (board.updater().install, board.updater().check, board.updater().rollback):
            assert "another update is under way" in refused(Refusal.BUSY, call)


def test_a_rotten_active_model_is_left_and_had_again(board):
    board.install("1.0.0", 1)
    board.install("2.0.0", 2)
    os.truncate(board.store.slot("b") / "model.onnx", 10)
    board.line.start()
    assert board.line.label == "tiny@1.0.0"
    assert board.updater().install().result == "committed"
    assert (board.line.label, board.state.active, board.state.release_seq_floor) == ("tiny@2.0.0", "b", 2)
    assert any("the active model is damaged and left" in line for line in board.told)


def test_with_both_models_rotten_the_bundled_one_runs_until_the_next_install(board):
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


def test_what_an_update_left_behind_is_swept_by_the_next(board):
    (board.store.staging / "unpacked").mkdir()
    (board.store.staging / "unpacked" / "model.onnx").write_bytes(b"old")
    (board.store.staging / f"{'9' * 64}.part").write_bytes(b"old")
    shutil.copytree(board.bundle("1.0.0"), board.store.slot("a"))  # moved in, but the power went before TRIAL
    assert board.install("2.0.0", 2).result == "committed"
    assert list(board.store.staging.iterdir()) == []


@pytest.mark.parametrize("rotten", [b"", b"{", b'{"at": "\xff"}'])
def test_a_rotten_note_of_the_last_update_does_not_hide_the_rest(board, rotten):
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


def test_who_may_not_write_is_told_to_act_as_the_service_not_as_root(board, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may always, and tests may run as root
    fixes = [trouble.fix for trouble in look(board.store, None).troubles if "not writable" in trouble.what]
    assert ["sudo -u pitcore" in fix for fix in fixes] == [True]


def test_a_store_is_made_where_there_is_none(tmp_path):
    store = Store(tmp_path / "fresh")
    Updater(store, Means(Shelf(), prove, Line(store.root))).check()
    assert store.read() == states.State()
