"""Makes the table of teachers and students from the committed held-out margins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pitcore.errors import DataError
from pitcore_tools.audit.opinions import SURE, gather
from pitcore_tools.distil import catalogue
from pitcore_tools.distil.catalogue import Ensemble, Entry, Student, Teacher
from pitcore_tools.distil.crops import FOLDS, fold_name
from pitcore_tools.distil.run import margins_path
from pitcore_tools.distil.students import build_student
from pitcore_tools.documents import markdown
from pitcore_tools.evaluate import figures
from pitcore_tools.evaluate.logits import HeldOut
from pitcore_tools.networks.imagenet import SOURCES, ImageNet
from pitcore_tools.thresholds import control
from pitcore_tools.thresholds import report as thresholds

COMMITTED = Path(__file__).parent / "results"
MAX_CLEAN_LOSS = 0.02
TEACHERS = "teachers"  # the ensemble whose members name suspect labels
FIGURES = ["accuracy", "pit recall", "log loss", *(f"review at {recall:.1%}" for recall in control.RECALLS)]


@dataclass(frozen=True, slots=True)
class _Read:
    """Held-out margins of the available folds: hashes (N,), folds (N,), labels (N,), margins (N, 8)."""

    hashes: list[str]
    folds: NDArray[np.int64]
    labels: NDArray[np.int64]
    margins: NDArray[np.float64]

    def without(self, left_out: set[str]) -> _Read:
        """Return all crops but some, given by their hashes."""
        kept = np.array([name not in left_out for name in self.hashes])
        hashes = [name for name in self.hashes if name not in left_out]
        return _Read(hashes, self.folds[kept], self.labels[kept], self.margins[kept])

    def seen(self, views: int) -> HeldOut:
        """Return the mean margin of the first ``views`` views as held-out logits of a float net."""
        mean = self.margins[:, :views].mean(1)
        return HeldOut(self.hashes, self.folds, self.labels, mean, np.full(len(mean), np.nan))


def taught_table(results: Path = COMMITTED) -> str:
    """Return the table of expected results and results on held-out crops of each teacher, ensemble and student."""
    rows = []
    for name in catalogue.names():
        entry = catalogue.load(name)
        read = _read(name, entry, results)
        head = [f"`{name}`", entry.title, entry.expected, _macs(entry)]
        if read is None:
            rows.append([*head, "not run", *[""] * 8])
            continue
        folds = ", ".join(map(str, np.unique(read.folds)))
        rows += [[*head, str(count), *_figures(read.seen(count)), folds] for count in _views(entry)]
    columns = ["name", "what", "expected", "million MACs", "views"]
    return markdown([*columns, *FIGURES, "folds"], rows)


def suspects(results: Path = COMMITTED) -> set[str]:
    """Return the hashes of crops for which each teacher, not trained on the crop, is sure of the other label.

    The rule is that of `pitcore-tools audit`. Raises ConfigError; DataError if a teacher was not run.
    """
    tables = {name: held_out(name, results) for name in catalogue.ensemble(TEACHERS).members}
    label_of = {name: int(label) for one in tables.values() for name, label in zip(one.hashes, one.labels, strict=True)}
    opinions = gather(tables, label_of)
    return {opinions.hashes[index] for index in opinions.suspects(SURE)}


def suspects_table(results: Path = COMMITTED) -> str:
    """Return the results on held-out crops without the suspect labels. Raises ConfigError, DataError.

    It shows how much of an error may come from the labels. The figures are too good, because the nets that name the
    suspects are those in the table, or their students.
    """
    left_out, rows = suspects(results), []
    for name in catalogue.names():
        entry = catalogue.load(name)
        read = _read(name, entry, results)
        if read is not None:
            kept = read.without(left_out)
            rows += [
                [f"`{name}`", str(count), str(len(kept.hashes)), *_figures(kept.seen(count))] for count in _views(entry)
            ]
    return markdown(["name", "views", "crops", *FIGURES], rows)


def held_out(name: str, results: Path = COMMITTED) -> HeldOut:
    """Return what a net says of the crops that it never saw: mean margin of eight views, of a student one view.

    Args:
        name: of a teacher, an ensemble or a student.
        results: folder of held-out margins.

    Raises:
        ConfigError: no such net.
        DataError: it was not run, or a member of the ensemble was not.
    """
    entry = catalogue.load(name)
    read = _read(name, entry, results)
    if read is None:
        raise DataError(f"{results}: holds no margins of {name}; run `pitcore-tools distil teach` or `learn` first")
    return read.seen(1 if isinstance(entry, Student) else 8)


def _views(entry: Entry) -> tuple[int, ...]:
    return (8,) if isinstance(entry, Ensemble) else (1, 8)


def _figures(held_out: HeldOut) -> list[str]:
    shares = figures.confusion(held_out.labels, held_out.margins).shares
    scored = thresholds.scores(held_out)
    tiers = control.tiers(scored.labels, scored.probabilities, scored.groups, MAX_CLEAN_LOSS)
    return [
        f"{shares['accuracy'].value:.2%}",
        f"{shares['pit recall'].value:.2%}",
        f"{figures.log_loss(held_out.labels, held_out.probabilities):.4f}",
        *(f"{row.review.value:.1%}" for row in tiers),
    ]


def _read(name: str, entry: Entry, results: Path) -> _Read | None:
    """Read the available folds; for an ensemble, the folds that every member has. None if there are none."""
    if not isinstance(entry, Ensemble):
        return _joined({fold: margins_path(results, name, fold_name(fold)) for fold in range(FOLDS)})
    members = []
    for member in entry.members:
        read = _read(member, catalogue.load(member), results)
        if read is None:
            return None
        members.append(read)
    if any(one.hashes != members[0].hashes for one in members):
        return None
    mean = np.mean([1.0 / (1.0 + np.exp(-one.margins.mean(1))) for one in members], axis=0)
    margins = np.repeat((np.log(mean) - np.log1p(-mean))[:, None], 8, 1)
    return _Read(members[0].hashes, members[0].folds, members[0].labels, margins)


def _joined(paths: dict[int, Path]) -> _Read | None:
    hashes: list[str] = []
    folds, labels, margins = [], [], []
    for fold, path in paths.items():
        if path.exists():
            with np.load(path) as content:
                hashes += [str(name) for name in content["hashes"]]
                labels.append(content["labels"].astype(np.int64))
                margins.append(content["margins"].astype(np.float64))
            folds.append(np.full(len(labels[-1]), fold, np.int64))
    if not folds:
        return None
    return _Read(hashes, np.concatenate(folds), np.concatenate(labels), np.concatenate(margins))


def _macs(entry: Entry) -> str:
    """Return the multiply-accumulates of one view, in millions."""
    if isinstance(entry, Ensemble):
        return " + ".join(_macs(catalogue.load(member)) for member in entry.members)
    with torch.device("meta"):
        network, planes = _network(entry)
        crop = torch.empty(1, planes, entry.size_px, entry.size_px)
    network.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(crop)
    return f"{counter.get_total_flops() / 2e6:.0f}"


def _network(entry: Teacher | Student) -> tuple[nn.Module, int]:
    if isinstance(entry, Teacher):
        return ImageNet(SOURCES[entry.source], 2), 3
    return build_student(entry), 2
