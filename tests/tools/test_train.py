import json
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from pitcore.camera.crops import fold_of, load_labelled
from pitcore.errors import ConfigError, DataError
from pitcore.preprocess.prepare import CropSpec
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.train.augment import augment
from pitcore_tools.train.dataset import in_fold, prepare, read_crops, split
from pitcore_tools.train.loop import CHECKPOINT, MODEL, SEEN, train
from pitcore_tools.train.recipe import load_recipe, recipe_yaml
from tests.camera.belts import write_crop
from tests.tools.conftest import changed

SPEC = CropSpec(48, "centre", 2)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(run):
    return torch.load(run / MODEL, weights_only=True)


def test_a_run_is_reproducible(tiny_recipe, procedural_crops, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    short = changed(tiny_recipe, epochs=2)
    train(short, procedural_crops, first, lambda _: None)
    train(short, procedural_crops, second, lambda _: None)
    assert all(torch.equal(value, weights(second)[name]) for name, value in weights(first).items())


def test_another_seed_gives_another_model(tiny_recipe, procedural_crops, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    short = changed(tiny_recipe, epochs=1)
    train(short, procedural_crops, first, lambda _: None)
    train(changed(short, seed=4), procedural_crops, second, lambda _: None)
    assert not torch.equal(weights(first)["conv1.weight"], weights(second)["conv1.weight"])


def killed_after_an_epoch(recipe, data, run):
    """Train in a forked process that is killed after its first epoch, and return how it ended."""
    child = os.fork()
    if child == 0:
        try:
            train(recipe, data, run, lambda _: os.kill(os.getpid(), signal.SIGKILL))
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_killed_run_ends_with_the_model_of_an_unbroken_one(tiny_recipe, procedural_crops, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(tiny_recipe, procedural_crops, whole, lambda _: None)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(recipe_yaml(tiny_recipe))
    assert killed_after_an_epoch(tiny_recipe, procedural_crops, broken) == -signal.SIGKILL
    assert not (broken / MODEL).exists()
    words = ["train", str(recipe), "--data", str(procedural_crops), "--out", str(broken), "--threads", "1"]
    again = CliRunner().invoke(pitcore_tools, words)
    assert again.exit_code == 0, again.output
    assert "epoch 1/3" not in again.output
    assert "epoch 2/3" in again.output
    assert all(torch.equal(value, weights(broken)[name]) for name, value in weights(whole).items())


def test_a_run_folder_of_another_recipe_is_not_overwritten(tiny_recipe, procedural_crops, tmp_path):
    train(changed(tiny_recipe, epochs=1), procedural_crops, tmp_path, lambda _: None)
    with pytest.raises(DataError, match="belongs to another recipe"):
        train(changed(tiny_recipe, epochs=2), procedural_crops, tmp_path, lambda _: None)


def test_a_run_goes_on_only_with_the_crops_and_labels_that_it_began_with(tiny_recipe, procedural_crops, tmp_path):
    run, less = tmp_path / "run", tmp_path / "less"
    relabel = tmp_path / "relabel.csv"
    short = changed(tiny_recipe, epochs=1, relabel=str(relabel))
    crops = [crop for crop in read_crops(procedural_crops) if fold_of(crop.hash, short.folds) != short.held_out_fold]
    relabel.write_text(f"hash,label\n{crops[0].hash},pit\n")
    train(short, procedural_crops, run, lambda _: None)
    before = (run / SEEN).read_text()
    shutil.copytree(procedural_crops, less)
    removed = next(crop for crop in crops[1:] if crop.label == 1).path.relative_to(procedural_crops)
    (less / removed).unlink()
    with pytest.raises(DataError, match="began with other crops, labels or teachers"):
        train(short, less, run, lambda _: None)
    relabel.write_text(f"hash,label\n{crops[1].hash},pit\n")  # the same recipe and crops
    with pytest.raises(DataError, match="began with other crops, labels or teachers"):
        train(short, procedural_crops, run, lambda _: None)
    assert (run / SEEN).read_text() == before
    (run / CHECKPOINT).unlink()  # the model of before is still there, so its crops stay in the list
    train(short, less, run, lambda _: None)
    assert (run / SEEN).read_text() == before


def test_a_run_goes_on_only_with_the_teachers_that_it_began_with(tiny_recipe, procedural_crops, tmp_path):
    short = changed(tiny_recipe, epochs=1)
    train(short, procedural_crops, tmp_path / "teacher", lambda _: None)
    student = changed(short, teachers=[str(tmp_path / "teacher")], teacher_share=0.5)
    train(student, procedural_crops, tmp_path / "run", lambda _: None)
    train(student, procedural_crops, tmp_path / "run", lambda _: None)
    train(changed(short, seed=8), procedural_crops, tmp_path / "other", lambda _: None)
    shutil.copy(tmp_path / "other" / MODEL, tmp_path / "teacher" / MODEL)
    with pytest.raises(DataError, match="began with other crops, labels or teachers"):
        train(student, procedural_crops, tmp_path / "run", lambda _: None)


@pytest.mark.parametrize("raw", [b"", b"not a checkpoint"])
def test_a_damaged_checkpoint_is_a_clear_error(tiny_recipe, procedural_crops, tmp_path, raw):
    (tmp_path / CHECKPOINT).write_bytes(raw)
    with pytest.raises(DataError, match="not a checkpoint of this recipe"):
        train(tiny_recipe, procedural_crops, tmp_path, lambda _: None)


def test_duplicates_are_never_on_both_sides_of_the_split(tmp_path):
    rng = np.random.default_rng(0)
    for label, folder in enumerate(("cherry_clean", "cherry_pit")):
        for index in range(40):
            pixels = rng.integers(1, 255, (20, 20, 2), np.uint8)
            pixels[0, 0] = label + 1
            write_crop(tmp_path / folder / f"a{index}.png", pixels)
            write_crop(tmp_path / folder / f"b{index}.png", pixels)
    training, held_out = split(prepare(read_crops(tmp_path), SPEC), 4, 2)
    assert len(training) + len(held_out) == 160
    assert not set(training.hashes) & set(held_out.hashes)


def test_every_crop_is_in_exactly_one_fold(procedural_crops):
    crops = prepare(read_crops(procedural_crops), SPEC)
    assert (sum(in_fold(crops, 5, fold).astype(int) for fold in range(5)) == 1).all()
    assert {fold_of(name, 5) for name in crops.hashes} == set(range(5))


def test_a_picture_in_both_classes_is_refused(procedural_crops, tmp_path):
    crop = load_labelled(procedural_crops)[0]
    for folder in ("cherry_clean", "cherry_pit"):
        write_crop(tmp_path / folder / "same.png", crop.pixels)
    with pytest.raises(DataError, match="lies in the other class too"):
        read_crops(tmp_path)


def test_too_little_data_to_split_is_refused(tmp_path):
    write_crop(tmp_path / "cherry_clean" / "a.png", np.full((9, 9, 2), 9, np.uint8))
    write_crop(tmp_path / "cherry_pit" / "a.png", np.full((9, 9, 2), 8, np.uint8))
    with pytest.raises(DataError, match="give more crops"):
        split(prepare(read_crops(tmp_path), SPEC), 2, 0)


def test_augmentation_keeps_the_background_black_and_the_range(tiny_recipe):
    crops = torch.zeros(32, 2, 128, 128, dtype=torch.uint8)
    crops[:, :, 44:84, 44:84] = 200
    out = augment(crops, tiny_recipe, torch.Generator().manual_seed(0))
    assert out.shape == (32, 2, 48, 48)
    assert out.min() >= 0
    assert out.max() <= 1
    small = changed(tiny_recipe, crop_size_px=128)
    wide = augment(crops, small, torch.Generator().manual_seed(0))
    assert (wide[:, :, :8, :8] == 0).all()
    assert wide[:, :, 60:68, 60:68].mean() == pytest.approx(200 / 255, rel=0.1)


def test_augmentation_depends_on_its_generator_alone(tiny_recipe):
    crops = torch.randint(0, 255, (4, 2, 128, 128), dtype=torch.uint8)
    once = augment(crops, tiny_recipe, torch.Generator().manual_seed(5))
    assert torch.equal(once, augment(crops, tiny_recipe, torch.Generator().manual_seed(5)))
    assert not torch.equal(once, augment(crops, tiny_recipe, torch.Generator().manual_seed(6)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1", "required field"),
        ("[1, 2", "not valid YAML"),
        ("{bogus: 1}", "recipe.yaml: "),
    ],
)
def test_a_bad_recipe_is_one_clear_line(tmp_path, text, said):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


def test_an_unknown_key_in_a_recipe_is_refused(tiny_recipe, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_yaml(tiny_recipe) + "momentum: 0.9\n")
    with pytest.raises(ConfigError, match="momentum"):
        load_recipe(path)


def test_metrics_of_a_run_are_written(tiny_recipe, procedural_crops, tmp_path):
    train(changed(tiny_recipe, epochs=1), procedural_crops, tmp_path, lambda _: None)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["training_crops"] + metrics["held_out_crops"] == 120
    assert 0 <= metrics["held_out_accuracy"] <= 1
