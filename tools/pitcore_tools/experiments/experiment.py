"""One experiment: a recipe, the folds it is scored on, and what was known or expected beforehand."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pitcore.errors import ConfigError
from pitcore_tools.train.recipe import Recipe, recipe_from
from pitcore_tools.yaml_text import read_yaml

CONFIGS = Path(__file__).parent / "configs"
Group = Literal["user", "pretraining", "accuracy", "stages", "frontier"]


class Theirs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the user measured: shares, on their 1,226 validation crops. ``f1`` is the mean over both classes."""

    accuracy: Annotated[float, Meta(ge=0.0, le=1.0)]
    f1: Annotated[float, Meta(ge=0.0, le=1.0)]


class Experiment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of ``configs/``, named after its name.

    Attributes:
        title: what it is, for a table.
        groups: the tables it is in.
        theirs: the user's figures for the same row, or null.
        procedural: how many procedural crops it is trained on and scored by; 0 for real ones.
        folds: which are held out in turn.
        notes_errors: write down which of its own training crops it gets wrong, for a second stage.
        expected: what was expected before it ran.
        remark: what sets it apart from what it stands for.
        recipe: what differs from the recipe named as its ``base``. ``{runs}`` stands for the folder of all runs.
    """

    title: str
    groups: Annotated[list[Group], Meta(min_length=1)]
    theirs: Theirs | None
    procedural: Annotated[int, Meta(ge=0)]
    folds: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1)]
    notes_errors: bool
    expected: str
    remark: str
    recipe: dict[str, Any]


def names(configs: Path = CONFIGS) -> list[str]:
    """Return every experiment there is."""
    return sorted(path.stem for path in configs.glob("*.yaml"))


def in_order(configs: Path = CONFIGS) -> list[str]:
    """Return every experiment, after those whose runs it uses."""
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
    recipe_of(name, experiment, Path(), experiment.folds[0], configs)
    return experiment


def recipe_of(name: str, experiment: Experiment, runs: Path, fold: int, configs: Path = CONFIGS) -> Recipe:
    """Return the recipe that holds out one fold, with every path in it made real. Raises ConfigError."""
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
