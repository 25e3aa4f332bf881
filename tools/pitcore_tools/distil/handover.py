"""Writes a student as a training run, so that it can be quantised, evaluated and bundled like any other net."""

from __future__ import annotations

from pathlib import Path

from pitcore.durable import replace_file
from pitcore_tools.distil import catalogue
from pitcore_tools.distil.crops import FOLDS
from pitcore_tools.distil.pool import BLENDED_SHARE
from pitcore_tools.distil.run import Workspace
from pitcore_tools.distil.students import BATCH, WEIGHT_DECAY
from pitcore_tools.distil.views import Jitter
from pitcore_tools.networks.checkpoint import load_tensors, save_weights
from pitcore_tools.networks.finite import refuse_not_finite
from pitcore_tools.train.loop import CONFIG, MODEL, SEEN
from pitcore_tools.train.recipe import Recipe, recipe_from, recipe_yaml

VERSION = "0.5.0"  # of the next bundled model
BASE = Path(__file__).parents[1] / "train" / "configs" / "base.yaml"


def hand_over(name: str, fold: int, place: Workspace, out: Path, version: str = VERSION) -> None:
    """Write ``config.yaml``, ``model_best.pt`` and ``trained_on.txt`` of a student into ``out``.

    Raises:
        ConfigError: ``version`` is not a valid version.
        DataError: the student was not trained.
    """
    recipe = recipe_of(name, fold, version, place.crops.fold_count)
    weights = load_tensors(place.weights(name, fold))
    refuse_not_finite(place.weights(name, fold), weights.items())
    seen = [place.crops.hashes[index] for index in place.crops.without(fold).tolist()]
    out.mkdir(parents=True, exist_ok=True)
    replace_file(out / SEEN, lambda file: file.write("\n".join(seen).encode()))
    replace_file(out / CONFIG, lambda file: file.write(recipe_yaml(recipe).encode()))
    save_weights(out / MODEL, {key: value.float() for key, value in weights.items()})


def recipe_of(name: str, fold: int, version: str = VERSION, fold_count: int = FOLDS) -> Recipe:
    """Return a student's recipe in the format of other nets. Raises ConfigError."""
    student, jitter = catalogue.student(name), Jitter()
    content = {
        "base": str(BASE),
        "name": "cherry-resnet18",
        "version": version,
        "stem": "fine",
        "widths": list(student.widths),
        "crop_size_px": student.size_px,
        "resize": student.resize,
        "folds": fold_count,
        "held_out_fold": fold,
        "batch": BATCH,
        "learning_rate": student.rate,
        "weight_decay": WEIGHT_DECAY,
        "teachers": list(student.teachers),
        "teacher_share": 1.0,
        "mixup": BLENDED_SHARE,
        "scale_jitter": jitter.scale,
        "shift_px": jitter.shift_px,
        "light_jitter": jitter.gain,
        "max_threshold": jitter.max_level,
    }
    return recipe_from(content, BASE)
