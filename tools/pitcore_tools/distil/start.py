"""Trains the weights with which students begin: a network regresses ImageNet's features of photographs.

It needs no cherry, so one start serves every fold. The target is the pooled features of the teachers' nets as they
come from ImageNet, in their principal components. Source of the method: A. Romero et al., "FitNets: hints for thin deep
nets", 2015.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pitcore.errors import DataError
from pitcore_tools.distil import catalogue
from pitcore_tools.distil.catalogue import Student
from pitcore_tools.distil.crops import Crops
from pitcore_tools.distil.files import replace
from pitcore_tools.distil.fit import Learner, Lesson, autocast, multiplies_bfloat16, permutations
from pitcore_tools.distil.pool import Pool, views_of
from pitcore_tools.distil.students import BATCH, EMA_DECAY, WEIGHT_DECAY, build_student, render_pool, schedule
from pitcore_tools.distil.teachers import as_input, fresh
from pitcore_tools.distil.views import Form, oriented
from pitcore_tools.networks.checkpoint import save_weights
from pitcore_tools.networks.imagenet import folded

TEACHERS = ("teacher-lite0", "teacher-mobilenet2")
ENTRIES = 200_000
BLENDED_SHARE = 0.3
COMPONENTS = 128  # of each teacher; as many as a student of a quarter of the width has features
SEED = 11
SAY_EVERY = 200
ASKED_AT_ONCE = 64
CHECKPOINT_STEPS = 1000


def train_start(student: Student, patches: Tensor, steps: int, out: Path, say: Callable[[str], None]) -> None:
    """Train a start, and write it in half precision without the last layer.

    A checkpoint beside ``out`` keeps the targets and the weights, so an interrupted run with the same patches goes on.

    Args:
        student: the student whose network it is for.
        patches: (N, 2, 112, 112) uint8 patches of photographs.
        steps: number of steps.
        out: path of the file.
        say: called with messages on the progress.

    Raises:
        DataError: there is a checkpoint of other patches, of another student, or of another number of steps.
    """
    none = torch.zeros(len(patches), dtype=torch.long)
    crops = Crops(patches, none, none, [])
    pool = draw_views(len(patches))
    checkpoint = out.with_name(f"{out.name}.checkpoint")
    begun = {
        "patches": hashlib.sha256(patches.numpy().tobytes()).hexdigest(),
        "network": f"{student.widths} at {student.size_px} px",
        "steps": steps,
    }
    saved = _begun(checkpoint, begun)
    targets = saved["targets"] if saved else targets_of(crops, pool, student.size_px, say)
    lesson = start_lesson(student, render_pool(pool, crops, Form(student.size_px, student.size_px)), targets, steps)
    if saved:
        lesson.resume(saved["state"])
    for number in range(int(lesson.at), steps):
        torch.manual_seed(SEED * 1_000_003 + number)  # so that a continued run gives the same result
        lesson.before(number)
        lesson.step()
        if number % SAY_EVERY == SAY_EVERY - 1:
            say(f"start: step {number + 1} of {steps}")
        if number % CHECKPOINT_STEPS == CHECKPOINT_STEPS - 1:
            content = {**begun, "targets": targets, "state": lesson.state()}
            replace(checkpoint, partial(torch.save, content))
    weights = lesson.learners[0].average.state_dict()
    kept = {key: value for key, value in weights.items() if not key.startswith("fc.")}
    save_weights(out, {key: value.half() if value.ndim > 1 else value for key, value in kept.items()})
    checkpoint.unlink(missing_ok=True)


def start_lesson(student: Student, pictures: Tensor, targets: Tensor, steps: int) -> Lesson:
    """Prepare the lesson in which a student's network regresses targets.

    Args:
        student: the student.
        pictures: (M, S, S, 2) uint8, as ``render_pool`` gives them.
        targets: (M, D) float32.
        steps: number of steps.
    """
    torch.manual_seed(SEED)
    network = build_student(student)
    network.fc = nn.Linear(network.fc.in_features, targets.shape[1])
    learner = Learner(network, pictures.device, WEIGHT_DECAY, 1.0, EMA_DECAY)
    batch = min(BATCH, len(pictures))
    order = permutations(len(pictures), batch, steps, SEED)
    lesson = Lesson([learner], schedule(steps) * student.rate, SEED)

    def step() -> None:
        entries = order.index_select(0, lesson.at)[0]
        with torch.no_grad():
            pixels = oriented(pictures[entries].permute(0, 3, 1, 2).float() / 255.0, torch.randint(8, (batch,)))
        with autocast(pictures.device, enabled=multiplies_bfloat16(pictures.device)):
            said = learner.network(pixels.contiguous(memory_format=torch.channels_last))
        learner.step((said.float() - targets[entries]).square().sum(1).mean(), lesson.rate())
        lesson.at.add_(1)

    lesson.step = step
    return lesson


def _begun(checkpoint: Path, begun: dict[str, Any]) -> dict[str, Any] | None:
    """Return the content of a checkpoint, None if there is none. Raises DataError."""
    if not checkpoint.exists():
        return None
    saved: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if other := [key for key, value in begun.items() if saved.get(key) != value]:
        raise DataError(f"{checkpoint}: was begun with other {' and '.join(other)}; remove it, or give another --out")
    return saved


def draw_views(count: int) -> Pool:
    """Draw the pool of views of ``count`` patches."""
    generator = torch.Generator().manual_seed(SEED)
    rounds = -(-ENTRIES // count)
    crop = torch.cat([torch.randperm(count, generator=generator) for _ in range(rounds)])[:ENTRIES]
    return views_of(crop, BLENDED_SHARE, generator, crop.device)


def targets_of(crops: Crops, pool: Pool, source_px: int, say: Callable[[str], None]) -> Tensor:
    """Return the components of every teacher's features side by side, with a total variance of one: (M, D) float32."""
    each = [components(features(name, crops, pool, source_px, say), COMPONENTS) for name in TEACHERS]
    return torch.as_tensor(torch.cat(each, 1) / len(TEACHERS) ** 0.5)


@torch.no_grad()
def features(name: str, crops: Crops, pool: Pool, source_px: int, say: Callable[[str], None]) -> Tensor:
    """Return the pooled features of a teacher's net, with ImageNet's weights, for every entry, (M, 1280) float32."""
    teacher = catalogue.teacher(name)
    kind = torch.bfloat16 if multiplies_bfloat16(crops.pixels.device) else torch.float32
    network = folded(fresh(teacher)).to(crops.pixels.device, kind, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    found = torch.empty(len(pool), network.fc.in_features)
    for entries in torch.split(torch.arange(len(pool)), ASKED_AT_ONCE):
        pixels = as_input(pool.pictures(crops, entries, Form(teacher.size_px, source_px)), teacher)
        found[entries] = network.features(pixels.to(kind)).float().mean((2, 3))
        if int(entries[0]) // ASKED_AT_ONCE % SAY_EVERY == 0:
            say(f"features of {name}: {int(entries[0])} of {len(pool)} views")
    return found


def components(found: Tensor, count: int) -> Tensor:
    """Return the (M, count) principal components of (M, D) features, with a total variance of one.

    Each is divided by the square root of its deviation, so that the first ones do not hide the others.
    """
    centred = found - found.mean(0)
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(found))
    variances, directions = variances.flip(0)[:count], directions.flip(1)[:, :count]
    scaled = (centred @ directions) / variances.clamp(min=1e-8) ** 0.25
    return torch.as_tensor(scaled / scaled.square().sum(1).mean().sqrt())
