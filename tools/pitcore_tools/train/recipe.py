"""A training recipe: everything a run depends on, besides the data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml
from msgspec import Meta

from pitcore.errors import ConfigError

Positive = Annotated[int, Meta(ge=1)]


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One training run. No key has a default: ``configs/default.yaml`` gives each its reason.

    Attributes:
        folds, held_out_fold: crops fall into folds by their hash; one fold is never trained on.
        ema_decay: of the running average of weights, which is the model.
        scale_jitter, light_jitter: shares; shift_px: pixels. Uniform on both sides.
        max_threshold: pixels below a random level up to this, in both planes, are set to zero.
    """

    name: str
    version: str
    seed: Annotated[int, Meta(ge=0)]
    planes: Annotated[list[str], Meta(min_length=1, max_length=4)]
    labels: Annotated[list[Literal["clean", "maybe", "pit"]], Meta(min_length=2, max_length=3)]
    crop_size_px: Annotated[int, Meta(ge=32, le=128)]
    resize: Literal["centre", "shrink", "fit"]
    widths: Annotated[list[Annotated[int, Meta(ge=8, le=2048)]], Meta(min_length=4, max_length=4)]
    folds: Annotated[int, Meta(ge=2, le=100)]
    held_out_fold: Annotated[int, Meta(ge=0)]
    epochs: Positive
    batch: Positive
    learning_rate: Annotated[float, Meta(gt=0.0, le=1.0)]
    weight_decay: Annotated[float, Meta(ge=0.0, le=1.0)]
    warmup_epochs: Annotated[int, Meta(ge=0)]
    ema_decay: Annotated[float, Meta(ge=0.0, lt=1.0)]
    scale_jitter: Annotated[float, Meta(ge=0.0, lt=0.5)]
    shift_px: Annotated[float, Meta(ge=0.0, le=32.0)]
    light_jitter: Annotated[float, Meta(ge=0.0, lt=1.0)]
    max_threshold: Annotated[int, Meta(ge=0, le=255)]

    def __post_init__(self) -> None:
        if self.held_out_fold >= self.folds:
            raise ValueError(f"held_out_fold {self.held_out_fold} must be below folds {self.folds}")


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from YAML. Raises ConfigError."""
    try:
        return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), type=Recipe)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; give a recipe (YAML)") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}; see train/configs/default.yaml for every key and its reason") from error


def recipe_yaml(recipe: Recipe) -> str:
    """Write a recipe as YAML."""
    return yaml.safe_dump(msgspec.to_builtins(recipe), sort_keys=False)
