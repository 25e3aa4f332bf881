"""Trains the weights with which students begin: a network regresses ImageNet's features of photographs.

It needs no cherry, so one start serves every fold. The target is the pooled features of EfficientNet-Lite0 as it comes
from ImageNet, in their principal components. Source of the method: A. Romero et al., "FitNets: hints for thin deep
nets", 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from pitcore_tools.distil import catalogue
from pitcore_tools.distil.catalogue import Student
from pitcore_tools.distil.crops import Crops
from pitcore_tools.distil.fit import Learner, autocast, multiplies_bfloat16, permutations
from pitcore_tools.distil.pool import Pool, views_of
from pitcore_tools.distil.students import BATCH, EMA_DECAY, WEIGHT_DECAY, build_student, schedule
from pitcore_tools.distil.teachers import as_input, fresh
from pitcore_tools.distil.views import Form, oriented
from pitcore_tools.networks.checkpoint import save_weights
from pitcore_tools.networks.imagenet import folded

TEACHER = "teacher-lite0"
ENTRIES = 110_000
BLENDED_SHARE = 0.3
COMPONENTS = 128  # as many as a student of a quarter of the width has features
SEED = 11
SAY_EVERY = 100


def train_start(student: Student, patches: Tensor, steps: int, out: Path, say: Callable[[str], None]) -> None:
    """Train a start, and write it in half precision without the last layer.

    Args:
        student: the student whose network it is for.
        patches: (N, 2, 112, 112) uint8 patches of photographs.
        steps: number of steps.
        out: path of the file.
        say: called with messages on the progress.
    """
    none = torch.zeros(len(patches), dtype=torch.long)
    crops = Crops(patches, none, none, [])
    pool = draw_views(len(patches))
    targets = components(features(crops, pool, student.size_px, say), COMPONENTS)
    torch.manual_seed(SEED)
    network = build_student(student)
    network.fc = nn.Linear(network.fc.in_features, targets.shape[1])
    learner = Learner(network, torch.device("cpu"), WEIGHT_DECAY, 1.0, EMA_DECAY)
    rates = schedule(steps) * student.rate
    batch = min(BATCH, len(pool))
    order = permutations(len(pool), batch, steps, SEED)
    for number in range(steps):
        if number == steps // 3:
            learner.restart_average()
        entries = order[number]
        with torch.no_grad():
            pixels = pool.pictures(crops, entries, Form(student.size_px, student.size_px))
            pixels = oriented(pixels, torch.randint(8, (batch,)))
        with autocast(patches.device, enabled=multiplies_bfloat16(patches.device)):
            said = learner.network(pixels.contiguous(memory_format=torch.channels_last))
        loss = (said.float() - targets[entries]).square().sum(1).mean()
        learner.step(loss, rates[number])
        if number % SAY_EVERY == SAY_EVERY - 1:
            say(f"start: step {number + 1} of {steps}, {float(loss.detach()):.3f} of the variance is left")
    weights = {key: value for key, value in learner.average.state_dict().items() if not key.startswith("fc.")}
    save_weights(out, {key: value.half() if value.ndim > 1 else value for key, value in weights.items()})


def draw_views(count: int) -> Pool:
    """Draw the pool of views of ``count`` patches."""
    generator = torch.Generator().manual_seed(SEED)
    rounds = -(-ENTRIES // count)
    crop = torch.cat([torch.randperm(count, generator=generator) for _ in range(rounds)])[:ENTRIES]
    return views_of(crop, BLENDED_SHARE, generator, crop.device)


@torch.no_grad()
def features(crops: Crops, pool: Pool, source_px: int, say: Callable[[str], None], batch: int = 64) -> Tensor:
    """Return the pooled features of a net with ImageNet's weights for every entry, (M, 1280) float32."""
    teacher = catalogue.teacher(TEACHER)
    kind = torch.bfloat16 if multiplies_bfloat16(crops.pixels.device) else torch.float32
    network = folded(fresh(teacher)).to(crops.pixels.device, kind, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    found = torch.empty(len(pool), network.fc.in_features)
    for entries in torch.split(torch.arange(len(pool)), batch):
        pixels = as_input(pool.pictures(crops, entries, Form(teacher.size_px, source_px)), teacher)
        found[entries] = network.features(pixels.to(kind)).float().mean((2, 3))
        if int(entries[0]) // batch % SAY_EVERY == 0:
            say(f"features: {int(entries[0])} of {len(pool)} views")
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
