"""Procedural crops on disk, and a recipe small enough to train in a test."""

import msgspec
import pytest

from pitcore.emulator.single import render_crop
from pitcore_tools.train.recipe import Recipe
from tests.camera.belts import write_crop
from tests.tools.desk import Desk

TINY = Recipe(
    name="tiny",
    version="0.0.1",
    seed=3,
    planes=["top", "bottom"],
    labels=["clean", "pit"],
    crop_size_px=48,
    resize="centre",
    architecture="resnet18",
    stem="pooled",
    widths=[8, 8, 16, 16],
    symmetry="none",
    init=None,
    frozen=[],
    rates={},
    normalise=False,
    relabel=None,
    folds=3,
    held_out_fold=1,
    epochs=3,
    batch=16,
    learning_rate=0.002,
    schedule="cosine",
    weight_decay=0.01,
    warmup_epochs=1,
    ema_decay=0.9,
    loss="cross_entropy",
    loss_power=0.7,
    label_smoothing=0.0,
    teachers=[],
    teacher_share=0.0,
    mixup=0.0,
    turn="any",
    scale_jitter=0.08,
    shift_px=2.0,
    light_jitter=0.1,
    blur_px=0.0,
    max_threshold=18,
)


@pytest.fixture(scope="session")
def procedural_crops(tmp_path_factory):
    """A folder of 120 procedural crops in the layout of the real ones."""
    folder = tmp_path_factory.mktemp("crops")
    for index in range(120):
        pixels, label = render_crop(7, index)
        write_crop(folder / ("cherry_clean", "cherry_pit")[label] / f"cherry_{index}.png", pixels)
    return folder


@pytest.fixture
def tiny_recipe():
    return TINY


def changed(recipe, **values):
    return msgspec.structs.replace(recipe, **values)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


@pytest.fixture
def begun(desk):
    desk.init()
    return desk
