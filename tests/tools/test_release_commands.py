"""The way to a release by its commands: the card's reference, a rescored archive, and the gate before `package add`."""

import json
import subprocess
import sys

import msgspec
import pytest

pytest.importorskip("pyarrow", reason="pip install 'pitcore-tools[archive]'")

from pitcore.camera.crops import encode_crop
from pitcore.emulator.single import render_crop
from pitcore.errors import DataError, PublishError
from pitcore.model_card import load_bundle
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.train.recipe import recipe_yaml
from tests.cli.program import assert_one_clear_line
from tests.conftest import ROOT, tiny_card, write_card, write_tiny_bundle
from tests.tools.conftest import TINY
from tests.tools.desk import Desk
from tests.tools.test_rescore import report_of, shards

WIDE = "--gate-flips", "1.0", "--gate-clean", "1.0"
BOARDS = "--point", "strict", "--plain"


def tool(*words):
    """Run ``pitcore-tools`` here; its errors are raised."""
    pitcore_tools.main([str(word) for word in words], standalone_mode=False)


def counts(figure):
    return sum(figure.clean) + sum(figure.pit)


class TestReference:
    def test_reference_counts_every_crop_of_the_fold_and_does_not_change_the_network(
        self, tiny_bundle, procedural_crops
    ):
        before = load_bundle(tiny_bundle)
        network = (tiny_bundle / "model.onnx").read_bytes()
        tool("reference", tiny_bundle, "1.2.4", "--data", procedural_crops)
        after = load_bundle(tiny_bundle)
        found = after.card.reference
        assert found.how == "all crops: 120, 60 with a pit"
        assert set(found.figures) == {"pit_probability", "area_px", "mean_top", "mean_bottom"}
        for figure in found.figures.values():
            assert (counts(figure), sum(figure.pit)) == (120, 60)
            assert len(figure.clean) == len(figure.edges) + 1
        assert (tiny_bundle / "model.onnx").read_bytes() == network
        assert (before.card.version, after.card.version) == ("1.2.3", "1.2.4")
        assert after.card.points == before.card.points
        assert after.sha256 != before.sha256

    def test_only_crops_that_were_kept_from_training_count_if_asked(self, tiny_bundle, procedural_crops):
        sizes = []
        for fold in range(3):
            recipe = msgspec.structs.replace(TINY, held_out_fold=fold)
            (tiny_bundle / "config.yaml").write_text(recipe_yaml(recipe))
            write_card(tiny_bundle, tiny_card(tiny_bundle))
            tool("reference", tiny_bundle, f"2.0.{fold}", "--data", procedural_crops, "--held-out")
            reference = load_bundle(tiny_bundle).card.reference
            assert reference.how.startswith(f"crops of fold {fold} of 3: ")
            sizes.append(counts(reference.figures["area_px"]))
        assert sum(sizes) == 120
        assert min(sizes) > 0

    def test_a_folder_without_pits_changes_nothing(self, tmp_path, tiny_bundle):
        for index in range(0, 8, 2):
            pixels, _ = render_crop(7, index)
            for name in ("cherry_clean", "cherry_pit"):
                (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / "cherry_clean" / f"{index}.png").write_bytes(encode_crop(pixels))
        before = (tiny_bundle / "card.json").read_bytes()
        with pytest.raises(DataError, match="pit"):
            tool("reference", tiny_bundle, "1.2.4", "--data", tmp_path / "data")
        assert (tiny_bundle / "card.json").read_bytes() == before


@pytest.fixture
def desk(tmp_path):
    """A publisher, a bundle, and its report over an archive of which the boards called a third pits."""
    desk = Desk(tmp_path)
    desk.init()
    drawn = [encode_crop(render_crop(7, index)[0]) for index in range(24)]
    desk.archive = shards(tmp_path / "archive", drawn, verdicts=("clean", "pit", "clean"))
    desk.report = rescored(desk, desk.bundle("1.0.0"), "rescored")
    return desk


def rescored(desk, bundle, name):
    """Rescore the archive with a bundle; return the report."""
    tool("rescore", desk.archive, "--bundle", bundle, "--output", desk.folder / name, *BOARDS)
    return desk.folder / name / "report.json"


def flips(bundle, intercept):
    """Let a tiny bundle call more cherries pits."""
    card = json.loads((bundle / "card.json").read_text())
    card["calibration"]["intercept"] = intercept
    (bundle / "card.json").write_text(json.dumps(card))
    return bundle


class TestGate:
    def test_a_model_that_changes_little_is_added(self, desk):
        bundle = desk.bundle("1.1.0")
        report = rescored(desk, bundle, "first")
        lines = (report.parent / "verdicts.jsonl").read_text().splitlines()
        drawn = [encode_crop(render_crop(7, index)[0]) for index in range(24)]
        verdicts = [json.loads(line)["verdict"] for line in lines]
        desk.archive = shards(desk.folder / "own", drawn, verdicts=verdicts)  # the boards judged as it does
        report = rescored(desk, bundle, "same")
        assert report_of(report.parent)["stopped"] > 0
        assert report_of(report.parent)["flipped"] == 0
        added = json.loads(desk.add("1.1.0", "--gate", report).stdout)
        assert added["target"] == "models/tiny-1.1.0.tar"

    def test_a_model_that_flips_more_than_the_limit_is_refused_and_nothing_is_published(self, desk):
        bundle = flips(desk.bundle("1.1.0"), 60.0)  # it stops every cherry
        report = rescored(desk, bundle, "many")
        assert report_of(report.parent)["flipped"] == 16
        before = desk.files()
        with pytest.raises(PublishError, match=r"16 of 24 verdicts would change \(66\.67%\), the limit is 5\.00%"):
            desk.add("1.1.0", "--gate", report)
        assert desk.files() == before
        desk.add("1.1.0", "--gate", report, *WIDE)  # a person looked at the report, and allows it
        assert desk.files() != before

    def test_a_report_of_another_model_does_not_open_the_release_gate(self, desk):
        desk.bundle("1.1.0")
        before = desk.files()
        with pytest.raises(PublishError, match=r"is of tiny@1\.0\.0 .*not of tiny@1\.1\.0; rescore again"):
            desk.add("1.1.0", "--gate", desk.report, *WIDE)
        assert desk.files() == before

    def test_a_report_without_comparisons_does_not_open_the_release_gate(self, desk, tmp_path):
        crops = tmp_path / "crops"
        crops.mkdir()
        (crops / "one.png").write_bytes(encode_crop(render_crop(7, 0)[0]))
        tool("rescore", crops, "--bundle", desk.folder / "bundle-1.0.0", "--output", tmp_path / "none", *BOARDS)
        with pytest.raises(PublishError, match=r"no crop of the archive has a verdict to compare with"):
            desk.add("1.0.0", "--gate", tmp_path / "none" / "report.json", *WIDE)

    def test_a_refusal_is_one_clear_line(self, desk, tmp_path):
        words = ["add", write_tiny_bundle(tmp_path / "other"), "--repository", desk.repository, "--keys", desk.keys]
        words += ["--passphrase-file", desk.phrase, "--gate", desk.report]
        command = [sys.executable, "-m", "pitcore_tools", "package", *map(str, words)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert_one_clear_line(done.returncode and _as_pitcore(done), "report.json", "rescore again")


def _as_pitcore(done):
    """The helper knows the board's program; the workstation's differs in its name."""
    assert done.stderr.startswith("pitcore-tools: ")
    done.stderr = done.stderr.replace("pitcore-tools: ", "pitcore: ", 1)
    return done
