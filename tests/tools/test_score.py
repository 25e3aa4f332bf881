"""Models scored on any labelled folder, and procedural folders to score them on."""

import json
import shutil

import pytest
from click.testing import CliRunner

from pitcore.camera.crops import fold_of, read_crop
from pitcore.emulator.single import render_crop
from pitcore.errors import DataError
from pitcore.model_card import DEFAULT_BUNDLE
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.evaluate import score as score_module
from pitcore_tools.evaluate.logits import read_logits
from pitcore_tools.quantise.bundle import rewrite_card
from pitcore_tools.train.dataset import read_crops
from pitcore_tools.train.loop import train
from pitcore_tools.train.procedural import draw
from pitcore_tools.train.recipe import load_recipe
from tests.tools.conftest import TINY, changed


def called(*arguments):
    return CliRunner().invoke(pitcore_tools, [str(argument) for argument in arguments], catch_exceptions=False).output


def test_drawn_crops_are_those_of_the_renderer_and_lie_in_their_class(tmp_path):
    assert called("draw", "--out", tmp_path / "drawn", "--count", 6, "--seed", 9).endswith("6 crops of seed 9\n")
    crops = read_crops(tmp_path / "drawn")
    assert [crop.label for crop in crops] == [0, 0, 0, 1, 1, 1]
    assert (read_crop(tmp_path / "drawn" / "cherry_pit" / "procedural-9-000003.png") == render_crop(9, 3)[0]).all()


def test_drawing_again_adds_the_missing_crops_and_never_mixes_seeds(tmp_path):
    list(draw(tmp_path / "drawn", 9, 4))
    first = tmp_path / "drawn" / "cherry_clean" / "procedural-9-000000.png"
    before = first.stat().st_mtime_ns
    assert list(draw(tmp_path / "drawn", 9, 6)) == [1, 2, 3, 4, 5, 6]
    assert first.stat().st_mtime_ns == before
    assert len(read_crops(tmp_path / "drawn")) == 6
    with pytest.raises(DataError, match="which seed 8 did not draw"):
        list(draw(tmp_path / "drawn", 8, 4))


def test_the_bundled_net_classifies_unseen_procedural_cherries(procedural_crops):
    """Trained on real crops alone; if this falls, the renderer has drifted away from real cherries."""
    found = json.loads(called("score", DEFAULT_BUNDLE, "--data", procedural_crops, "--json"))
    assert found["accuracy"]["value"] >= 0.85
    assert found["crops"] == found["accuracy"]["of"] == 120
    assert {"pits_that_pass", "clean_rejected", "review"} <= set(found)


def test_margins_are_equal_to_the_bit_on_one_core_and_on_several(procedural_crops, monkeypatch):
    found = set()
    for cores in (1, 2, 3, 4):
        monkeypatch.setattr(score_module, "usable_cores", lambda cores=cores: cores)
        found.add(score_module.score(DEFAULT_BUNDLE, procedural_crops).held_out.int8_margins.tobytes())
    assert len(found) == 1


def test_a_run_is_scored_in_float_and_says_what_it_was_trained_on(procedural_crops, tmp_path):
    train(changed(TINY, epochs=1), procedural_crops, tmp_path / "run", lambda _: None)
    said = called("score", tmp_path / "run", "--data", procedural_crops, "--logits", tmp_path / "logits.csv")
    seen = len((tmp_path / "run" / "trained_on.txt").read_text().split())
    assert f"it was trained on {seen} of them" in said
    logits = read_logits(tmp_path / "logits.csv")
    assert len(logits.labels) == 120
    assert not logits.has_int8


def test_a_bundle_may_have_been_trained_on_the_crops_outside_its_held_out_fold(procedural_crops, tmp_path):
    recipe = load_recipe(DEFAULT_BUNDLE / "config.yaml")
    folds, fold = recipe.folds, recipe.held_out_fold
    outside = sum(fold_of(crop.hash, folds) != fold for crop in read_crops(procedural_crops))
    found = json.loads(called("score", DEFAULT_BUNDLE, "--data", procedural_crops, "--json"))
    assert 0 < found["trained_on"] == outside < 120
    said = " ".join(called("score", DEFAULT_BUNDLE, "--data", procedural_crops).split())
    assert f"may have been trained on {outside} of them, those outside fold {fold} of {folds}" in said
    bundle = shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle")
    rewrite_card(bundle, "9.0.0", {"config.yaml": b"name: cherry-resnet18\n"})
    assert json.loads(called("score", bundle, "--data", procedural_crops, "--json"))["trained_on"] is None
    assert "it is not known which of them" in called("score", bundle, "--data", procedural_crops)


def test_a_run_that_recorded_nothing_is_not_called_untrained(procedural_crops, tmp_path):
    train(changed(TINY, epochs=1), procedural_crops, tmp_path / "run", lambda _: None)
    (tmp_path / "run" / "trained_on.txt").unlink()
    found = json.loads(called("score", tmp_path / "run", "--data", procedural_crops, "--json"))
    assert found["trained_on"] is None
