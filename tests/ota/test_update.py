"""Tests that an offered model is fetched, tested, tried and committed, or refused and never tried again."""

import dataclasses
import io
import tarfile

import pytest

from pitcore.errors import Refusal
from pitcore.model_card import load_bundle
from pitcore.ota import state as states
from tests.conftest import tiny_card, write_card
from tests.ota.board import BUNDLED, refused
from tests.ota.shelf import packed, patch_of, sha256


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


def test_an_empty_channel_is_no_fault(board):
    assert board.updater().check().result == board.updater().install().result == "none"


def test_the_bundled_model_is_current_when_it_is_on_offer(board):
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
def test_a_patch_that_fails_is_reported_and_the_full_archive_is_used(board, how, said):
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


def test_bytes_that_differ_from_the_signed_ones_are_not_blamed_on_the_model(board):
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
