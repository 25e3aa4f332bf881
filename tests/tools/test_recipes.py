"""Tests the options of a recipe: other starts, rates, losses, teachers, labels, processes."""

import csv
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  the field's name for it

from pitcore.errors import ConfigError, DataError
from pitcore_tools.train.augment import augment, normalised
from pitcore_tools.train.dataset import prepare, read_crops, read_relabel, relabelled
from pitcore_tools.train.loop import METRICS, MODEL, SEEN, build_network, load_network, load_split, logits_of, train
from pitcore_tools.train.loss import loss_of, mix, targets_of
from pitcore_tools.train.recipe import load_recipe, recipe_yaml
from tests.tools.conftest import changed


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(tiny_recipe, procedural_crops, tmp_path):
    """Train for an epoch with changes to the tiny recipe; return what the run left."""

    def go(name="run", **changes):
        recipe = changed(tiny_recipe, epochs=1, **changes)
        train(recipe, procedural_crops, tmp_path / name, lambda _: None)
        return torch.load(tmp_path / name / MODEL, weights_only=True)

    return go


def test_a_recipe_may_build_on_another(tiny_recipe, tmp_path):
    (tmp_path / "base.yaml").write_text(recipe_yaml(tiny_recipe))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "own.yaml").write_text("base: ../base.yaml\nseed: 77\n")
    assert load_recipe(tmp_path / "deep" / "own.yaml") == changed(tiny_recipe, seed=77)


def test_recipes_in_a_ring_are_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("base: a.yaml\n")
    with pytest.raises(ConfigError, match="is there a ring"):
        load_recipe(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("labels: [pit, clean]", "labels must be"),
        ("widths: [8, 8]", "four stages"),
        ("architecture: efficientnet_b0", "otherwise give"),
        ("teacher_share: 0.5", "go together"),
        ("teachers: [out/a]", "go together"),
        ("held_out_fold: 3", "must be below folds"),
        ("name: My Net", "name 'My Net' fits no model card"),
        ("version: v2", "version 'v2' fits no model card: give three numbers"),
    ],
)
def test_incompatible_options_of_a_recipe_are_refused(tiny_recipe, tmp_path, changes, said):
    (tmp_path / "base.yaml").write_text(recipe_yaml(tiny_recipe))
    (tmp_path / "own.yaml").write_text(f"base: base.yaml\n{changes}\n")
    with pytest.raises(ConfigError, match=said):
        load_recipe(tmp_path / "own.yaml")


def test_frozen_layers_stay_as_they_were_down_to_their_statistics(run, tiny_recipe):
    before = build_network(tiny_recipe).state_dict()
    after = run(frozen=["conv1", "bn1", "layer1"])
    for name, value in after.items():
        still = name.startswith(("conv1", "bn1", "layer1"))
        assert torch.equal(value, before[name]) == still or "num_batches" in name, name


def test_layers_move_by_their_own_rate(run, tiny_recipe):
    before = build_network(tiny_recipe).state_dict()
    after = run(rates={"layer4": 1e-6, "fc": 1e-2}, weight_decay=0.0)
    moved = {name: float((after[name] - before[name]).abs().max()) for name in ("layer4.1.conv2.weight", "fc.weight")}
    assert 0 < moved["layer4.1.conv2.weight"] < 1e-4
    assert moved["fc.weight"] > 1e-3


def test_a_rate_for_a_layer_that_is_not_there_is_refused(run):
    with pytest.raises(DataError, match="no parameter begins with layer9; this network has conv1, bn1, layer1"):
        run(rates={"layer9": 0.1})


def test_a_run_can_start_from_another(run, tmp_path):
    first = run("first")
    start = tmp_path / "first" / MODEL
    again = run("second", init=str(start), frozen=["conv1", "bn1", "layer", "fc.bias"], learning_rate=1e-6)
    assert torch.equal(again["layer4.0.conv1.weight"], first["layer4.0.conv1.weight"])
    assert torch.allclose(again["fc.weight"], first["fc.weight"], atol=1e-4)


def test_a_student_follows_teachers_that_want_larger_crops(run, tmp_path, procedural_crops):
    run("fold1-teacher", crop_size_px=64)
    taught = run("student", teachers=[str(tmp_path / "fold{fold}-teacher")], teacher_share=0.9)
    alone = run("alone")
    assert not torch.equal(taught["fc.weight"], alone["fc.weight"])
    recipe, network = load_network(tmp_path / "student")
    _, held_out = load_split(recipe, procedural_crops)
    assert np.isfinite(logits_of(network, held_out.pixels, recipe)).all()


def test_a_teacher_that_saw_what_is_held_out_is_refused(run, tmp_path):
    run("teacher", held_out_fold=0)
    for leak in (
        {"teachers": [str(tmp_path / "teacher")], "teacher_share": 0.5},
        {"init": str(tmp_path / "teacher" / MODEL)},
    ):
        with pytest.raises(DataError, match=r"was trained on \d+ of the \d+ crops that are held out here"):
            run("student", **leak)


def test_crops_of_a_teacher_count_as_training_crops_of_its_student(run, tmp_path):
    run("grandmother", held_out_fold=1)
    run("mother", init=str(tmp_path / "grandmother" / MODEL))
    run("other", held_out_fold=0)
    assert set((tmp_path / "grandmother" / SEEN).read_text().split()) <= set(
        (tmp_path / "mother" / SEEN).read_text().split()
    )
    with pytest.raises(DataError, match="held out here"):
        run("child", held_out_fold=0, init=str(tmp_path / "mother" / MODEL))


def test_three_classes_train_with_labels_from_a_file(run, tiny_recipe, procedural_crops, tmp_path):
    training, held_out = load_split(tiny_recipe, procedural_crops)
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["hash", "label"])
        rows.writerows([[name[:16], "maybe"] for name in training.hashes[:10]])
        rows.writerows([[name, "drop"] for name in [*training.hashes[10:15], *held_out.hashes]])
    recipe = changed(tiny_recipe, labels=["clean", "maybe", "pit"], relabel=str(tmp_path / "labels.csv"))
    ours, scored = load_split(recipe, procedural_crops)
    assert (ours.labels[:10] == 1).all()
    assert len(ours) == len(training) - 5
    assert scored.hashes == held_out.hashes, "what is scored is never relabelled"
    assert run("three", labels=recipe.labels, relabel=recipe.relabel)["fc.weight"].shape[0] == 3
    assert '"held_out_pit_recall"' in (tmp_path / "three" / METRICS).read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hash,label\n0123456789abcdef,ripe\n", "line 2: label 'ripe' is not one of clean, pit, drop"),
        ("name,label\na,pit\n", "line 1: no column hash"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_relabel_file_is_one_clear_line(tmp_path, text, said):
    if text is not None:
        (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_relabel(tmp_path / "labels.csv", ["clean", "pit"])


def test_relabelling_touches_no_other_crop(procedural_crops, tiny_recipe):
    crops = prepare(read_crops(procedural_crops), tiny_recipe.spec)
    new = relabelled(crops, {crops.hashes[3][:16]: 1 - int(crops.labels[3])})
    assert (np.flatnonzero(new.labels != crops.labels) == [3]).all()


def test_mixing_blends_inputs_and_targets_alike(tiny_recipe):
    inputs = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 2, 4, 4)
    target = torch.stack([inputs[:, 0, 0, 0] / 7, 1 - inputs[:, 0, 0, 0] / 7], 1)
    mixed, said = mix(inputs, target, changed(tiny_recipe, mixup=0.4), torch.Generator().manual_seed(3))
    assert torch.allclose(mixed[:, 0, 0, 0] / 7, said[:, 0], atol=1e-6)
    assert not torch.equal(mixed, inputs)
    assert (abs(mixed - inputs)[:, 0, 0, 0] <= 3.5 + 1e-5).all(), "the larger share is a crop's own"


def test_targets_sum_to_one_and_follow_the_teachers(tiny_recipe):
    labels, taught = torch.tensor([0, 1]), torch.tensor([[0.5, 0.5], [0.9, 0.1]])
    recipe = changed(tiny_recipe, label_smoothing=0.1, teacher_share=0.5, teachers=["a"])
    target = targets_of(labels, recipe, taught)
    assert torch.allclose(target, torch.tensor([[0.725, 0.275], [0.475, 0.525]]))


def test_the_generalised_loss_lies_between_cross_entropy_and_absolute_error(tiny_recipe):
    logits, target = torch.tensor([[1.0, -0.5], [0.2, 0.1]]), F.one_hot(torch.tensor([1, 0]), 2).float()
    probability = (torch.softmax(logits, 1) * target).sum(1)
    near_zero = loss_of(logits, target, changed(tiny_recipe, loss="generalised", loss_power=1e-3))
    one = loss_of(logits, target, changed(tiny_recipe, loss="generalised", loss_power=1.0))
    assert near_zero == pytest.approx(float(F.cross_entropy(logits, target)), rel=1e-2)
    assert one == pytest.approx(float((1 - probability).mean()), rel=1e-5)


def test_half_turns_leave_edges_along_the_picture(tiny_recipe):
    crops = torch.zeros(16, 2, 128, 128, dtype=torch.uint8)
    crops[:, :, 44:84, 54:74] = 200
    still = {"scale_jitter": 0.0, "shift_px": 0.0, "light_jitter": 0.0, "max_threshold": 0}
    half, free = (
        augment(crops, changed(tiny_recipe, turn=turn, **still), torch.Generator().manual_seed(0))
        for turn in ("half", "any")
    )
    expected = crops[:, :, 40:88, 40:88].float() / 255
    assert torch.allclose(half, expected, atol=1e-3)
    assert not torch.allclose(free, expected, atol=0.1)


def test_blur_smears_along_the_belt_only_and_keeps_the_light(tiny_recipe):
    crops = torch.zeros(8, 2, 128, 128, dtype=torch.uint8)
    crops[:, :, 60:68, 60:68] = 100
    still = {"turn": "half", "scale_jitter": 0.0, "shift_px": 0.0, "light_jitter": 0.0, "max_threshold": 0}
    sharp, blurred = (
        augment(crops, changed(tiny_recipe, blur_px=blur, **still), torch.Generator().manual_seed(0))
        for blur in (0.0, 6.0)
    )
    assert torch.allclose(blurred.sum((2, 3)), sharp.sum((2, 3)), rtol=1e-3)
    assert ((blurred > 0).any(3).sum(2) > (sharp > 0).any(3).sum(2)).any(), "taller"
    assert ((blurred > 0).any(2) == (sharp > 0).any(2)).all(), "as wide"


def test_normalising_gives_imagenets_statistics():
    pixels = torch.tensor([0.485, 0.406]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    assert torch.allclose(normalised(pixels, rgb=False), torch.zeros(1, 2, 4, 4))
    assert torch.allclose(normalised(pixels + 1, rgb=False)[0, :, 0, 0], torch.tensor([1 / 0.229, 1 / 0.225]))


def test_a_picture_is_normalised_with_a_green_of_zeros_between_its_planes():
    seen = normalised(torch.tensor([0.485, 0.406]).view(1, 2, 1, 1).expand(1, 2, 4, 4), rgb=True)
    assert torch.allclose(seen[0, :, 0, 0], torch.tensor([0.0, -0.456 / 0.224, 0.0]))


@pytest.mark.full  # three processes that import torch
def test_two_processes_train_one_network(tiny_recipe, procedural_crops, tmp_path):
    (tmp_path / "recipe.yaml").write_text(recipe_yaml(changed(tiny_recipe, epochs=2)))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command = ["-m", "pitcore_tools", "train", str(tmp_path / "recipe.yaml"), "--data", str(procedural_crops)]
    done = subprocess.run(
        [*launch, *command, "--out", str(tmp_path / "run"), "--threads", "1", "--device", "cpu"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 2/2") == 1, "one process reports"
    assert (tmp_path / "run" / MODEL).exists()
