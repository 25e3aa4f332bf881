"""What an attacker, a broken mirror or a wrong clock can do to a board's trust: refused, each by its own name, floors
never fall, and the honest repository is followed again."""

import json
import random
import shutil
from datetime import timedelta
from itertools import count

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import MetaFile

from pitcore.errors import Refusal, UpdateError
from pitcore.ota.channel import channel_target
from pitcore.ota.clock import Time
from pitcore.ota.fetcher import Fetcher
from pitcore.ota.minimum_speed import SpeedLimits
from pitcore_tools.package import repository, setup
from tests.ota.publisher import DAY, BoardUnderTest, Publisher, newest
from tests.ota.server import serving


class Past:
    """How every field begins: an honest repository with two releases, and a board that has taken both."""

    def __init__(self, place):
        with serving(place) as site:
            self.publisher = Publisher(place)
            site.root = self.publisher.directory
            board = BoardUnderTest(self.publisher, place / "board", site.url)
            self.first = self.publisher.ship("1.0.0")
            assert board.check().release_seq == 1
            self.publisher.snapshot_of_everything("old")
            self.publisher.now += DAY
            self.second = self.publisher.ship("1.1.0")
            assert board.check().release_seq == 2


class Field:
    """A copy of the past, and a site that can be taken over."""

    def __init__(self, tmp_path, site, past):
        self.site, self.publisher = site, past.publisher.copied(tmp_path)
        site.root = self.publisher.directory
        self.board = BoardUnderTest(self.publisher, tmp_path / "board", site.url)
        self.first, self.second, self.old = past.first, past.second, tmp_path / "old"

    def evil(self):
        """A copy of the repository, served instead of the honest one."""
        self.site.root = self.publisher.snapshot_of_everything("evil")
        return self.site.root

    def tamper(self, role, change, signers=None):
        """Serve a copy with one file signed again; what lists that file is left alone."""
        self.publisher.resign(self.evil(), role, change, signers)

    def refused(self, url=None):
        before = self.board.floors()
        with pytest.raises(UpdateError) as caught:
            self.board.check(url)
        assert "\n" not in str(caught.value)
        assert not_fallen(before, self.board.floors())
        return caught.value.refusal

    def converges(self):
        """The honest publisher goes on, and the board follows."""
        self.site.root, self.site.faults = self.publisher.directory, {}
        self.publisher.now += timedelta(hours=1)
        before = self.board.floors()
        self.publisher.ship("1.2.0")
        assert self.board.check().release_seq == 3
        assert not_fallen(before, self.board.floors())


def not_fallen(before, after):
    return after["release_seq"] >= before["release_seq"] and all(
        after["roles"][role]["version"] >= floor["version"] or after["roles"][role]["keys"] != floor["keys"]
        for role, floor in before["roles"].items()
    )


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    return Past(tmp_path_factory.mktemp("past"))


@pytest.fixture
def field(tmp_path, past):
    with serving(tmp_path) as site:
        yield Field(tmp_path, site, past)


def stranger():
    return [CryptoSigner.generate_ed25519()]


def untouched(signed):
    pass


def next_version(signed):
    signed.version += 1


def raise_version(by):
    def change(signed):
        signed.version += by

    return change


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
def test_a_false_repository_is_refused_and_the_honest_one_followed_again(field, name):
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


def test_a_stolen_models_key_cannot_number_so_high_that_nothing_follows(field):
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


def listed(path):
    return MetaFile.from_data(int(path.name.split(".")[0]), path.read_bytes(), ["sha256"])


def relist(field, directory, role):
    """Let a copy's snapshot and timestamp list the newest file of a role, as the holder of the online keys can."""
    info = listed(newest(directory, role))
    field.publisher.resign(
        directory, "snapshot", lambda signed: (next_version(signed), signed.meta.update({f"{role}.json": info}))
    )
    list_snapshot(field, directory)


def list_snapshot(field, directory):
    """Let a copy's timestamp list its newest snapshot."""
    info = listed(newest(directory, "snapshot"))
    field.publisher.resign(
        directory, "timestamp", lambda signed: (next_version(signed), setattr(signed, "snapshot_meta", info))
    )


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


def test_metadata_that_drip_are_too_slow(field):
    field.site.faults = {"timestamp": "drip"}
    clock = count(0.0, 1.0).__next__
    field.board.fetcher = lambda: Fetcher(SpeedLimits(min_rate=100, check_s=10**6), clock)
    assert field.refused() is Refusal.TOO_SLOW
    field.board.fetcher = Fetcher
    field.converges()


def test_many_files_that_each_come_in_time_still_end_together(field):
    clock = count(0.0, 1.0).__next__
    field.board.fetcher = lambda: Fetcher(SpeedLimits(min_rate=0.001, check_s=4), clock)
    assert field.refused() is Refusal.TOO_SLOW
    field.board.fetcher = Fetcher
    field.converges()


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


# The disk: what tuf keeps is gone, cut or rotten; the floors still hold.


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


def test_both_copies_rotten_is_said_and_not_taken_for_a_fresh_board(field):
    for name in ("floors.json", "floors.2.json"):
        content = bytearray((field.board.directory / name).read_bytes())
        content[random.Random(1).randrange(60, len(content) - 70)] ^= 4  # noqa: S311  data for a test
        (field.board.directory / name).write_bytes(content)
    with pytest.raises(UpdateError, match="delete both") as caught:
        field.board.check()
    assert caught.value.refusal is Refusal.STORAGE


def test_what_tuf_left_half_written_is_cleared_away(field):
    left = field.board.directory / "metadata" / "tmpab12cd"
    left.write_bytes(b"{")
    field.board.check()
    assert not left.exists()


# Keys.


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "models", "channel-stable"])
def test_a_rotated_key_is_followed_and_the_stolen_one_shut_out(field, role):
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
    for online in ("snapshot", "timestamp"):  # whoever listed it has these keys as well
        field.publisher.rotate(online)
    field.converges()


def test_all_root_keys_can_be_replaced_one_after_the_other(field):
    first = setup.key_ids(field.publisher.open(), "root")
    for keyid in first:
        field.publisher.rotate("root", keyid)
    assert not set(first) & set(setup.key_ids(field.publisher.open(), "root"))
    field.converges()


def test_after_a_fast_forward_within_reason_a_rotated_key_starts_anew(field):
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
def test_a_clock_years_ahead_that_nobody_vouches_for_is_named_and_mends_itself(field, years):
    field.board.clock.ahead_s, field.board.clock.synced = years * 365.25 * 86400, False
    assert field.refused() is Refusal.CLOCK
    field.board.clock.ahead_s, field.board.clock.synced = 0.0, True
    field.converges()


def test_a_time_service_that_lies_by_ten_years_does_not_poison_the_floor(field):
    field.board.clock.ahead_s = 10 * 365.25 * 86400
    assert field.refused() is Refusal.EXPIRED
    field.board.clock.ahead_s = 0.0
    field.converges()


def test_a_signer_whose_clock_was_years_ahead_shuts_no_board_out(field, tmp_path, monkeypatch):
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
    assert field.board.check().release_seq == 2  # what a set clock contradicted is not held against one that is not
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
