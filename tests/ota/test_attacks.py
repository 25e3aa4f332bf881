"""Tests attacks of an attacker or a broken mirror on a board's trust.

Each attack is refused with its own reason, floors never fall, and the publisher's repository is accepted again.
"""

import shutil
from itertools import count

import pytest
from tuf.api.metadata import MetaFile

from pitcore.errors import Refusal, UpdateError
from pitcore.ota.channel import channel_target
from pitcore.ota.fetcher import Fetcher
from pitcore.ota.minimum_speed import SpeedLimits
from pitcore_tools.package import setup
from tests.ota.field import list_snapshot, next_version, raise_version, relist, stranger
from tests.ota.publisher import DAY, newest

# The repository's word.


def expire(field):
    field.publisher.now += 8 * DAY


def serve_the_old_repository(field):
    field.site.root = field.old


def sign_with_a_strange_key(role):
    return lambda field: field.tamper(role, next_version, stranger())


def root_under_its_threshold(field):
    keyids = setup.key_ids(field.publisher.open(), "root")
    field.tamper("root", next_version, field.publisher.open().keys.of(keyids[:1]))


def root_by_the_right_number_of_wrong_keys(field):
    keyids = setup.key_ids(field.publisher.open(), "root")
    field.tamper("root", next_version, field.publisher.open().keys.of(keyids[:1]) + stranger())


def timestamp_without_a_signature(field):
    field.tamper("timestamp", next_version, [])


def leave_a_root_out(field):
    for role in ("snapshot", "timestamp"):
        field.publisher.rotate(role)
    (field.evil() / "metadata" / "2.root.json").unlink()


def put_a_later_root_in_place_of_the_next(field):
    for role in ("snapshot", "timestamp"):
        field.publisher.rotate(role)
    metadata = field.evil() / "metadata"
    shutil.copy(metadata / "1.root.json", metadata / "2.root.json")


def mix_in_an_old(role):
    def attack(field):
        evil = field.evil()
        field.publisher.refresh(role)  # so that the board has to fetch it
        shutil.rmtree(evil)
        evil = field.evil()
        shutil.copy(newest(field.old, role), newest(evil, role))

    return attack


def swap_the_channels_file(field):
    evil = field.evil()
    for path in (evil / "targets" / "channels").iterdir():
        path.write_bytes(path.read_bytes().replace(b"stable", b"elbats"))


def leap(role):
    def attack(field):
        evil = field.evil()
        field.publisher.resign(evil, role, raise_version(2**31))
        if role == "snapshot":
            list_snapshot(field, evil)

    return attack


def leap_to_a_snapshot_that_is_not_there(field):
    def change(signed):
        signed.version += 2**31
        signed.snapshot_meta = MetaFile(signed.snapshot_meta.version + 1)

    field.publisher.resign(field.evil(), "timestamp", change)


def break_the_json(field):
    (field.evil() / "metadata" / "timestamp.json").write_bytes(b'{"signed": {')


def drop_a_role_from_the_snapshot(field):
    field.publisher.refresh()
    evil = field.evil()
    field.publisher.resign(evil, "snapshot", lambda signed: (next_version(signed), signed.meta.pop("models.json")))
    list_snapshot(field, evil)


def no_timestamp(field):
    (field.evil() / "metadata" / "timestamp.json").unlink()


REPOSITORY = {
    "expired": (expire, Refusal.EXPIRED),
    "rolled back": (serve_the_old_repository, Refusal.ROLLED_BACK),
    "a strange key signs the timestamp": (sign_with_a_strange_key("timestamp"), Refusal.BAD_SIGNATURE),
    "a strange key signs a new root": (sign_with_a_strange_key("root"), Refusal.BAD_SIGNATURE),
    "nobody signs": (timestamp_without_a_signature, Refusal.BAD_SIGNATURE),
    "root under its threshold": (root_under_its_threshold, Refusal.BAD_SIGNATURE),
    "one right key and a strange one": (root_by_the_right_number_of_wrong_keys, Refusal.BAD_SIGNATURE),
    "root gap": (leave_a_root_out, Refusal.ROOT_GAP),
    "root out of order": (put_a_later_root_in_place_of_the_next, Refusal.ROOT_GAP),
    "mixed: old models": (mix_in_an_old("models"), Refusal.MIXED),
    "mixed: old targets": (mix_in_an_old("targets"), Refusal.MIXED),
    "mixed: another channel file": (swap_the_channels_file, Refusal.MIXED),
    "fast-forward of the timestamp": (leap("timestamp"), Refusal.FAST_FORWARD),
    "fast-forward to what is not there": (leap_to_a_snapshot_that_is_not_there, Refusal.FAST_FORWARD),
    "fast-forward of the snapshot": (leap("snapshot"), Refusal.FAST_FORWARD),
    "a role vanishes": (drop_a_role_from_the_snapshot, Refusal.MALFORMED),
    "broken JSON": (break_the_json, Refusal.MALFORMED),
    "no timestamp": (no_timestamp, Refusal.NOT_FOUND),
}


@pytest.mark.parametrize("name", REPOSITORY)
def test_a_forged_repository_is_refused_and_the_real_one_accepted_again(field, name):
    attack, expected = REPOSITORY[name]
    attack(field)
    assert field.refused() is expected
    field.converges()


# A key of the channel is stolen: it can name, but not make, models.


def an_older_model(field):
    return field.first.target


def a_model_nobody_signed(field):
    return "models/tiny-6.6.6.tar"


def a_path_out_of_its_directory(field):
    return "models/../../../etc/cron.d/evil.tar"


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (an_older_model, Refusal.ROLLED_BACK),
        (a_model_nobody_signed, Refusal.UNLISTED),
        (a_path_out_of_its_directory, Refusal.BAD_NAME),
    ],
)
def test_a_stolen_channel_key_cannot_bring_an_older_or_a_foreign_model(field, named, expected):
    honest = field.publisher.snapshot_of_everything("honest")
    field.publisher.name_in_channel(named(field))
    assert field.refused() is expected
    shutil.copytree(honest / "targets", field.publisher.directory / "targets", dirs_exist_ok=True)
    field.publisher.rotate("channel-stable")
    field.publisher.name_in_channel(field.second.target)
    field.converges()


def test_a_stolen_models_key_cannot_use_a_release_number_that_blocks_later_ones(field):
    honest = field.publisher.snapshot_of_everything("honest")
    field.publisher.ship("6.6.6", number=2**40)
    assert field.refused() is Refusal.FAST_FORWARD
    shutil.rmtree(field.publisher.directory / "metadata")
    shutil.copytree(honest / "metadata", field.publisher.directory / "metadata")
    for role in ("models", "channel-stable", "snapshot", "timestamp"):
        field.publisher.rotate(role)
    field.converges()


def test_a_stolen_models_key_cannot_write_outside_either(field, tmp_path):
    for name in ("models/../x.tar", "/x.tar", "channels/stable.json"):
        with pytest.raises(UpdateError) as caught:
            field.board.repository().fetch(name, "0" * 64, 10, tmp_path / "part")
        assert caught.value.refusal is Refusal.BAD_NAME
    assert not (tmp_path / "part").exists()


def test_a_model_larger_than_any_board_takes_is_refused_before_a_byte_is_asked_for(field, tmp_path):
    asked = len(field.site.requests)
    with pytest.raises(UpdateError) as caught:
        field.board.repository().fetch("models/m.tar", "0" * 64, 2**40, tmp_path / "part")
    assert caught.value.refusal is Refusal.OVERSIZED
    assert len(field.site.requests) == asked


def test_a_channel_file_larger_than_any_is_refused(field):
    name = channel_target("stable")
    evil = field.evil()

    def inflate(signed):
        signed.version += 1
        signed.targets[name].length = 2**30

    field.publisher.resign(evil, "channel-stable", inflate)
    relist(field, evil, "channel-stable")
    assert field.refused() is Refusal.OVERSIZED
    field.converges()


# Transport, for metadata; for archives test_download has the same.


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("endless", Refusal.OVERSIZED),
        ("truncated", Refusal.CUT_SHORT),
        ("truncated-unannounced", Refusal.MALFORMED),
        ("reset", Refusal.CUT_SHORT),
        ("404", Refusal.NOT_FOUND),
        ("503", Refusal.UNAVAILABLE),
        ("captive-portal", Refusal.CAPTIVE_PORTAL),
        ("disguised-portal", Refusal.CAPTIVE_PORTAL),
    ],
)
@pytest.mark.parametrize("role", ["timestamp", "snapshot", "models"])
def test_a_fault_on_the_way_of_metadata_has_its_own_refusal(field, role, fault, expected):
    field.publisher.refresh("models")  # something new to fetch
    field.site.faults = {role: fault}
    mixed = role != "timestamp" and fault == "truncated-unannounced"
    assert field.refused() is (Refusal.MIXED if mixed else expected)
    field.converges()


def test_metadata_that_arrive_byte_by_byte_are_too_slow(field):
    field.site.faults = {"timestamp": "drip"}
    clock = count(0.0, 1.0).__next__
    field.board.fetcher = lambda: Fetcher(SpeedLimits(min_rate=100, check_s=10**6), clock)
    assert field.refused() is Refusal.TOO_SLOW
    field.board.fetcher = Fetcher
    field.converges()


def test_the_time_limit_holds_for_all_files_together(field):
    clock = count(0.0, 1.0).__next__
    field.board.fetcher = lambda: Fetcher(SpeedLimits(min_rate=0.001, check_s=4), clock)
    assert field.refused() is Refusal.TOO_SLOW
    field.board.fetcher = Fetcher
    field.converges()
