"""Reads the configured teachers, ensembles and students, each with the result expected before its run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pitcore.errors import ConfigError
from pitcore_tools.distil.views import Form
from pitcore_tools.networks.imagenet import SOURCES
from pitcore_tools.yaml_text import read_yaml

VIEW_PX = 84  # side of the part of a crop that a teacher gets, unless its cherry is fitted
CONFIGS = Path(__file__).parent / "configs"

Positive = Annotated[int, Meta(ge=1)]
Resize = Literal["centre", "fit"]
Rate = Annotated[float, Meta(gt=0.0, le=1.0)]


class Teacher(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="teacher"):
    """A net with ImageNet's weights that is fine-tuned on crops.

    Attributes:
        title, expected: description, and expected result.
        source: key of ``networks.imagenet.SOURCES``.
        size_px: side to which a crop is enlarged.
        resize: ``centre`` shows the middle 84 px of a crop; ``fit`` the cherry, as large as the picture.
        epochs, batch, rate: parameters of the fine-tuning; ``rate`` is the peak learning rate of one cycle, three times
            that for the head.
        sharpness_radius: radius of sharpness-aware steps, see ``fit.Learner.step_sharpness_aware``; 0 for plain steps.
        share: share of the training crops that it learns from, the first ones by hash: how much do more crops help?
            ``epochs`` then count passes over all training crops, so that every share gets the same number of steps.
    """

    title: str
    expected: str
    source: str
    size_px: Annotated[int, Meta(ge=32, le=256, multiple_of=32)]
    resize: Resize = "centre"
    epochs: Positive
    batch: Positive
    rate: Rate
    sharpness_radius: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    share: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"source must be one of {', '.join(SOURCES)}")

    @property
    def form(self) -> Form:
        """The form in which it gets a view."""
        return Form(self.size_px, VIEW_PX if self.resize == "centre" else None)


class Ensemble(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="ensemble"):
    """The mean probability of several teachers."""

    title: str
    expected: str
    members: Annotated[list[str], Meta(min_length=2)]


class Student(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="student"):
    """A ResNet18 that learns the teachers' answers.

    Attributes:
        title, expected: description, and expected result.
        widths: channels of the four stages; the stem has no max-pooling.
        size_px: side of its crop.
        resize: ``centre`` cuts the middle of a crop; ``fit`` scales it so that the cherry's longer side is ``size_px``.
        rate: peak learning rate at a batch of 128.
        teachers: names of the teachers whose mean answers it learns.
        epochs: how often it sees each crop.
        start: name of the weights in ``starts/`` with which it begins, see ``start.py``; empty for random ones.
    """

    title: str
    expected: str
    widths: Annotated[list[Annotated[int, Meta(ge=8, le=512)]], Meta(min_length=4, max_length=4)]
    size_px: Annotated[int, Meta(ge=32, le=112, multiple_of=2)]
    resize: Resize = "centre"
    rate: Rate
    teachers: Annotated[list[str], Meta(min_length=1)]
    epochs: Positive = 150
    start: str = ""

    @property
    def form(self) -> Form:
        """The form in which it gets a view."""
        return Form(self.size_px, self.size_px if self.resize == "centre" else None)


Entry = Teacher | Ensemble | Student


def names(configs: Path = CONFIGS) -> list[str]:
    """Return the names of all entries, sorted."""
    return sorted(path.stem for path in configs.glob("*.yaml"))


def load(name: str, configs: Path = CONFIGS) -> Entry:
    """Read an entry. Raises ConfigError."""
    path = configs / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"no teacher or student {name}; there are {', '.join(names(configs))}")
    try:
        entry: Entry = msgspec.convert(read_yaml(path), type=Entry)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}; the files beside it show the form") from error
    return entry


def teacher(name: str, configs: Path = CONFIGS) -> Teacher:
    """Read a teacher. Raises ConfigError."""
    entry = load(name, configs)
    if not isinstance(entry, Teacher):
        raise ConfigError(f"{name} is not a teacher; see `pitcore-tools distil list`")
    return entry


def student(name: str, configs: Path = CONFIGS) -> Student:
    """Read a student. Raises ConfigError."""
    entry = load(name, configs)
    if not isinstance(entry, Student):
        raise ConfigError(f"{name} is not a student; see `pitcore-tools distil list`")
    return entry


def ensemble(name: str, configs: Path = CONFIGS) -> Ensemble:
    """Read an ensemble. Raises ConfigError."""
    entry = load(name, configs)
    if not isinstance(entry, Ensemble):
        raise ConfigError(f"{name} is not an ensemble; see `pitcore-tools distil list`")
    return entry
