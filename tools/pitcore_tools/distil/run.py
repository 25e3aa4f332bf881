"""Trains teachers, computes their answers and trains students, fold by fold. Existing results are kept.

On a CPU the lessons run one after the other, with a checkpoint about every minute. On a GPU all folds run side by side,
and students take as many steps as the time allows. ``python -m pitcore_tools.distil.run`` needs only torch, numpy,
msgspec, PyYAML, and the packed crops and weights that ``pitcore-tools distil pack`` writes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pitcore.errors import DataError
from pitcore_tools.distil import catalogue
from pitcore_tools.distil.answer_files import check_answers, read_answers, write_answers
from pitcore_tools.distil.crops import FOLDS, Crops, load_packed
from pitcore_tools.distil.files import write_arrays
from pitcore_tools.distil.fit import GraphStream, Lesson, multiplies_bfloat16
from pitcore_tools.distil.pool import Answered, answers, draw_pool
from pitcore_tools.distil.students import BATCH, build_student, schedule, student_lesson, student_margins
from pitcore_tools.distil.teachers import Asked, teacher_lesson
from pitcore_tools.networks.checkpoint import load_tensors, save_weights
from pitcore_tools.networks.imagenet import SOURCES, ImageNet, folded

CHECKPOINT_STEPS = 46
VIEWS_EACH = 48  # a student learns fewer by heart; see docs/model.md
SPARE_S = 20.0  # part of the time limit for scoring and saving
TRIAL_ROUNDS = 30
MOST_ROUNDS = 40_000


@dataclass(frozen=True, slots=True)
class Workspace:
    """Data and folders of a distillation.

    Attributes:
        crops: all crops, on the device.
        runs: folder of weights and checkpoints, which are large.
        results: folder of held-out margins and answers, which are small and are committed.
        packed: folder of packed weights; None uses the installed packages.
        say: called with messages on the progress.
    """

    crops: Crops
    runs: Path
    results: Path
    packed: Path | None
    say: Callable[[str], None]

    @property
    def device(self) -> torch.device:
        """The device on which everything is computed."""
        return self.crops.pixels.device

    @property
    def gpu(self) -> bool:
        """True if the device is a GPU."""
        return self.device.type == "cuda"

    def weights(self, name: str, fold: int) -> Path:
        """Return the path of a net's weights."""
        return weights_path(self.runs, name, self.crops.name(fold))

    def margins(self, name: str, fold: int) -> Path:
        """Return the path of a net's held-out margins."""
        return margins_path(self.results, name, self.crops.name(fold))

    def answers(self, name: str, fold: int) -> Path:
        """Return the path of a teacher's answers to the views of all crops outside a fold."""
        return self.results / "answers" / f"{name}-{self.crops.name(fold)}.npz"

    @property
    def batch(self) -> int:
        """Batch size for inference."""
        return 512 if self.gpu else 64


def teach(name: str, place: Workspace, folds: Sequence[int] = range(FOLDS)) -> None:
    """Fine-tune a teacher for each fold without weights, and score it on that fold."""
    teacher = catalogue.teacher(name)
    missing = [fold for fold in folds if not place.weights(name, fold).exists()]
    made = {fold: teacher_lesson(teacher, place.crops, fold, 1_000 + 17 * fold, place.packed) for fold in missing}
    _follow(made, place, name)
    for fold, lesson in made.items():
        _save(place.weights(name, fold), lesson.learners[0].average.state_dict())
    for fold in folds:
        path = place.margins(name, fold)
        if not path.exists():
            where = place.crops.of_folds([fold])
            margins = ask(name, fold, place).eight_margins(place.crops.pixels[where], place.batch)
            _write_margins(path, place.crops, where, margins)
            place.say(f"{name}, fold {fold}: {summary(margins.mean(1), place.crops.labels[where])}")


def answer(name: str, place: Workspace, folds: Sequence[int] = range(FOLDS), views_each: int = VIEWS_EACH) -> None:
    """Compute and store a teacher's answers to each fold's pool of ``views_each`` views of every crop.

    Raises:
        DataError: the teacher has no weights, or there are answers to other crops.
    """
    for fold in folds:
        path = place.answers(name, fold)
        if path.exists():
            check_answers(path, place.crops, fold)
            continue
        pool = draw_pool(place.crops, fold, views_each)
        write_answers(path, answers(place.crops, pool, ask(name, fold, place), place.batch), place.crops, fold)
        place.say(f"{name}, fold {fold}: {len(pool)} views answered")


@dataclass(frozen=True, slots=True)
class Length:
    """Length of a student's training: its own, each crop ``epochs`` times, or on a GPU the steps within ``seconds``."""

    epochs: int | None = None
    seconds: float | None = None


def learn(names: Sequence[str], place: Workspace, length: Length, folds: Sequence[int] = range(FOLDS)) -> None:
    """Train students together on the mean answers of their teachers, and score each on its fold. Raises DataError."""
    students = [catalogue.student(name) for name in names]
    teachers = students[0].teachers
    if any(student.teachers != teachers for student in students):
        raise DataError(f"{', '.join(names)}: they have different teachers; run `learn` for each of them alone")
    epochs = length.epochs or students[0].epochs
    missing = [fold for fold in folds if not all(place.weights(name, fold).exists() for name in names)]
    made: dict[int, Lesson] = {}
    for fold in missing:
        steps = MOST_ROUNDS if length.seconds else max(1, epochs * (len(place.crops.without(fold)) // BATCH))
        made[fold] = student_lesson(students, place.crops, answered(teachers, fold, place), 300 + fold, steps)
    label = "+".join(names)
    _follow(made, place, label, length.seconds)
    for fold, lesson in made.items():
        for name, learner in zip(names, lesson.learners, strict=True):
            _save(place.weights(name, fold), learner.average.state_dict())
    for name, student in zip(names, students, strict=True):
        for fold in folds:
            network = build_student(student)
            network.load_state_dict(_load(place.weights(name, fold)))
            where = place.crops.of_folds([fold])
            network.to(place.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
            margins = student_margins(network, student.form, place.crops.pixels[where], place.batch)
            _write_margins(place.margins(name, fold), place.crops, where, margins)
            place.say(f"{name}, fold {fold}: {summary(margins[:, 0], place.crops.labels[where])}")


def ask(name: str, fold: int, place: Workspace) -> Asked:
    """Return a fine-tuned teacher. Raises DataError if it has no weights."""
    teacher = catalogue.teacher(name)
    network = ImageNet(SOURCES[teacher.source], 2)
    path = place.weights(name, fold)
    if not path.exists():
        raise DataError(f"{path}: no such weights; run `pitcore-tools distil teach {name} --fold {fold}` first")
    network.load_state_dict(_load(path))
    kind = torch.bfloat16 if multiplies_bfloat16(place.device) else torch.float32
    return Asked(teacher, folded(network).to(place.device, kind, memory_format=torch.channels_last))  # type: ignore[call-overload]  # torch's stub lacks it


def answered(teachers: Sequence[str], fold: int, place: Workspace) -> Answered:
    """Return a fold's pool with the mean answers of its teachers. Raises DataError."""
    count = len(place.crops.without(fold))
    by_teacher = []
    for name in teachers:
        path = place.answers(name, fold)
        if not path.exists():
            raise DataError(f"{path}: no such answers; run `pitcore-tools distil answer {name} --fold {fold}` first")
        by_teacher.append(read_answers(path, place.crops, fold))
        if len(by_teacher[-1]) % count or len(by_teacher[-1]) != len(by_teacher[0]):
            raise DataError(
                f"{path}: {len(by_teacher[-1])} answers for {count} crops, the first teacher gave "
                f"{len(by_teacher[0])}; remove the file and run `pitcore-tools distil answer` again with the same "
                "crops and the same --views"
            )
    said = torch.stack(by_teacher).mean(0)
    return Answered(draw_pool(place.crops, fold, len(said) // count), said.to(place.device))


def weights_path(runs: Path, name: str, fold_name: str) -> Path:
    """Return the path of a net's weights; ``fold_name`` is that of ``crops.fold_name``."""
    return runs / name / fold_name / "weights.pt"


def margins_path(results: Path, name: str, fold_name: str) -> Path:
    """Return the path of a net's held-out margins; ``fold_name`` is that of ``crops.fold_name``."""
    return results / f"{name}-{fold_name}.npz"


def summary(margins: Tensor, labels: Tensor) -> str:
    """Return figures of margins in one line. The thresholds are chosen on the same crops, so they are optimistic."""
    said, truth = margins.cpu().numpy().astype(np.float64), labels.cpu().numpy()
    pit, clean = said[truth == 1], said[truth == 0]
    loss = np.mean(np.logaddexp(0.0, np.where(truth == 1, -said, said)))
    text = f"accuracy {np.mean((said > 0) == truth):.2%}, recall {np.mean(pit > 0):.2%}, log loss {loss:.4f}, review at"
    for caught in (0.95, 0.98, 0.99):
        low = np.quantile(pit, 1 - caught)
        high = max(low, np.quantile(clean, 0.98))
        text += f" {caught:.0%} {np.mean((said >= low) & (said < high)):.1%}"
    return text


def _follow(lessons: dict[int, Lesson], place: Workspace, label: str, seconds: float | None = None) -> None:
    """Run every fold's lesson to its end: side by side on a GPU; on a CPU one after the other, with checkpoints.

    Raises:
        DataError: a checkpoint is of other crops or labels.
    """
    if place.gpu:
        _side_by_side(list(lessons.values()), place, label, seconds)
        return
    for fold, lesson in lessons.items():
        checkpoint = place.runs / label / place.crops.name(fold) / "checkpoint.pt"
        digest = place.crops.digest_without(fold, labels=True)
        if checkpoint.exists():
            saved = _load(checkpoint)
            if saved.get("crops") != digest:
                raise DataError(
                    f"{checkpoint}: was begun with other crops or labels, or does not say with which; give another "
                    "--runs, or remove it"
                )
            lesson.resume(saved)
        for number in range(int(lesson.at), lesson.total):
            torch.manual_seed(lesson.seed * 1_000_003 + number)  # so that a continued run gives the same result
            lesson.before(number)
            lesson.step()
            if number % CHECKPOINT_STEPS == CHECKPOINT_STEPS - 1:
                _save(checkpoint, {**lesson.state(), "crops": digest})
                place.say(f"{label}: step {number + 1} of {lesson.total}")


def _side_by_side(lessons: list[Lesson], place: Workspace, label: str, seconds: float | None) -> None:
    began = time.monotonic()
    lanes = []
    for lesson in lessons:
        lanes.append(GraphStream(lesson.step, place.device))
        lesson.at.zero_()
    if seconds is not None:
        started = time.monotonic()
        _rounds(lessons, lanes, range(1, TRIAL_ROUNDS))
        each = (time.monotonic() - started) / TRIAL_ROUNDS
        fits = int((seconds - (time.monotonic() - began) - SPARE_S) / each)
        for lesson in lessons:
            lesson.reschedule(schedule(min(MOST_ROUNDS, max(TRIAL_ROUNDS, fits))).to(place.device))
        place.say(f"{label}: {1000 * each:.1f} ms a round of {len(lanes)}, so {lessons[0].total} rounds")
    started = time.monotonic()
    most = max((lesson.total for lesson in lessons), default=0)
    _rounds(lessons, lanes, range(most))
    place.say(f"{label}: {most} rounds of {len(lanes)} in {time.monotonic() - started:.0f} s")


def _rounds(lessons: list[Lesson], lanes: list[GraphStream], numbers: range) -> None:
    for number in numbers:
        for lesson, lane in zip(lessons, lanes, strict=True):
            if number < lesson.total:
                if number == lesson.total // 3:
                    torch.cuda.synchronize()
                lesson.before(number)
                lane.run()
        if number % 20 == 19:
            torch.cuda.synchronize()  # limits the number of queued steps
    torch.cuda.synchronize()


def _write_margins(path: Path, crops: Crops, where: Tensor, margins: Tensor) -> None:
    names = np.array([crops.hashes[index][:16] for index in where.tolist()])
    write_arrays(path, hashes=names, labels=crops.labels[where].cpu().numpy(), margins=margins.cpu().numpy())


def _save(path: Path, content: Any) -> None:  # noqa: ANN401  whatever torch can save
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, content)


def _load(path: Path) -> Any:  # noqa: ANN401  whatever was saved
    return load_tensors(path, ours="damaged; remove it, and run the step that writes it again")


def main() -> None:
    """Train teachers and students on a machine that has only the packed folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("packed", type=Path, help="folder that `pitcore-tools distil pack` wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for margins, answers and students' weights")
    parser.add_argument("--runs", type=Path, help="folder for the teachers' weights; default OUT/runs")
    parser.add_argument("--seconds", type=float, default=500.0, help="time limit of the whole run")
    args = parser.parse_args()
    began = time.monotonic()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", flush=True)  # noqa: T201  the command's own output

    crops = load_packed(args.packed / "crops.npz", device)
    place = Workspace(crops, args.runs or args.out / "runs", args.out, args.packed, say)
    say(f"{device}, {len(crops.hashes)} crops, torch {torch.__version__}")
    students = [name for name in catalogue.names() if isinstance(catalogue.load(name), catalogue.Student)]
    teachers = sorted({teacher for name in students for teacher in catalogue.student(name).teachers})
    for name in teachers:
        teach(name, place)
    for name in teachers:
        answer(name, place)
    learn(students, place, Length(seconds=args.seconds - (time.monotonic() - began)))


if __name__ == "__main__":
    main()
