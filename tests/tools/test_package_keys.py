"""The publisher's keys: how they are made, kept and replaced, and what `verify` finds."""

import json
import os
import subprocess

import pytest
from click.testing import CliRunner

from pitcore.errors import PublishError, UpdateError
from pitcore_tools.cli.package import package
from tests.tools.desk import Desk


class TestKeys:
    def test_keys_are_encrypted_readable_by_their_owner_only_and_outside_the_repository(self, begun):
        keys = sorted(begun.keys.rglob("*.pem"))
        assert len(keys) == 8
        for key in keys:
            assert key.stat().st_mode & 0o777 == 0o600
            assert (b"ENCRYPTED" in key.read_bytes()) == ("offline" in key.parts)
        assert not any(b"PRIVATE" in content for content in begun.files().values())

    def test_a_key_that_others_can_read_is_refused(self, begun):
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
