"""Draws a pool of views by seed, and stores the teachers' answers, from which students learn.

Half of the views are blends of two crops, because a student that copies a function needs inputs on which the function
is not obvious. Source: L. Beyer et al., "Knowledge distillation: a good teacher is patient and consistent", 2022.

Answers are stored as one signed byte for each view, in sixteenths of a logit, so a pool of 32 views of 3,000 crops
takes 100 kB. The views are not stored; they are drawn again from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pitcore_tools.distil.crops import Crops
from pitcore_tools.distil.teachers import Asked, padded
from pitcore_tools.distil.views import Form, Jitter, draw, render

SEED = 5
STEPS_A_LOGIT = 16.0
MAX_STEP = 127
BLENDED_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Pool:
    """Views of the crops of all folds but one. Entry i blends its own view with that of entry ``partner[i]``.

    Attributes:
        crop: (M,) position of the crop.
        views: (M, 12) views, see ``views.draw``.
        partner: (M,) number of the other entry.
        share: (M,) share of its own view; 1 if nothing is blended.
    """

    crop: Tensor
    views: Tensor
    partner: Tensor
    share: Tensor

    def __len__(self) -> int:
        return len(self.crop)

    def pictures(self, crops: Crops, entries: Tensor, form: Form) -> Tensor:
        """Render (B,) entries in a form. Return (B, 2, form.size_px, form.size_px) float32 in 0..1."""
        both = torch.cat([entries, self.partner[entries]])
        pixels = render(crops.pixels[self.crop[both]], self.views[both], form, self.share[entries] < 1.0)
        own, other = pixels.chunk(2)
        return torch.lerp(other, own, self.share[entries].view(-1, 1, 1, 1))


@dataclass(frozen=True, slots=True)
class Answered:
    """A pool with answers. ``said`` is the teachers' mean probability of a pit for every entry, (M,)."""

    pool: Pool
    said: Tensor


def draw_pool(crops: Crops, fold: int, views_each: int, seed: int = SEED) -> Pool:
    """Draw a fold's pool: ``views_each`` views of every crop outside the fold, equal on every machine."""
    generator = torch.Generator().manual_seed(seed * 1_009 + fold)
    crop = crops.without(fold).cpu().repeat(views_each)
    return views_of(crop, BLENDED_SHARE, generator, crops.pixels.device)


def views_of(crop: Tensor, blended_share: float, generator: torch.Generator, device: torch.device) -> Pool:
    """Draw a view for each entry of (M,) positions of crops, on the CPU; ``blended_share`` of them are blends."""
    count = len(crop)
    partner = torch.randperm(count, generator=generator)
    blended = torch.rand(count, generator=generator) < blended_share
    share = torch.where(blended, torch.rand(count, generator=generator), torch.ones(count))
    views = draw(count, Jitter(), generator)
    return Pool(crop.to(device), views.to(device), partner.to(device), share.to(device))


@torch.no_grad()
def answers(crops: Crops, pool: Pool, asked: Asked, batch: int) -> Tensor:
    """Return a teacher's probability of a pit for every entry, (M,) float32."""
    said = torch.zeros(len(pool), device=crops.pixels.device)
    for start in range(0, len(pool), batch):
        entries = torch.arange(start, min(start + batch, len(pool)), device=said.device)
        full = padded(entries, batch)
        margins = asked.margins(pool.pictures(crops, full, asked.teacher.form))
        said[entries] = torch.sigmoid(margins[: len(entries)])
    return said


def to_bytes(probabilities: Tensor) -> NDArray[np.int8]:
    """Convert (M,) probabilities to int8 logits in sixteenths."""
    logits = torch.logit(probabilities.double(), eps=1e-6) * STEPS_A_LOGIT
    return logits.round().clamp(-MAX_STEP, MAX_STEP).to(torch.int8).cpu().numpy()


def from_bytes(packed: NDArray[np.int8]) -> Tensor:
    """Convert int8 logits in sixteenths to (M,) float32 probabilities."""
    return torch.sigmoid(torch.from_numpy(packed.astype(np.float32)) / STEPS_A_LOGIT)
