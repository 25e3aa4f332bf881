"""Runs an experiment: trains a net for each fold, scores it on that fold, and joins the folds.

Existing results are kept, and an interrupted run continues. Several processes may work on one experiment: each fold is
locked while one of them trains it, and the others take the next fold.
"""

from __future__ import annotations

import csv
import fcntl
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pitcore.durable import replace_file
from pitcore.errors import DataError
from pitcore_tools.distil.crops import fold_name
from pitcore_tools.distil.handover import hand_over
from pitcore_tools.distil.packing import load_crops
from pitcore_tools.distil.run import Workspace, weights_path
from pitcore_tools.evaluate import figures
from pitcore_tools.evaluate.logits import HeldOut, merged, read_logits, write_logits
from pitcore_tools.experiments import experiment as experiments
from pitcore_tools.experiments.experiment import Experiment
from pitcore_tools.networks.resnet import ResNet
from pitcore_tools.quantise.graph import Run, load_run, quantise_run
from pitcore_tools.train.loop import MODEL, logits_of, train
from pitcore_tools.train.procedural import draw
from pitcore_tools.train.recipe import Recipe

LOGITS, MAYBE, ERRORS = "logits.csv", "maybe.csv", "errors.csv"
PROCEDURAL_SEED = 1  # seed of the training crops; the renderer is scored on crops of another seed

Say = Callable[[str], None]
Progress = Callable[[Recipe, dict[str, float]], None]


@dataclass(frozen=True, slots=True)
class Workplace:
    """Folders and device of experiments.

    Attributes:
        data: folder of the real crops.
        runs: folder with a folder for each experiment and fold.
        students: folder of the weights of ``pitcore-tools distil learn``.
        results: folder of the joined held-out logits.
        device: torch's name of the device.
        configs: folder of the experiments' files.
    """

    data: Path
    runs: Path
    students: Path
    results: Path
    device: str
    configs: Path = experiments.CONFIGS


def run_experiment(  # noqa: PLR0913  two of them only report
    name: str, place: Workplace, say: Say, progress: Progress, only: Sequence[int] = (), *, keeps: bool = False
) -> bool:
    """Run the missing folds of an experiment.

    Args:
        name: name of the experiment.
        place: folders and device.
        say: called with messages on the progress.
        progress: called with the figures of each epoch.
        only: the folds to run now; empty runs all.
        keeps: True takes the logits of a fold from the joined results, if they have the fold and its folder has none.

    Returns:
        True if all its folds are complete.

    Raises:
        PitcoreError: the experiment cannot be run.
    """
    experiment = experiments.load(name, place.configs)
    data = _data(experiment, place, say)
    if unknown := set(only) - set(experiment.folds):
        raise DataError(f"{name}: has no fold {min(unknown)}; it has {', '.join(map(str, experiment.folds))}")
    students = cache(partial(_students, place, say))  # reads all crops, so once and only if a fold is missing
    for fold in only or experiment.folds:
        run = place.runs / name / f"fold{fold}"
        run.mkdir(parents=True, exist_ok=True)
        with _locked(run) as mine:
            if not mine:
                say(f"{name}, fold {fold}: another process works on it")
                continue
            if keeps and not (run / LOGITS).exists():
                _keep(name, fold, place, run)
            if not (run / LOGITS).exists() or _learned_again(experiment, fold, place, run):
                say(f"{name}, fold {fold}: {experiment.title}")
                if experiment.student is not None:
                    hand_over(experiment.student, fold, students(), run)
                elif not (run / MODEL).exists():
                    recipe = experiments.recipe_of(name, experiment, place.runs, fold, place.configs)
                    train(recipe, data, run, partial(progress, recipe), place.device)
                _score(load_run(run, data), run, say, notes_errors=experiment.notes_errors)
    return _join(name, experiment, place)


def _keep(name: str, fold: int, place: Workplace, run: Path) -> None:
    """Write the logits of a fold from the joined results of an earlier run, perhaps on another machine."""
    path = place.results / f"{name}.csv"
    if path.exists():
        joined = read_logits(path)
        if (joined.folds == fold).any():
            write_logits(run / LOGITS, joined.of_fold(fold))


def _learned_again(experiment: Experiment, fold: int, place: Workplace, run: Path) -> bool:
    """Return True if a student has newer weights than those that were scored."""
    if experiment.student is None:
        return False
    weights = weights_path(place.students, experiment.student, fold_name(fold))
    return weights.exists() and weights.stat().st_mtime > (run / LOGITS).stat().st_mtime


def _students(place: Workplace, say: Say) -> Workspace:
    """Return the workspace in which the students were trained."""
    return Workspace(load_crops(place.data, torch.device("cpu")), place.students, place.results, None, say)


def _data(experiment: Experiment, place: Workplace, say: Say) -> Path:
    """Return the folder of crops; render them first if they are procedural."""
    if not experiment.procedural:
        return place.data
    folder = place.runs / f"procedural-{PROCEDURAL_SEED}"
    say(f"{folder}: {experiment.procedural} procedural crops")
    for _ in draw(folder, PROCEDURAL_SEED, experiment.procedural):
        pass
    return folder


def _score(trained: Run, run: Path, say: Say, *, notes_errors: bool) -> None:
    """Write the held-out logits of the float net, and of its int8 form if there is one."""
    int8 = None
    if isinstance(trained.network, ResNet) and not trained.recipe.normalise:  # others have only the float form
        int8 = quantise_run(trained, say).logits(trained.held_out.pixels)
    if notes_errors:
        _write_errors(trained, run / ERRORS)
    if "maybe" in trained.recipe.labels:
        write_logits(run / MAYBE, _held_out(trained, int8, "maybe"))
    write_logits(run / LOGITS, _held_out(trained, int8, "pit"))


def _held_out(trained: Run, int8: NDArray[np.float32] | None, label: str) -> HeldOut:
    """Return the margins of a label on the held-out crops."""
    crops, recipe = trained.held_out, trained.recipe
    margins = figures.pit_margins(logits_of(trained.network, crops.pixels, recipe), recipe.labels, label)
    none = np.full(len(crops), np.nan)
    return HeldOut(
        crops.hashes,
        np.full(len(crops), recipe.held_out_fold, np.int64),
        crops.labels,
        margins,
        none if int8 is None else figures.pit_margins(int8, recipe.labels, label),
    )


def _write_errors(trained: Run, path: Path) -> None:
    """Write the training crops that a net gets wrong as a relabel file with the label ``maybe``."""
    crops = trained.training.with_labels(trained.recipe.labels)
    wrong = logits_of(trained.network, crops.pixels, trained.recipe).argmax(1) != crops.labels
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["hash", "label"])
    writer.writerows([name, "maybe"] for name, is_wrong in zip(crops.hashes, wrong, strict=True) if is_wrong)
    replace_file(path, lambda file: file.write(text.getvalue().encode()))


def _join(name: str, experiment: Experiment, place: Workplace) -> bool:
    """Join the folds' logits into one file of results. Return False if a fold is missing."""
    for file in (LOGITS, MAYBE):
        paths = [place.runs / name / f"fold{fold}" / file for fold in experiment.folds]
        present = [path for path in paths if path.exists()]
        if len(present) == len(paths):
            place.results.mkdir(parents=True, exist_ok=True)
            suffix = "" if file == LOGITS else ".maybe"
            write_logits(place.results / f"{name}{suffix}.csv", merged([read_logits(path) for path in paths]))
        elif file == LOGITS:
            return False
    return True


def read_results(name: str, results: Path) -> HeldOut:
    """Read the joined held-out logits of an experiment. Raises DataError if it was not run."""
    path = results / f"{name}.csv"
    if not path.exists():
        raise DataError(f"{path}: no such file; run it with `pitcore-tools experiments run {name}`")
    return read_logits(path)


@contextmanager
def _locked(run: Path) -> Iterator[bool]:
    """Lock a run for this process. Yield False if another process has it."""
    with (run / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
