"""Makes a training run of a checkpoint that was trained elsewhere, so that every other command can use it.

A state dict determines the architecture, the widths, the planes and the classes. The caller gives the rest: size of the
crops, normalisation, order of the labels, and for a ResNet whether it pools after the first convolution.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pitcore.durable import replace_file
from pitcore.errors import ConfigError, DataError
from pitcore.model_card import check_identity
from pitcore_tools.networks.checkpoint import read_state, save_weights
from pitcore_tools.networks.zoo import build, load_pretrained
from pitcore_tools.train.loop import CHECKPOINT, CONFIG, METRICS, MODEL, SEEN
from pitcore_tools.train.recipe import Recipe, recipe_from, recipe_yaml

BASE = Path(__file__).parent / "configs" / "base.yaml"
LABELS = {2: ("clean", "pit"), 3: ("clean", "maybe", "pit")}  # in the order that the board needs
STAGES = (1, 2, 3, 4)
BLOCKS = {(2, 2, 2, 2): "resnet18", (3, 4, 6, 3): "resnet50"}


@dataclass(frozen=True, slots=True)
class Stated:
    """The properties of a checkpoint that its state dict does not contain.

    Attributes:
        name, version: name and version of the model.
        crop_size_px: side of the crops on which it was trained, cut from the middle.
        normalised: True if the crops were normalised by ImageNet's mean and deviation.
        labels: labels in the order of the logits; empty means clean, (maybe,) pit.
        stem: ``pooled`` as published, or ``fine``.
    """

    name: str
    version: str
    crop_size_px: int
    normalised: bool
    labels: Sequence[str]
    stem: str


def import_checkpoint(checkpoint: Path, stated: Stated, run: Path) -> Recipe:
    """Write ``config.yaml``, ``model_best.pt`` and ``metrics.json`` of a run for a checkpoint.

    Args:
        checkpoint: state dict with torchvision's names, of resnet18 or resnet50, with two or three planes.
        stated: the properties that the state dict does not contain.
        run: folder to write.

    Returns:
        The recipe; its training keys are default values without meaning.

    Raises:
        DataError: the file is not a checkpoint, or of another network; or ``run`` already contains a run.
        ConfigError: the stated properties do not fit the checkpoint.
    """
    if taken := [name for name in (CHECKPOINT, MODEL, SEEN) if (run / name).exists()]:
        raise DataError(f"{run}: holds a run already ({taken[0]}); give another --out, or remove it")
    try:
        check_identity(stated.name, stated.version)
    except ValueError as error:
        raise ConfigError(f"--{error}") from error
    state = read_state(checkpoint)
    recipe = recipe_from({"base": BASE.name, **_told(state, stated, checkpoint)}, BASE)
    network = build(recipe.architecture, recipe.input_planes, len(recipe.labels), recipe.widths, recipe.stem)
    load_pretrained(network, checkpoint)
    order = [_order(len(recipe.labels), stated).index(label) for label in recipe.labels]
    weights = dict(network.state_dict())
    weights |= {name: value[order] for name, value in weights.items() if name.startswith("fc.")}
    said = {
        "imported": {"file": checkpoint.name, "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest()},
        "trained_on": "unknown",
    }
    run.mkdir(parents=True, exist_ok=True)
    replace_file(run / CONFIG, lambda file: file.write(recipe_yaml(recipe).encode()))
    replace_file(run / METRICS, lambda file: file.write(json.dumps(said, indent=1).encode()))
    save_weights(run / MODEL, weights)
    return recipe


def _told(state: dict[str, Tensor], stated: Stated, checkpoint: Path) -> dict[str, Any]:
    """Return the keys of the recipe. Raises DataError."""
    try:
        planes, classes = state["conv1.weight"].shape[1], len(state["fc.weight"])
        widths = [len(state[f"layer{stage}.0.conv1.weight"]) for stage in STAGES]
        architecture = BLOCKS[_depth(state, 1), _depth(state, 2), _depth(state, 3), _depth(state, 4)]
    except (KeyError, IndexError) as error:
        raise DataError(
            f"{checkpoint}: not a resnet18 or a resnet50 under torchvision's names ({error} is not there); it holds "
            f"{', '.join(sorted(state)[:3])} ..."
        ) from error
    if planes not in (2, 3) or classes not in LABELS:
        raise DataError(
            f"{checkpoint}: takes {planes} planes and tells {classes} classes apart; a cherry has 2 planes, or 3 "
            "with a green of zero, and 2 classes, or 3 with maybe"
        )
    return {
        "name": stated.name,
        "version": stated.version,
        "architecture": architecture,
        "stem": stated.stem,
        "widths": widths,
        "labels": list(LABELS[classes]),
        "crop_size_px": stated.crop_size_px,
        "normalise": ("rgb" if planes == 3 else True) if stated.normalised else False,
    }


def _depth(state: dict[str, Tensor], stage: int) -> int:
    """Return the number of blocks of a stage."""
    return sum(name.startswith(f"layer{stage}.") and name.endswith(".conv1.weight") for name in state)


def _order(classes: int, stated: Stated) -> list[str]:
    """Return the labels in the order of the checkpoint's logits. Raises DataError."""
    own = list(LABELS[classes])
    order = list(stated.labels) or own
    if sorted(order) != sorted(own):
        raise DataError(f"the checkpoint tells {classes} classes apart: --labels must be {', '.join(own)} in its order")
    return order
