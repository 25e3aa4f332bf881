"""Experiments: what is written down can be run, a broken run goes on, and tables come from logits alone."""

import fcntl
import json
import os
import shutil
import time
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from pitcore.camera.crops import fold_of
from pitcore.errors import ConfigError, DataError
from pitcore_tools.cli.experiments import COMMITTED
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.distil.catalogue import student
from pitcore_tools.distil.crops import FOLDS
from pitcore_tools.distil.students import build_student
from pitcore_tools.documents import filled
from pitcore_tools.evaluate.logits import HeldOut, merged, read_logits, write_logits
from pitcore_tools.experiments import experiment as experiments
from pitcore_tools.experiments import stages
from pitcore_tools.experiments.cost import cost_of
from pitcore_tools.experiments.report import TABLES
from pitcore_tools.experiments.run import Workplace, read_results, run_experiment
from pitcore_tools.tables import HASH_DIGITS
from pitcore_tools.train.dataset import read_crops, read_relabel
from pitcore_tools.train.loop import CONFIG, METRICS, MODEL
from tests.tools.conftest import TINY, changed

ROOT = Path(__file__).parents[2]
ROWS = {
    "title": "t",
    "groups": ["accuracy"],
    "theirs": None,
    "procedural": 0,
    "notes_errors": False,
    "expected": "",
    "remark": "",
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def workplace(folder, crops):
    return Workplace(crops, folder / "runs", folder / "students", folder / "results", "cpu", folder / "configs")


def make_workplace(tmp_path, procedural_crops):
    """A workplace with two experiments of two stages on three folds of tiny nets."""
    configs = tmp_path / "configs"
    configs.mkdir()
    recipe = msgspec.to_builtins(changed(TINY, epochs=1))
    del recipe["name"], recipe["held_out_fold"]
    second = recipe | {
        "labels": ["clean", "maybe", "pit"],
        "init": "{runs}/one/fold{fold}/model_best.pt",
        "relabel": "{runs}/one/fold{fold}/errors.csv",
    }
    for name, folds, content in (("one", [0, 1, 2], recipe), ("two", [1], second)):
        row = ROWS | {"folds": folds, "notes_errors": name == "one", "recipe": content}
        (configs / f"{name}.yaml").write_text(yaml.safe_dump(row))
    return workplace(tmp_path, procedural_crops)


@pytest.fixture
def place(tmp_path, procedural_crops):
    return make_workplace(tmp_path, procedural_crops)


@pytest.fixture(scope="module")
def first_stage(tmp_path_factory, procedural_crops):
    """The folder of a workplace where the first experiment has run."""
    folder = tmp_path_factory.mktemp("first")
    assert go("one", make_workplace(folder, procedural_crops))
    return folder


@pytest.fixture
def done(tmp_path, first_stage, procedural_crops):
    """A workplace of one's own where the first experiment has run."""
    shutil.copytree(first_stage, tmp_path, dirs_exist_ok=True)
    return workplace(tmp_path, procedural_crops)


def go(name, place, lines=None):
    return run_experiment(name, place, (lines if lines is not None else []).append, lambda _recipe, _figures: None)


@pytest.mark.parametrize("name", experiments.names())
def test_every_shipped_experiment_has_a_sound_recipe_for_each_fold(name):
    found = experiments.load(name)
    for fold in found.folds:
        assert experiments.recipe_of(name, found, experiments.CONFIGS, fold).held_out_fold == fold


def test_the_users_table_is_whole():
    rows = [experiments.load(name) for name in experiments.names()]
    theirs = sorted(row.theirs.accuracy for row in rows if "user" in row.groups)
    assert theirs == [0.8842, 0.9135, 0.9192, 0.9266, 0.9299, 0.938, 0.9396, 0.9405]
    assert all(len(row.folds) == 5 for row in rows if row.title.startswith("ResNet18, aug"))


def test_what_an_experiment_uses_is_run_before_it():
    order = experiments.in_order()
    assert sorted(order) == experiments.names()
    assert order.index("stage-one") < order.index("stage-two")
    assert order.index("procedural-resnet50") < order.index("user-resnet50-cosine")


def test_a_whole_experiment_leaves_runs_and_the_logits_of_every_crop_once(done):
    run = done.runs / "one" / "fold1"
    assert {MODEL, METRICS, CONFIG} <= {path.name for path in run.iterdir()}
    assert json.loads((run / METRICS).read_text())["epochs"] == 1
    joined = read_logits(done.results / "one.csv")
    assert sorted(joined.hashes) == sorted(crop.hash[:HASH_DIGITS] for crop in read_crops(done.data))
    assert joined.has_int8
    for name, fold in zip(joined.hashes, joined.folds, strict=True):
        assert int(name[:8], 16) % 3 == fold


def test_a_student_is_scored_with_its_own_weights(tmp_path, procedural_crops):
    place = workplace(tmp_path, procedural_crops)
    place.configs.mkdir()
    row = ROWS | {"folds": [3], "notes_errors": False, "student": "quarter-fine-64-taught"}
    (place.configs / "student.yaml").write_text(yaml.safe_dump(row))
    with pytest.raises(DataError, match=r"fold3/weights\.pt"):
        go("student", place)
    network = build_student(student("quarter-fine-64-taught"))
    weights = place.students / "quarter-fine-64-taught" / "fold3" / "weights.pt"
    weights.parent.mkdir(parents=True)
    torch.save(network.state_dict(), weights)
    assert go("student", place)
    scored = read_logits(place.results / "student.csv")
    crops = {crop.hash[:HASH_DIGITS]: crop for crop in read_crops(procedural_crops)}
    assert scored.hashes == sorted(name for name in crops if fold_of(name, FOLDS) == 3)
    assert scored.has_int8
    torch.save({name: value * 1.1 for name, value in network.state_dict().items()}, weights)  # it learned again
    later = time.time() + 60.0
    os.utime(weights, (later, later))
    assert go("student", place)
    assert not np.array_equal(read_logits(place.results / "student.csv").margins, scored.margins)


@pytest.mark.parametrize("both", [{}, {"recipe": {"epochs": 1}, "student": "quarter-fine-64-taught"}])
def test_an_experiment_has_either_a_recipe_or_a_student(tmp_path, both):
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(ROWS | {"folds": [0]} | both))
    with pytest.raises(ConfigError, match="either a recipe or a student"):
        experiments.load("x", tmp_path)


def test_a_second_stage_starts_from_the_first_and_knows_its_errors(done):
    errors = read_relabel(done.runs / "one" / "fold1" / "errors.csv", ["clean", "maybe", "pit"])
    assert errors, "an epoch is too short to get every crop right"
    assert set(errors.values()) == {1}
    assert go("two", done)
    p_pit = 1 / (1 + np.exp(-read_logits(done.results / "two.csv").float_margins))
    p_maybe = 1 / (1 + np.exp(-read_logits(done.results / "two.maybe.csv").float_margins))
    assert (p_pit + p_maybe < 1).all()
    assert (p_maybe > 0).all()


def test_a_second_stage_without_its_first_says_what_is_missing(place):
    with pytest.raises(DataError, match=r"one/fold1"):
        go("two", place)


def test_a_finished_fold_is_not_trained_again(done):
    model = done.runs / "one" / "fold0" / MODEL
    before = model.stat().st_mtime_ns
    lines = []
    assert go("one", done, lines)
    assert model.stat().st_mtime_ns == before
    assert lines == []


def test_a_fold_that_another_process_trains_is_left_to_it(done):
    busy = done.runs / "one" / "fold1"
    shutil.rmtree(busy)
    shutil.rmtree(done.results)
    busy.mkdir()
    lines = []
    with (busy / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert not go("one", done, lines)
    assert "one, fold 1: another process works on it" in lines
    assert not (busy / MODEL).exists()
    assert not (done.results / "one.csv").exists(), "two folds of three are no result"
    assert go("one", done)


def test_folds_of_an_earlier_run_on_another_machine_can_be_kept(done):
    before = read_results("one", done.results)
    shutil.rmtree(done.runs / "one")
    parts = [before.of_fold(fold) for fold in (0, 2)]
    write_logits(done.results / "one.csv", merged(parts))
    assert run_experiment("one", done, lambda _: None, lambda *_: None, keeps=True)
    assert [path.parent.name for path in (done.runs / "one").glob(f"*/{MODEL}")] == ["fold1"]
    after = read_results("one", done.results)
    for fold, part in zip((0, 2), parts, strict=True):
        assert after.of_fold(fold).hashes == part.hashes
        assert after.of_fold(fold).float_margins.tolist() == part.float_margins.tolist()
    assert sorted(set(after.folds.tolist())) == [0, 1, 2]


def test_single_folds_can_be_asked_for(place):
    assert not run_experiment("one", place, lambda _: None, lambda *_: None, [2])
    assert [path.parent.name for path in (place.runs / "one").glob(f"*/{MODEL}")] == ["fold2"]
    with pytest.raises(DataError, match="one: has no fold 7; it has 0, 1, 2"):
        run_experiment("one", place, lambda _: None, lambda *_: None, [7])


def test_an_unknown_experiment_and_a_broken_file_are_named(place):
    with pytest.raises(ConfigError, match="no experiment three; there are one, two"):
        go("three", place)
    (place.configs / "three.yaml").write_text("title: [\n")
    with pytest.raises(ConfigError, match=r"three\.yaml"):
        go("three", place)
    (place.configs / "three.yaml").write_text(yaml.safe_dump(ROWS | {"folds": [0], "recipe": {}, "hue": 1}))
    with pytest.raises(ConfigError, match="hue"):
        go("three", place)


def drawn(seed, distance=2.0, count=400):
    rng = np.random.default_rng(7)
    hashes = [f"{value:016x}" * 4 for value in np.sort(rng.integers(1, 2**62, count))]
    labels = rng.integers(0, 2, count)
    margins = (labels * 2 - 1) * distance + np.random.default_rng(seed).normal(0.0, 1.5, count)
    return HeldOut(hashes, np.arange(count) % 5, labels, margins, margins + 0.01)


def test_every_table_says_what_was_not_run_and_fills_up_with_results(tmp_path):
    assert TABLES["user"](tmp_path).count("not run") == 8
    write_logits(tmp_path / "user-resnet18.csv", drawn(1))
    table = TABLES["user"](tmp_path)
    assert table.count("not run") == 7
    right = int(((drawn(1).float_margins > 0) == (drawn(1).labels == 1)).sum())
    assert f"{right / 400:.2%}" in table
    assert "Not run: stage-one" in TABLES["stages"](tmp_path)
    for seed, name in enumerate(("half-pooled-80", "half-pooled-64")):
        write_logits(tmp_path / f"{name}.csv", drawn(seed))
    assert "points (p = " in TABLES["accuracy"](tmp_path)
    assert "wrong by every net" in TABLES["agreement"](tmp_path)
    assert "`half-pooled-64`" in TABLES["thresholds"](tmp_path)
    nets = sum("frontier" in experiments.load(name).groups for name in experiments.names())
    assert TABLES["frontier"](tmp_path).count("not run") == nets - 3


def test_the_stages_are_compared_at_equal_shares(tmp_path):
    for seed, name in enumerate(("stage-one", "stage-one-again", "stage-two", "half-pooled-80")):
        write_logits(tmp_path / f"{name}.csv", drawn(seed))
    write_logits(tmp_path / "stage-two.maybe.csv", drawn(9, distance=-4.0))
    table = TABLES["stages"](tmp_path)
    assert table.count("tiers at the same shares") == 3
    assert "Of " in table.splitlines()[-1]


def test_tables_are_put_where_the_document_wants_them(tmp_path):
    document = tmp_path / "experiments.md"
    document.write_text("a\n<!-- table: stages -->\nold\n<!-- end -->\nz\n")
    arguments = ["experiments", "report", "--results", str(tmp_path), "--write", str(document)]
    CliRunner().invoke(pitcore_tools, arguments, catch_exceptions=False)
    text = document.read_text()
    assert text.startswith("a\n<!-- table: stages -->\nNot run: ")
    assert text.endswith("<!-- end -->\nz\n")
    assert "old" not in text
    document.write_text("<!-- table: user -->")
    with pytest.raises(DataError, match="has no <!-- end -->"):
        CliRunner().invoke(pitcore_tools, arguments, catch_exceptions=False)


def test_production_thresholds_are_applied_in_their_order():
    pit, maybe = np.array([2.0, 1.0, -3.0, -0.5]), np.array([-3.0, -2.0, -3.0, -0.5])
    assert stages.three_class_rule(pit, maybe).tolist() == [stages.REJECT, stages.REVIEW, stages.ACCEPT, stages.REVIEW]


def test_tiers_take_their_places_from_other_folds():
    scores, groups = np.arange(100.0), np.repeat([0, 1], 50)
    rule = stages.tier_rule(scores, groups, 0.2, 0.1)
    assert (rule[:50] == stages.ACCEPT).all(), "the first fold lies below everything in the second"
    assert (rule[50:] == stages.REJECT).all()


def test_disagreement_of_two_nets_is_doubt():
    rule = stages.disagreement_rule(np.array([1.0, -1.0, 1.0]), np.array([1.0, -1.0, -1.0]))
    assert rule.tolist() == [stages.REJECT, stages.ACCEPT, stages.REVIEW]


def test_an_outcome_counts_what_passes_and_what_is_lost():
    found = stages.outcome(np.array([1, 1, 0, 0, 0]), np.array([0, 2, 2, 1, 0]))
    assert (found.missed.hits, found.missed.of) == (1, 2)
    assert (found.lost.hits, found.lost.of) == (1, 3)
    assert found.review.value == 0.2


def test_the_cost_of_resnet18_is_the_published_one():
    recipe = changed(TINY, widths=[], crop_size_px=96, labels=["clean", "pit"])
    cost = cost_of(recipe)
    assert cost.parameters == 11_689_512 - 1000 * 513 + 2 * 513 - 64 * 49  # less ImageNet's classes and one plane
    stem = 48 * 48 * 49 * 64 * 2
    assert stem < cost.macs < 1.82e9 * (96 / 224) ** 2 * 1.05


def test_the_document_holds_the_tables_that_the_committed_logits_give():
    text = (ROOT / "docs" / "experiments.md").read_text()
    tables = {name: partial(make, COMMITTED) for name, make in TABLES.items()}
    assert filled(text, tables) == text, "run `pitcore-tools experiments report --write docs/experiments.md`"
