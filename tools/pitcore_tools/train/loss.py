"""Computes the loss of a batch. Does no IO."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  the field's name for it
from torch import Generator, Tensor

from pitcore_tools.train.recipe import Recipe


def targets_of(labels: Tensor, recipe: Recipe, taught: Tensor | None) -> Tensor:
    """Return the target probabilities of each crop.

    Args:
        labels: (B,) int64, indices into the recipe's labels.
        recipe: for label smoothing and the teachers' share.
        taught: (B, classes) float32, the teachers' mean probabilities, if there are teachers.

    Returns:
        (B, classes) float32, rows sum to one. Source of the mixture: G. Hinton, O. Vinyals, J. Dean, "Distilling the
        knowledge in a neural network", 2015, at temperature 1.
    """
    classes = len(recipe.labels)
    target = F.one_hot(labels, classes).float()
    target = target * (1.0 - recipe.label_smoothing) + recipe.label_smoothing / classes
    return target if taught is None else torch.lerp(target, taught, recipe.teacher_share)


def loss_of(logits: Tensor, target: Tensor, recipe: Recipe) -> Tensor:
    """Return the mean loss of a batch.

    Source of the generalised form, (1 - p**q) / q: Z. Zhang, M. Sabuncu, "Generalized cross entropy loss for training
    deep neural networks with noisy labels", 2018. It limits the influence of labels that the net strongly contradicts.
    """
    if recipe.loss == "cross_entropy":
        return F.cross_entropy(logits, target)
    q = recipe.loss_power
    powers = (torch.softmax(logits, 1).clamp(min=1e-7) ** q * target).sum(1)
    return ((1.0 - powers) / q).mean()


def mix(inputs: Tensor, target: Tensor, recipe: Recipe, generator: Generator) -> tuple[Tensor, Tensor]:
    """Blend each crop and its target with another of the batch.

    Source: H. Zhang et al., "mixup: beyond empirical risk minimization", 2018.
    """
    if recipe.mixup == 0.0:
        return inputs, target
    gamma = torch.empty(2, len(inputs))
    for row in gamma:  # a beta variable is a ratio of gamma variables; torch's gamma accepts no generator
        row.copy_(torch._standard_gamma(torch.full((len(inputs),), recipe.mixup), generator=generator))  # noqa: SLF001
    share = (gamma[0] / gamma.sum(0)).to(inputs.device)
    share = torch.maximum(share, 1.0 - share)
    partner = torch.randperm(len(inputs), generator=generator).to(inputs.device)
    return (
        torch.lerp(inputs[partner], inputs, share.view(-1, 1, 1, 1)),
        torch.lerp(target[partner], target, share.view(-1, 1)),
    )
