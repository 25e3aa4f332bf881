"""Reads experiments: each has a recipe or a student, the folds on which it is scored, and the expected result."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pitcore.errors import ConfigError
from pitcore_tools.distil import handover
from pitcore_tools.train.recipe import Recipe, recipe_from
from pitcore_tools.yaml_text import read_yaml

CONFIGS = Path(__file__).parent / "configs"
Group = Literal["user", "pretraining", "accuracy", "stages", "frontier"]


class Theirs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The user's measurement on their 1,226 validation crops, as shares. ``f1`` is the mean over both classes."""

    accuracy: Annotated[float, Meta(ge=0.0, le=1.0)]
    f1: Annotated[float, Meta(ge=0.0, le=1.0)]


class Experiment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content of a file of ``configs/``; the file's name is the name of the experiment.

    Attributes:
        title: description, for a table.
        groups: the tables that contain it.
        theirs: the user's figures for the same row, or null.
        procedural: number of procedural crops for training and scoring; 0 uses real ones.
        folds: the folds that are held out in turn.
        notes_errors: True to write the training crops that the net gets wrong, for a second stage.
        expected: the result expected before it ran.
        remark: difference from the experiment that it reproduces.
        recipe: differences from the recipe named as its ``base``. ``{runs}`` is replaced by the folder of all runs.
        student: the student of ``pitcore-tools distil`` that it scores, in place of a recipe to train.
    """

    title: str
    groups: Annotated[list[Group], Meta(min_length=1)]
    theirs: Theirs | None
    procedural: Annotated[int, Meta(ge=0)]
    folds: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1)]
    notes_errors: bool
    expected: str
    remark: str
    recipe: dict[str, Any] = {}
    student: str | None = None


def names(configs: Path = CONFIGS) -> list[str]:
    """Return the names of all experiments, sorted."""
    return sorted(path.stem for path in configs.glob("*.yaml"))


def in_order(configs: Path = CONFIGS) -> list[str]:
    """Return the names of all experiments; each comes after those whose runs it uses."""
    known = names(configs)
    uses = {
        name: set(re.findall(r"\{runs\}/([\w.-]+)/", (configs / f"{name}.yaml").read_text(encoding="utf-8")))
        & set(known)
        for name in known
    }
    return list(TopologicalSorter(uses).static_order())


def load(name: str, configs: Path = CONFIGS) -> Experiment:
    """Read an experiment. Raises ConfigError."""
    path = configs / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"no experiment {name}; there are {', '.join(names(configs))}")
    try:
        experiment = msgspec.convert(read_yaml(path), type=Experiment)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}; the other files beside it show the form") from error
    if bool(experiment.recipe) == (experiment.student is not None):
        raise ConfigError(f"{path}: has to have either a recipe or a student")
    recipe_of(name, experiment, Path(), experiment.folds[0], configs)
    return experiment


def recipe_of(name: str, experiment: Experiment, runs: Path, fold: int, configs: Path = CONFIGS) -> Recipe:
    """Return the recipe that holds out one fold, with ``{runs}`` replaced. Raises ConfigError."""
    if experiment.student is not None:
        return handover.recipe_of(experiment.student, fold)
    content = {"name": name, **experiment.recipe, "held_out_fold": fold}
    return recipe_from(_placed(content, runs), configs / f"{name}.yaml")


def _placed(value: Any, runs: Path) -> Any:  # noqa: ANN401  whatever YAML may hold
    """Replace ``{runs}`` in every text."""
    if isinstance(value, str):
        return value.replace("{runs}", str(runs))
    if isinstance(value, list):
        return [_placed(item, runs) for item in value]
    if isinstance(value, dict):
        return {key: _placed(item, runs) for key, item in value.items()}
    return value
