"""Trains small nets on the teachers' answers to a pool of views; nets of one form share the pictures.

A student gets each view in a random one of its eight orientations, and the answer that the teachers gave to the view
as drawn. So one answer teaches eight pictures, and the student averages over the orientations, in which a teacher's
answers differ by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812  the field's name for it
from torch import Tensor, nn

from pitcore.errors import DataError
from pitcore_tools.distil.catalogue import Student
from pitcore_tools.distil.crops import Crops
from pitcore_tools.distil.fit import Learner, Lesson, autocast, multiplies_bfloat16, one_cycle, permutations
from pitcore_tools.distil.pool import Answered, Pool
from pitcore_tools.distil.teachers import padded
from pitcore_tools.distil.views import Form, eight, oriented, unchanged
from pitcore_tools.distil.widen import is_wider, widened
from pitcore_tools.networks.checkpoint import load_tensors
from pitcore_tools.networks.resnet import ResNet, Shape

BATCH = 128
RENDERED_AT_ONCE = 512
STARTS = Path(__file__).parent / "starts"
WEIGHT_DECAY, EMA_DECAY, WARM_SHARE = 0.05, 0.999, 0.05


def schedule(total: int) -> Tensor:
    """Return (total,) shares of each student's peak learning rate."""
    return one_cycle(total, 1.0, WARM_SHARE)


def load_start(network: ResNet, path: Path, seed: int) -> None:
    """Copy the weights of a start, all but those of the last layer; a wider network gets them widened.

    Args:
        network: the network.
        path: the start: of the same network, or of a narrower one with the same layers.
        seed: seed of the widening.

    Raises:
        DataError: the file is damaged, or the start of another network.
    """
    weights = load_tensors(path, ours="not a start; write it again with `pitcore-tools distil start`")
    wanted = {key: value.shape for key, value in network.state_dict().items() if not key.startswith("fc.")}
    if not is_wider(weights, wanted):
        raise DataError(f"{path}: the start of another network; write one with `pitcore-tools distil start`")
    network.load_state_dict(widened(weights, wanted, seed), strict=False)


def render_pool(pool: Pool, crops: Crops, form: Form) -> Tensor:
    """Render every entry of a pool in a student's form once, because it sees each several times.

    Returns:
        (M, S, S, 2) uint8, S = ``form.size_px``: 1.5 GB for 48 views of 2,940 crops at 72 px.
    """
    pictures = torch.empty(len(pool), form.size_px, form.size_px, 2, dtype=torch.uint8, device=crops.pixels.device)
    for entries in torch.split(torch.arange(len(pool), device=pictures.device), RENDERED_AT_ONCE):
        pixels = pool.pictures(crops, entries, form)
        pictures[entries] = (pixels * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1)
    return pictures


def build_student(student: Student) -> ResNet:
    """Return a student's network with random weights from torch's generator."""
    return ResNet(2, 2, Shape(widths=tuple(student.widths), pooled=False))


def student_lesson(students: Sequence[Student], crops: Crops, answered: Answered, seed: int, total: int) -> Lesson:
    """Prepare the lesson of students that learn together from one fold's pool.

    Args:
        students: the students. All get the same views, each in its own form.
        crops: the crops.
        answered: the pool, and the teachers' answer for every entry.
        seed: seed of the weights and of the order.
        total: number of steps.
    """
    pool, said = answered.pool, answered.said
    device = crops.pixels.device
    learners = []
    for student in students:
        torch.manual_seed(seed)
        network = build_student(student)
        if student.start:
            load_start(network, STARTS / f"{student.start}.pt", seed)
        learners.append(Learner(network, device, WEIGHT_DECAY, 1.0, EMA_DECAY))
    batch = min(BATCH, len(pool))
    order = permutations(len(pool), batch, total, seed).to(device)
    lesson = Lesson(learners, schedule(total).to(device), seed)
    rendered = {form: render_pool(pool, crops, form) for form in {student.form for student in students}}

    def step() -> None:
        entries = order.index_select(0, lesson.at)[0]
        rate = lesson.rate()
        orientations = torch.randint(8, (batch,), device=device)
        pit = said[entries]
        for student, learner in zip(students, learners, strict=True):
            with torch.no_grad():
                pixels = oriented(rendered[student.form][entries].permute(0, 3, 1, 2).float() / 255.0, orientations)
                seen = pixels.contiguous(memory_format=torch.channels_last)
            with autocast(device, enabled=multiplies_bfloat16(device)):
                logits = learner.network(seen)
            learner.step(F.cross_entropy(logits.float(), torch.stack([1.0 - pit, pit], 1)), rate * student.rate)
        lesson.at.add_(1)

    lesson.step = step
    return lesson


@torch.no_grad()
def student_margins(network: nn.Module, form: Form, pixels: Tensor, batch: int) -> Tensor:
    """Return (N, 8) margins of (N, 2, 112, 112) uint8 crops in eight orientations, the unchanged one first."""
    network.eval()
    rows = []
    for piece in torch.split(pixels, batch):
        seen = unchanged(padded(piece, batch), form)
        logits = [network(turned.contiguous(memory_format=torch.channels_last)).float() for turned in eight(seen)]
        rows.append(torch.stack([each[:, 1] - each[:, 0] for each in logits], 1)[: len(piece)])
    return torch.cat(rows)
