"""Defines a training recipe: all parameters of a run except the data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta

from pitcore.errors import ConfigError
from pitcore.model_card import check_identity
from pitcore.preprocess.prepare import CropSpec
from pitcore_tools.networks.symmetric import Symmetry
from pitcore_tools.networks.zoo import Architecture, Stem
from pitcore_tools.yaml_text import read_yaml

MAX_BASES = 4

Positive = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(gt=0.0, le=1.0)]


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The parameters of a training run. No key has a default: ``configs/base.yaml`` has each value with its reason.

    Attributes:
        architecture, stem, widths: see ``networks.zoo.build``; no widths means as published.
        symmetry: orientations of every filter of a ResNet, see ``networks.symmetric``.
        init: checkpoint with the initial weights, or null for random ones.
        frozen: prefixes of parameter names that are not trained; their batch norms keep their statistics.
        rates: learning rates by prefix of parameter names, instead of ``learning_rate``.
        normalise: subtract ImageNet's mean and divide by its deviation. ``rgb``: as a picture of three planes,
            green zero before; the network then has a third input plane.
        relabel: CSV of crops that get another label or none, or null.
        teachers: training runs to imitate; ``teacher_share`` of the target is the mean of their probabilities for the
            same view. ``{fold}`` in a name is replaced by the held-out fold.
        folds, held_out_fold: number of folds, to which crops belong by their hash, and the fold that is held out.
        loss: ``generalised`` is the generalised cross entropy, ``loss_power`` its q.
        ema_decay: decay of the running average of the weights, which is the model.
        mixup: alpha of the beta distribution; 0 turns it off.
        turn: rotation by any angle, or only by multiples of a half turn.
        scale_jitter, light_jitter: relative ranges; shift_px, blur_px: ranges in pixels. Uniform on both sides.
        max_threshold: pixels below a random level up to this, in both planes, are set to zero.
    """

    name: str
    version: str
    seed: Annotated[int, Meta(ge=0)]
    planes: Annotated[list[str], Meta(min_length=1, max_length=4)]
    labels: Annotated[list[Literal["clean", "maybe", "pit"]], Meta(min_length=2, max_length=3)]
    crop_size_px: Annotated[int, Meta(ge=32, le=128)]
    resize: Literal["centre", "shrink", "fit"]
    architecture: Architecture
    stem: Stem
    widths: list[Annotated[int, Meta(ge=8, le=2048)]]
    symmetry: Symmetry
    init: str | None
    frozen: list[str]
    rates: dict[str, Rate]
    normalise: bool | Literal["rgb"]
    relabel: str | None
    folds: Annotated[int, Meta(ge=2, le=100)]
    held_out_fold: Annotated[int, Meta(ge=0)]
    epochs: Positive
    batch: Positive
    learning_rate: Rate
    schedule: Literal["cosine", "constant"]
    weight_decay: Annotated[float, Meta(ge=0.0, le=1.0)]
    warmup_epochs: Annotated[int, Meta(ge=0)]
    ema_decay: Annotated[float, Meta(ge=0.0, lt=1.0)]
    loss: Literal["cross_entropy", "generalised"]
    loss_power: Annotated[float, Meta(gt=0.0, le=1.0)]
    label_smoothing: Annotated[float, Meta(ge=0.0, lt=1.0)]
    teachers: list[str]
    teacher_share: Annotated[float, Meta(ge=0.0, le=1.0)]
    mixup: Annotated[float, Meta(ge=0.0, le=10.0)]
    turn: Literal["any", "half"]
    scale_jitter: Annotated[float, Meta(ge=0.0, lt=0.5)]
    shift_px: Annotated[float, Meta(ge=0.0, le=32.0)]
    light_jitter: Annotated[float, Meta(ge=0.0, lt=1.0)]
    blur_px: Annotated[float, Meta(ge=0.0, le=16.0)]
    max_threshold: Annotated[int, Meta(ge=0, le=255)]

    def __post_init__(self) -> None:
        check_identity(self.name, self.version)
        if self.held_out_fold >= self.folds:
            raise ValueError(f"held_out_fold {self.held_out_fold} must be below folds {self.folds}")
        if self.labels[0] != "clean" or self.labels[-1] != "pit" or len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must be [clean, pit] or [clean, maybe, pit]")
        if len(self.widths) not in (0, 4) or (self.widths and not self.architecture.startswith("resnet")):
            raise ValueError("widths are the channels of a ResNet's four stages; otherwise give []")
        if self.normalise and len(self.planes) != 2:
            raise ValueError("normalise knows ImageNet's red and blue: it wants two planes")
        if (self.teacher_share > 0) != bool(self.teachers):
            raise ValueError("teachers and teacher_share go together: name runs and a share above 0, or neither")

    @property
    def input_planes(self) -> int:
        """Number of planes of the network: those of a crop, and green if it is normalised as RGB."""
        return 3 if self.normalise == "rgb" else len(self.planes)

    @property
    def spec(self) -> CropSpec:
        """The crop specification of the network."""
        return CropSpec(self.crop_size_px, self.resize, len(self.planes))


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from YAML.

    A recipe may name another one as its ``base``, by a path relative to its own folder, and give only what differs.

    Raises:
        ConfigError: the file cannot be read, or a key is missing, unknown or out of range.
    """
    return recipe_from(_read(path), path)


def recipe_from(content: dict[str, Any], path: Path) -> Recipe:
    """Make a recipe of the content of ``path``, to which relative paths and messages refer. Raises ConfigError."""
    try:
        return msgspec.convert(_with_base(content, path), type=Recipe)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}; see train/configs/base.yaml for every key and its reason") from error


def recipe_yaml(recipe: Recipe) -> str:
    """Return a complete recipe as YAML."""
    return yaml.safe_dump(msgspec.to_builtins(recipe), sort_keys=False)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; give a recipe (YAML)") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: not a recipe; see train/configs/base.yaml for every key and its reason")
    return content


def _with_base(content: dict[str, Any], path: Path, depth: int = 0) -> dict[str, Any]:
    own = dict(content)
    base = own.pop("base", None)
    if base is None:
        return own
    if depth == MAX_BASES:
        raise ConfigError(f"{path}: more than {MAX_BASES} bases on one another; is there a ring?")
    below = path.parent / str(base)
    return _with_base(_read(below), below, depth + 1) | own
