"""The publisher's commands, from a bundle to a stick, and what they refuse."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from pitcore.errors import BundleError, PublishError, UpdateError
from pitcore.model_card import load_bundle
from pitcore_tools.cli.package import package
from pitcore_tools.package import patches, publish, stick, variants
from tests.conftest import ROOT, tiny_card, write_card
from tests.ota.publisher import DAY, BoardUnderTest, Publisher


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

    def test_going_back_publishes_the_old_archive_under_a_new_number(self, begun):
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

    def test_after_a_key_theft_a_higher_release_number_can_be_chosen(self, begun):
        begun.add("1.0.0")
        with pytest.raises(PublishError, match="used already"):
            begun.add("1.1.0", "--number", 1)
        assert json.loads(begun.add("1.1.0", "--number", 70_000).stdout)["release"]["release_seq"] == 70_000


class TestPatches:
    def test_the_smallest_patch_is_kept(self):
        draw = np.random.default_rng(1)
        base = draw.bytes(200_000)
        full = base[:100_000] + draw.bytes(100) + base[100_000:]
        kept = patches.best_patch(base, full)
        assert len(kept.content) == min(len(patch.content) for patch in patches.candidates(base, full)) < 1000

    def test_a_patch_that_saves_little_is_dropped(self):
        draw = np.random.default_rng(2)
        base = draw.bytes(100_000)
        assert patches.best_patch(base, draw.bytes(100_000)) is None
        assert patches.best_patch(base, base[:60_000] + draw.bytes(40_000)) is not None
        assert patches.best_patch(base, base[:25_000] + draw.bytes(75_000)) is None


class TestRelease:
    def test_a_rollout_needs_a_share(self, begun):
        target = json.loads(begun.add("1.0.0").stdout)["target"]
        result = begun.run("release", "stable", target, "--yes")
        assert result.exit_code == 2
        assert "--percent" in result.output

    @pytest.mark.parametrize("share", ["nan", "inf", "-1", "101"])
    def test_an_invalid_share_is_never_published(self, begun, share):
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

    def test_a_script_needs_the_option_yes(self, begun):
        target = json.loads(begun.add("1.0.0").stdout)["target"]
        before = begun.files()
        with pytest.raises(PublishError, match="--yes"):
            begun.run("release", "stable", target, "--percent", 1)
        assert begun.files() == before

    def test_a_person_is_asked_for_confirmation(self, begun, monkeypatch):
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
    def test_an_unknown_channel_or_release_is_refused_with_the_known_ones(self, begun, channel, target, says):
        begun.add("1.0.0")
        with pytest.raises(PublishError, match=says):
            begun.run("release", channel, target, "--percent", 1, "--yes")

    def test_a_smaller_share_warns_that_installed_boards_keep_the_model(self, begun):
        target = json.loads(begun.add("1.0.0").stdout)["target"]
        begun.run("release", "stable", target, "--percent", 50, "--yes")
        assert "keep it" in begun.run("release", "stable", target, "--percent", 0, "--yes").stdout


def test_refresh_names_what_waits_for_an_offline_key(tmp_path):
    publisher = Publisher(tmp_path)
    publisher.now += 200 * DAY
    repository = publisher.open("root", "targets", "models")
    assert publish.refresh(repository, ()) == {"root": 165.0, "targets": 165.0, "models": 165.0}
    assert repository.days_left("channel-stable") > 89


@pytest.mark.parametrize(
    ("days", "code", "line"),
    [
        (100, 0, None),
        (300, 0, "root: expires in 65 days"),
        (336, 3, "root: expires in 29 days"),
        (366, 3, "root: HAS EXPIRED, boards refuse every update"),
    ],
)
def test_refresh_publishes_but_ends_with_3_when_an_offline_key_is_needed_soon(tmp_path, monkeypatch, days, code, line):
    publisher = Publisher(tmp_path)
    publisher.now += days * DAY
    online = publisher.open("root", "targets", "models")
    monkeypatch.setattr("pitcore_tools.cli.package.open_repository", lambda *_: online)  # for its clock
    words = ["refresh", "--repository", str(publisher.directory), "--keys", str(publisher.keys)]
    done = CliRunner().invoke(package, words)
    assert done.exit_code == code
    assert publisher.open().days_left("timestamp") == 7.0
    said = [f"{line}; sign it with `pitcore-tools package refresh root` and its key"] if line else []
    assert [one for one in done.output.splitlines() if one.startswith("root:")] == said
    publisher.refresh("root", "targets", "models")
    assert CliRunner().invoke(package, [*words, "--json"]).exit_code == 0


def test_a_stick_is_good_until_the_first_of_its_roles_expires(tmp_path, monkeypatch):
    publisher = Publisher(tmp_path)
    publisher.now += 362 * DAY
    publisher.refresh("models", "targets", "channel-stable")
    repository = publisher.open()
    monkeypatch.setattr("pitcore_tools.cli.package.open_repository", lambda *_: repository)  # for its clock
    words = ["export-usb", "--folder", "--repository", str(publisher.directory), str(tmp_path / "stick")]
    assert "good for 3.0 days" in CliRunner().invoke(package, words).output


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


def figures(text):
    """Rows of the table of deltas: what, sizes in kB, and the patch that is shipped; not memory and time."""
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if " kB | " in line]
    return {what: ([int(size.split()[0]) for size in sizes], shipped) for what, *sizes, shipped, _, _ in cells}


def assert_figures_of_the_document(rows):
    said = figures((ROOT / "docs" / "updates_publisher.md").read_text(encoding="utf-8"))
    for what, (sizes, shipped) in figures(variants.table(rows)).items():
        assert said[what][0] == pytest.approx(sizes, rel=0.02, abs=1), what  # zstd's versions differ a little
        assert said[what][1] == shipped, what


def test_a_new_last_layer_has_the_patch_that_the_document_says():
    assert f"`{load_bundle(variants.DEFAULT).label}`" in (ROOT / "docs" / "updates_publisher.md").read_text("utf-8")
    (row,) = variants.measure(variants.DEFAULT, "last layer")
    assert 0 < row.peak_bytes < 64 * 2**20
    assert_figures_of_the_document([row])


@pytest.mark.full
def test_every_way_to_a_new_model_has_the_patch_that_the_document_says():
    rows = variants.measure(variants.DEFAULT)
    assert all(row.peak_bytes < 64 * 2**20 for row in rows if row.peak_bytes is not None)
    assert len(figures(variants.table(rows))) == 4
    assert_figures_of_the_document(rows)


def test_the_command_is_part_of_the_tools():
    command = [sys.executable, "-m", "pitcore_tools", "package", "verify", "--repository", "/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 2
    assert done.stderr.startswith("pitcore-tools: /nowhere: no repository here")
    assert Path("/nowhere").exists() is False
