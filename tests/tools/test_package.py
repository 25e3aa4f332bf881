"""The publisher's commands, from a bundle to a stick, and what they refuse."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from pitcore.errors import BundleError, PublishError, UpdateError
from pitcore_tools.cli.package import package
from pitcore_tools.package import patches, publish, stick, variants
from tests.conftest import tiny_card, write_card, write_tiny_bundle
from tests.ota.publisher import DAY, BoardUnderTest, Publisher

PHRASE = "correct horse battery"


class Desk:
    """A publisher at work: folders, and a terminal."""

    def __init__(self, folder):
        self.folder, self.repository, self.keys = folder, folder / "repository", folder / "keys"
        self.phrase = folder / "phrase"
        self.phrase.write_text(PHRASE + "\n")

    def run(self, *arguments, keys=("keys",), **options):
        command = [*map(str, arguments), "--repository", str(self.repository)]
        for name in keys:
            command += ["--keys", str(self.folder / name)]
        if keys:
            command += ["--passphrase-file", str(self.phrase)]
        result = CliRunner().invoke(package, command, **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def init(self, *more):
        return self.run("init", "--channel", "stable", *more)

    def bundle(self, version, **options):
        directory = self.folder / f"bundle-{version}"
        write_tiny_bundle(directory, **options)
        write_card(directory, tiny_card(directory) | {"version": version})
        return directory

    def add(self, version, *more, **options):
        directory = self.folder / f"bundle-{version}"
        return self.run("add", directory if directory.exists() else self.bundle(version), "--json", *more, **options)

    def files(self):
        return {path: path.read_bytes() for path in self.repository.rglob("*") if path.is_file()}

    def verify(self, *more):
        return json.loads(self.run("verify", "--json", *more, keys=()).stdout)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


@pytest.fixture
def begun(desk):
    desk.init()
    return desk


def test_from_a_bundle_to_every_board_and_a_stick(begun, tmp_path):
    first = json.loads(begun.add("1.0.0").stdout)
    begun.run("release", "stable", first["target"], "--percent", 100, "--yes")
    second = json.loads(begun.add("1.1.0").stdout)
    assert second["release"]["release_seq"] == 2
    assert [patch["base_sha256"] for patch in second["release"]["deltas"]] == [sha256_of(begun, first["target"])]
    for percent in (1, 50, 100):
        said = begun.run("release", "stable", second["target"], "--percent", percent, "--yes").stdout
        assert f"-> {percent} % of the boards" in said
        phases = {row["target"]: row["percent"] for row in begun.verify()["phases"]}
        kept = {first["target"]: 100.0} if percent < 100 else {}
        assert phases == {second["target"]: percent} | kept
    begun.run("refresh")
    assert "2  models/tiny-1.1.0.tar  stable 100 %" in begun.run("list", keys=()).stdout
    assert "good for 7.0 days" in begun.run("export-usb", "--folder", tmp_path / "stick", keys=()).stdout
    begun.repository = tmp_path / "stick"
    assert begun.verify("--stick")["files"] == 3  # the archive, the patch to it, the channel
    with pytest.raises(PublishError, match="copy it back"):
        begun.verify()


def sha256_of(desk, target):
    folder, _, name = target.rpartition("/")
    (path,) = (desk.repository / "targets" / folder).glob(f"*.{name}")
    return hashlib.sha256(path.read_bytes()).hexdigest()


class TestKeys:
    def test_they_are_for_their_owner_alone_encrypted_and_outside_the_repository(self, begun):
        keys = sorted(begun.keys.rglob("*.pem"))
        assert len(keys) == 8
        for key in keys:
            assert key.stat().st_mode & 0o777 == 0o600
            assert (b"ENCRYPTED" in key.read_bytes()) == ("offline" in key.parts)
        assert not any(b"PRIVATE" in content for content in begun.files().values())

    def test_others_may_not_read_a_key_that_is_used(self, begun):
        (begun.keys / "online" / "timestamp-1.pem").chmod(0o644)
        with pytest.raises(PublishError, match="chmod 600"):
            begun.run("refresh")

    def test_a_folder_in_which_keys_cannot_be_seen_is_named(self, begun, tmp_path):
        (tmp_path / "stick").mkdir()
        (begun.keys / "other").symlink_to(tmp_path / "stick")
        with pytest.raises(PublishError, match=r"other: a link to a folder is not followed; name the folder itself"):
            begun.run("refresh")

    def test_a_pipe_that_looks_like_a_key_is_refused_before_it_can_hang(self, begun):
        os.mkfifo(begun.keys / "online" / "more.pem")
        with pytest.raises(PublishError, match=r"more\.pem: not a regular file"):
            begun.run("refresh")

    def test_a_wrong_passphrase_says_so(self, begun):
        begun.phrase.write_text("another passphrase")
        with pytest.raises(PublishError, match="another passphrase"):
            begun.add("1.0.0")

    @pytest.mark.parametrize("phrase", ["", "short"])
    def test_a_passphrase_that_protects_nothing_is_refused(self, desk, phrase):
        desk.phrase.write_text(phrase)
        with pytest.raises(PublishError, match="too short"):
            desk.init()
        assert not desk.keys.exists()

    def test_without_a_person_a_passphrase_must_come_from_a_file(self, desk):
        result = CliRunner().invoke(
            package, ["init", "--repository", desk.repository, "--keys", desk.keys, "--channel", "stable"]
        )
        assert "--passphrase-file" in str(result.exception)
        assert not desk.keys.exists()


class TestInit:
    def test_nothing_is_overwritten(self, begun):
        before = begun.files()
        with pytest.raises(PublishError, match="not empty"):
            begun.init()
        begun.repository = begun.folder / "second"
        with pytest.raises(PublishError, match="not empty"):
            begun.init()
        begun.repository = begun.folder / "repository"
        assert begun.files() == before

    @pytest.mark.parametrize("place", ["repository/keys", "."])
    def test_keys_are_not_put_where_they_would_be_published(self, desk, place):
        desk.keys = desk.folder / place
        with pytest.raises(PublishError, match="published from"):
            desk.run("init", "--channel", "stable", keys=(place,))

    def test_keys_are_not_put_where_they_would_be_committed(self, desk):
        subprocess.run(["git", "init", "--quiet", desk.folder / "tree"], check=True)
        with pytest.raises(PublishError, match="committed"):
            desk.run("init", "--channel", "stable", keys=("tree/deep/keys",))
        assert not (desk.folder / "tree" / "deep").exists()

    @pytest.mark.parametrize("channel", ["../x", "Stable", "a" * 40])  # an empty one: tests/cli/test_every_command.py
    def test_a_channel_has_a_plain_name(self, desk, channel):
        with pytest.raises(PublishError, match="small letters"):
            desk.run("init", "--channel", channel)
        assert not desk.keys.exists()


class TestAdd:
    def test_a_model_that_fails_its_golden_vectors_is_not_published(self, begun):
        before = begun.files()
        begun.bundle("1.0.0", golden_shift=0.1)
        with pytest.raises(BundleError, match="golden"):
            begun.add("1.0.0")
        assert begun.files() == before

    def test_one_version_is_one_content(self, begun):
        begun.add("1.0.0")
        with pytest.raises(PublishError, match="--again"):
            begun.add("1.0.0")
        directory = begun.folder / "bundle-1.0.0"
        write_card(directory, tiny_card(directory) | {"version": "1.0.0", "thresholds": {"accept": 0.1, "reject": 0.8}})
        with pytest.raises(PublishError, match="version of its own"):
            begun.add("1.0.0")

    def test_the_way_back_is_the_old_archive_under_a_new_number(self, begun):
        old, new = (json.loads(begun.add(version).stdout)["target"] for version in ("1.0.0", "1.1.0"))
        begun.run("release", "stable", new, "--percent", 100, "--yes")
        with pytest.raises(PublishError, match="no board goes back"):
            begun.run("release", "stable", old, "--percent", 100, "--yes")
        again = json.loads(begun.add("1.0.0", "--again").stdout)
        assert again["release"]["release_seq"] == 3
        assert sha256_of(begun, again["target"]) == sha256_of(begun, old)
        begun.run("release", "stable", again["target"], "--percent", 100, "--yes")

    def test_without_the_online_keys_it_waits_and_refresh_brings_it_out(self, begun):
        added = json.loads(begun.add("1.0.0", keys=("keys/offline",)).stdout)
        assert not added["published"]
        with pytest.raises((PublishError, UpdateError)):
            begun.verify()  # not yet in the snapshot
        begun.run("refresh", keys=("keys/online",))
        assert begun.verify()["files"] == 2

    @pytest.mark.parametrize("fault", ["lost", "rotten"])
    def test_a_patch_is_made_from_nothing_but_the_archive_that_boards_have(self, begun, fault):
        begun.add("1.0.0")
        (archive,) = (begun.repository / "targets" / "models").glob("*.tar")
        content = archive.read_bytes()
        archive.unlink()
        if fault == "rotten":
            archive.write_bytes(content[:-1] + b"x")
        before = begun.files()
        with pytest.raises(PublishError, match="copy it back"):
            begun.add("9.0.0")
        assert begun.files() == before

    def test_without_the_models_key_nothing_changes(self, begun):
        before = begun.files()
        with pytest.raises(PublishError, match="offline keys"):
            begun.add("1.0.0", keys=("keys/online",))
        assert begun.files() == before


class TestWithdraw:
    def test_what_a_channel_names_stays_and_a_number_is_never_used_twice(self, begun):
        begun.add("1.0.0")
        second = json.loads(begun.add("1.1.0").stdout)["target"]
        begun.run("release", "stable", second, "--percent", 1, "--yes")
        with pytest.raises(PublishError, match="release another"):
            begun.run("withdraw", second, "--yes")
        third = json.loads(begun.add("1.2.0").stdout)["target"]
        begun.run("withdraw", third, "--yes")
        assert third not in begun.run("list", keys=()).stdout
        assert json.loads(begun.add("1.3.0").stdout)["release"]["release_seq"] == 4
        with pytest.raises(PublishError, match="not in this repository"):
            begun.run("withdraw", third, "--yes")

    def test_after_a_thief_a_number_above_his_can_be_given(self, begun):
        begun.add("1.0.0")
        with pytest.raises(PublishError, match="used already"):
            begun.add("1.1.0", "--number", 1)
        assert json.loads(begun.add("1.1.0", "--number", 70_000).stdout)["release"]["release_seq"] == 70_000


class TestPatches:
    def test_the_smallest_is_kept(self):
        draw = np.random.default_rng(1)
        base = draw.bytes(200_000)
        full = base[:100_000] + draw.bytes(100) + base[100_000:]
        kept = patches.best_patch(base, full)
        assert len(kept.content) == min(len(patch.content) for patch in patches.candidates(base, full)) < 1000

    def test_one_that_saves_little_is_dropped(self):
        draw = np.random.default_rng(2)
        base = draw.bytes(100_000)
        assert patches.best_patch(base, draw.bytes(100_000)) is None
        assert patches.best_patch(base, base[:60_000] + draw.bytes(40_000)) is not None
        assert patches.best_patch(base, base[:25_000] + draw.bytes(75_000)) is None


class TestRelease:
    def test_a_share_must_be_said(self, begun):
        target = json.loads(begun.add("1.0.0").stdout)["target"]
        result = begun.run("release", "stable", target, "--yes")
        assert result.exit_code == 2
        assert "--percent" in result.output

    @pytest.mark.parametrize("share", ["nan", "inf", "-1", "101"])
    def test_what_is_no_share_is_never_published(self, begun, share):
        target = json.loads(begun.add("1.0.0").stdout)["target"]
        result = begun.run("release", "stable", target, "--percent", share, "--yes")
        assert result.exit_code == 2
        assert "--percent" in result.output
        assert begun.verify()["phases"] == []

    def test_a_channel_that_cannot_be_read_is_replaced_by_a_release(self, begun):
        target = json.loads(begun.add("1.0.0").stdout)["target"]
        path = next((begun.repository / "targets" / "channels").glob("*stable.json"))
        path.write_text(path.read_text().replace("[]", '[{"target": "x", "percent": null, "salt": "12345678"}]'))
        said = begun.run("release", "stable", target, "--percent", 1, "--yes").stdout
        assert "is lost, and this release is written alone" in said
        assert begun.verify()["phases"][0]["percent"] == 1

    def test_a_script_must_say_yes(self, begun):
        target = json.loads(begun.add("1.0.0").stdout)["target"]
        before = begun.files()
        with pytest.raises(PublishError, match="--yes"):
            begun.run("release", "stable", target, "--percent", 1)
        assert begun.files() == before

    def test_a_person_is_asked_and_may_say_no(self, begun, monkeypatch):
        target = json.loads(begun.add("1.0.0").stdout)["target"]
        before = begun.files()
        monkeypatch.setattr("pitcore_tools.cli.package_options.is_asked", lambda: True)
        with pytest.raises(click.Abort):
            begun.run("release", "stable", target, "--percent", 1, input="n\n", standalone_mode=False)
        assert begun.files() == before
        begun.run("release", "stable", target, "--percent", 1, input="y\n", standalone_mode=False)
        assert begun.verify()["phases"][0]["percent"] == 1

    @pytest.mark.parametrize(
        ("channel", "target", "says"),
        [("beta", "models/tiny-1.0.0.tar", "there are stable"), ("stable", "models/tiny-9.tar", "package list")],
    )
    def test_what_is_not_there_says_what_is(self, begun, channel, target, says):
        begun.add("1.0.0")
        with pytest.raises(PublishError, match=says):
            begun.run("release", channel, target, "--percent", 1, "--yes")

    def test_fewer_boards_than_before_says_what_that_does_not_do(self, begun):
        target = json.loads(begun.add("1.0.0").stdout)["target"]
        begun.run("release", "stable", target, "--percent", 50, "--yes")
        assert "keep it" in begun.run("release", "stable", target, "--percent", 0, "--yes").stdout


class TestRotate:
    def test_root_needs_two_of_its_three_keys(self, begun):
        one = begun.folder / "one"
        one.mkdir()
        (begun.keys / "offline" / "root-1.pem").rename(one / "root-1.pem")
        (begun.keys / "offline" / "root-2.pem").rename(begun.folder / "root-2.pem")
        (begun.keys / "offline" / "root-3.pem").rename(begun.folder / "root-3.pem")
        before = begun.files()
        arguments = ("rotate-key", "timestamp", "--new-keys", begun.folder / "new", "--yes")
        with pytest.raises(PublishError, match="enough of the keys of root"):
            begun.run(*arguments, keys=("keys", "one"))
        assert begun.files() == before
        assert not (begun.folder / "new").exists()
        (begun.folder / "root-3.pem").rename(one / "root-3.pem")
        begun.run(*arguments, keys=("keys", "one"))
        begun.verify()

    def test_a_role_of_several_keys_asks_which(self, begun):
        with pytest.raises(PublishError, match="--key"):
            begun.run("rotate-key", "root", "--new-keys", begun.folder / "new", "--yes")

    def test_a_lost_root_key_is_replaced_by_the_other_two(self, begun):
        lost = json.loads((begun.repository / "metadata" / "1.root.json").read_bytes())["signed"]["roles"]["root"]
        done = begun.run("rotate-key", "root", "--key", lost["keyids"][0], "--new-keys", begun.folder / "new", "--yes")
        root = begun.repository / "metadata" / "2.root.json"
        assert f"the root of trust is now {root}: boards follow it by themselves, give it to new ones" in done.stdout
        assert begun.verify()["days_left"]["root"] > 364
        assert (begun.repository / "metadata" / "2.root.json").exists()

    def test_a_new_channel_gets_a_key_of_its_own(self, begun):
        begun.run("add-channel", "beta", "--new-keys", begun.keys)
        assert (begun.keys / "online" / "channel-beta-1.pem").exists()
        with pytest.raises(PublishError, match="there already"):
            begun.run("add-channel", "beta", "--new-keys", begun.keys)
        target = json.loads(begun.add("1.0.0").stdout)["target"]
        begun.run("release", "beta", target, "--percent", 100, "--yes")
        assert begun.verify()["phases"][0]["channel"] == "beta"


class TestVerify:
    def test_a_lost_root_and_an_altered_archive_are_found(self, begun):
        begun.add("1.0.0")
        for _ in range(2):
            begun.run("rotate-key", "timestamp", "--new-keys", begun.keys, "--yes")
        begun.verify()
        (archive,) = (begun.repository / "targets" / "models").iterdir()
        content = archive.read_bytes()
        archive.write_bytes(content[:-1] + b"x")
        with pytest.raises(PublishError, match="copy it back"):
            begun.verify()
        archive.unlink()
        with pytest.raises(PublishError, match="No such file"):
            begun.verify()
        archive.write_bytes(content)
        (begun.repository / "metadata" / "2.root.json").unlink()
        with pytest.raises(PublishError, match="every one"):
            begun.verify()

    def test_a_board_of_another_publisher_would_refuse_it(self, begun, tmp_path):
        (tmp_path / "other").mkdir()
        other = Desk(tmp_path / "other")
        other.init()
        with pytest.raises(UpdateError, match="publisher"):
            begun.verify("--root", other.repository / "metadata" / "1.root.json")


def test_refresh_names_what_waits_for_an_offline_key(tmp_path):
    publisher = Publisher(tmp_path)
    publisher.now += 200 * DAY
    repository = publisher.open("root", "targets", "models")
    assert publish.refresh(repository, ()) == ["root", "targets", "models"]
    assert repository.days_left("channel-stable") > 89


def test_a_stick_holds_what_its_boards_need_and_no_more(tmp_path):
    publisher = Publisher(tmp_path)
    publisher.ship("1.0.0")
    publisher.rotate("timestamp")
    publisher.ship("1.1.0")
    stick.export(publisher.open(), tmp_path / "stick", ["stable"])
    assert len(list((tmp_path / "stick" / "metadata").glob("*.root.json"))) == 2
    names = {path.name.partition(".")[2] for path in (tmp_path / "stick" / "targets" / "models").iterdir()}
    assert "tiny-1.1.0.tar" in names
    assert "tiny-1.0.0.tar" not in names
    board = BoardUnderTest(publisher, tmp_path / "board", (tmp_path / "stick").as_uri())
    offer = board.check()
    for wanted in (offer, *offer.deltas):
        board.repository().fetch(wanted.target, wanted.sha256, wanted.length, tmp_path / "part")
        (tmp_path / "part").unlink()
    with pytest.raises(PublishError, match="no repository"):
        stick.export(publisher.open(), tmp_path / "keys", ["stable"])


def test_a_patch_for_the_bundled_model_is_measured_in_a_process_of_its_own():
    rows = {row.what.split(":")[0]: row for row in variants.measure(variants.DEFAULT)}
    assert rows["last layer retrained"].zstd < 0.02 * rows["last layer retrained"].full
    assert rows["fine-tuned"].bsdiff4 < 0.2 * rows["fine-tuned"].full
    assert rows["everything retrained"].shipped == "full"
    assert all(row.peak_bytes < 64 * 2**20 for row in rows.values() if row.peak_bytes is not None)
    assert variants.table(list(rows.values())).count("\n") == 5


def test_the_command_is_part_of_the_tools():
    done = subprocess.run(
        [sys.executable, "-m", "pitcore_tools", "package", "verify", "--repository", "/nowhere"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("pitcore-tools: /nowhere: no repository here")
    assert Path("/nowhere").exists() is False
