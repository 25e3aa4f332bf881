"""Tests a board's trust with a stick, a failing disk, rotated keys and a wrong clock."""

import json
import random
import shutil
from datetime import timedelta

import pytest

from pitcore.errors import Refusal, UpdateError
from pitcore.ota.clock import Time
from pitcore.ota.fetcher import Fetcher
from pitcore.ota.metadata import TrustedMetadata
from pitcore_tools.package import repository, setup
from tests.ota.field import (
    list_snapshot,
    next_version,
    raise_version,
    relist,
)
from tests.ota.publisher import DAY, BoardUnderTest, newest

# Sticks.


def test_a_stick_serves_the_same_repository(field):
    field.publisher.now += timedelta(hours=1)
    field.publisher.ship("1.1.1")
    assert field.board.check(field.publisher.directory.as_uri()).release_seq == 3


def test_a_stale_stick_is_refused_as_old_and_later_as_expired(field):
    assert field.refused(field.old.as_uri()) is Refusal.ROLLED_BACK
    fresh = BoardUnderTest(field.publisher, field.publisher.folder / "other", field.old.as_uri())
    field.publisher.now += 30 * DAY
    with pytest.raises(UpdateError) as caught:
        fresh.check()
    assert caught.value.refusal is Refusal.EXPIRED
    field.publisher.refresh("models", "targets")
    field.converges()


# The disk: tuf's files are missing, truncated or damaged; the floors still hold.


@pytest.mark.parametrize("content", [b"", b"{", None])
def test_with_its_metadata_lost_a_board_does_not_take_an_old_repository_for_new(field, content):
    for path in (field.board.directory / "metadata").rglob("*.json"):
        if content is None:
            path.unlink()
        elif not path.is_symlink():
            path.write_bytes(content)
    field.site.root = field.old
    assert field.refused() is Refusal.ROLLED_BACK
    field.converges()


@pytest.mark.parametrize("name", ["floors.json", "floors.2.json"])
@pytest.mark.parametrize("content", [b"", b"{}", None])
def test_one_copy_of_the_floors_may_be_lost(field, name, content):
    path = field.board.directory / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    for old in (field.board.directory / "metadata").glob("*.json"):
        old.unlink()
    field.site.root = field.old
    with pytest.raises(UpdateError) as caught:
        field.board.check()
    assert caught.value.refusal is Refusal.ROLLED_BACK
    field.site.root = field.publisher.directory
    assert field.board.check().release_seq == 2


def test_two_damaged_copies_are_reported_and_not_taken_for_a_new_board(field):
    for name in ("floors.json", "floors.2.json"):
        content = bytearray((field.board.directory / name).read_bytes())
        content[random.Random(1).randrange(60, len(content) - 70)] ^= 4  # noqa: S311  data for a test
        (field.board.directory / name).write_bytes(content)
    with pytest.raises(UpdateError, match="delete both") as caught:
        field.board.check()
    assert caught.value.refusal is Refusal.STORAGE


@pytest.mark.parametrize("content", [b"", b"hi\n", b"{}", b"timestamp"])
def test_a_damaged_root_of_this_board_is_not_blamed_on_the_server(field, content):
    if content == b"timestamp":
        content = newest(field.publisher.directory, "timestamp").read_bytes()
    field.board.root = content
    with pytest.raises(UpdateError, match=r"^the trusted root\.json: not .*; copy it there again$") as caught:
        field.board.check()
    assert caught.value.refusal is Refusal.NOT_SET_UP


ROLES = ("root", "timestamp", "snapshot", "targets", "models", "channel-stable")


@pytest.mark.parametrize("name", [*ROLES, "root_history/1.root"])
def test_a_file_of_this_board_is_repaired_or_named_and_never_blamed_on_the_server(field, name):
    path = field.board.directory / "metadata" / f"{name}.json"
    for content in (b"hi", b"{}", b""):
        path.write_bytes(content)
        assert field.board.check().release_seq == 2
    path.unlink()
    path.mkdir()  # as a damaged file system may have it
    with pytest.raises(UpdateError, match=f"^{path}: ") as caught:
        field.board.check()
    assert caught.value.refusal is Refusal.STORAGE


def test_a_file_that_is_damaged_while_it_is_used_is_named(field):
    directory, fetcher = field.board.directory / "metadata", Fetcher()
    trusted = TrustedMetadata(directory, f"{field.site.url}/metadata/", field.board.root, fetcher, field.board.disk)
    fetcher.begin(60.0)
    trusted.refresh()
    (directory / "snapshot.json").write_bytes(b"hi")
    with pytest.raises(UpdateError, match=r"snapshot\.json: damaged on this board; delete it") as caught:
        trusted.seen(frozenset())
    assert caught.value.refusal is Refusal.STORAGE


def test_partial_files_of_tuf_are_removed(field):
    left = field.board.directory / "metadata" / "tmpab12cd"
    left.write_bytes(b"{")
    field.board.check()
    assert not left.exists()


# Keys.


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "models", "channel-stable"])
def test_a_rotated_key_is_accepted_and_the_stolen_one_refused(field, role):
    stolen = field.publisher.open().keys.of(setup.key_ids(field.publisher.open(), role))
    field.publisher.rotate(role)
    assert field.board.check().release_seq == 2
    evil = field.evil()
    field.publisher.resign(evil, role, next_version, stolen)
    if role not in {"timestamp", "snapshot"}:
        relist(field, evil, role)
    elif role == "snapshot":
        list_snapshot(field, evil)
    assert field.refused() is Refusal.BAD_SIGNATURE
    for online in ("snapshot", "timestamp"):  # the thief who listed it has these keys as well
        field.publisher.rotate(online)
    field.converges()


def test_all_root_keys_can_be_replaced_one_after_the_other(field):
    first = setup.key_ids(field.publisher.open(), "root")
    for keyid in first:
        field.publisher.rotate("root", keyid)
    assert not set(first) & set(setup.key_ids(field.publisher.open(), "root"))
    field.converges()


def test_after_a_bounded_fast_forward_attack_a_rotated_key_resets_the_versions(field):
    evil = field.evil()
    field.publisher.resign(evil, "timestamp", raise_version(900_000))
    field.board.check()  # nothing is wrong with it that a board could see
    field.site.root = field.publisher.directory
    field.publisher.refresh()
    assert field.refused() is Refusal.ROLLED_BACK
    field.publisher.rotate("timestamp")
    field.converges()


# Clocks. The model stays in every case; what counts is that nothing old is taken, and that it fixes itself.


def test_a_clock_of_1970_does_not_revive_what_has_expired(field):
    field.publisher.now += 20 * DAY
    field.publisher.refresh("models")  # a signature of that day
    field.board.check()
    field.site.root = field.publisher.snapshot_of_everything("later")
    field.board.clock.fixed_s, field.board.clock.synced = 0.0, False
    (field.board.directory / "metadata" / "timestamp.json").unlink()
    field.site.root = field.old
    assert field.refused() in {Refusal.EXPIRED, Refusal.ROLLED_BACK}
    field.site.root = field.publisher.directory
    assert field.board.check().release_seq == 2  # and does not stop what is new


def test_a_new_board_whose_clock_never_ran_judges_by_the_signatures_it_sees(field, tmp_path):
    board = BoardUnderTest(field.publisher, tmp_path / "new", field.site.url)
    board.clock.fixed_s, board.clock.synced = 0.0, False
    assert board.check().release_seq == 2
    field.publisher.now += 40 * DAY
    field.publisher.rotate("root", setup.key_ids(field.publisher.open(), "root")[0])
    old_timestamp = field.old / "metadata" / "timestamp.json"
    assert json.loads(old_timestamp.read_bytes())["signed"]["expires"] < f"{field.publisher.now:%Y-%m-%d}"
    shutil.copy(newest(field.publisher.directory, "root"), field.old / "metadata")
    other = BoardUnderTest(field.publisher, tmp_path / "other", field.old.as_uri())
    other.clock.fixed_s, other.clock.synced = 0.0, False
    with pytest.raises(UpdateError) as caught:
        other.check()
    assert caught.value.refusal is Refusal.EXPIRED  # the root was signed after the timestamp had expired


@pytest.mark.parametrize("years", [10, 90])
def test_an_unconfirmed_clock_years_ahead_is_named_and_corrected_later(field, years):
    field.board.clock.ahead_s, field.board.clock.synced = years * 365.25 * 86400, False
    assert field.refused() is Refusal.CLOCK
    field.board.clock.ahead_s, field.board.clock.synced = 0.0, True
    field.converges()


def test_a_time_service_that_is_ten_years_off_does_not_raise_the_time_floor(field):
    field.board.clock.ahead_s = 10 * 365.25 * 86400
    assert field.refused() is Refusal.EXPIRED
    field.board.clock.ahead_s = 0.0
    field.converges()


def test_a_signer_whose_clock_was_years_ahead_locks_out_no_board(field, tmp_path, monkeypatch):
    monkeypatch.setattr(
        repository, "read_clock", lambda: Time(0.0, synced=True)
    )  # a time service put the signer's clock right
    today = field.publisher.now
    field.publisher.now = today + 800 * DAY
    field.publisher.refresh("models")
    field.publisher.now = today + timedelta(hours=1)
    field.publisher.refresh()
    assert field.board.check().release_seq == 2
    field.board.clock.synced = False
    assert field.board.check().release_seq == 2  # a contradiction counts for a synchronised clock only
    new = BoardUnderTest(field.publisher, tmp_path / "new", field.site.url)
    new.clock.synced = False
    with pytest.raises(UpdateError):
        new.check()  # it cannot know better
    new.clock.synced = True
    assert new.check().release_seq == 2
    field.board.clock.synced = True
    field.converges()


def test_a_clock_that_jumps_between_checks_follows_the_publisher_all_the_same(field):
    for ahead_days, synced, outcome in [
        (-20_000, False, 2),
        (3_650, False, Refusal.CLOCK),
        (0, True, 2),
        (-3, False, 2),
        (5, True, 2),
        (0, True, 2),
    ]:
        field.board.clock.ahead_s, field.board.clock.synced = ahead_days * 86400.0, synced
        if isinstance(outcome, Refusal):
            assert field.refused() is outcome
        else:
            assert field.board.check().release_seq == outcome
    field.converges()
