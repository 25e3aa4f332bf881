"""Renders foreign objects on the belt: leaves, pieces of stem, stones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pitcore.emulator.patch import quantised
from pitcore.emulator.texture import Field, noise


def render_foreign(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a leaf, a piece of stem or a stone. Returns (h, w, 2) uint8, top then bottom."""
    return render_kind(tuple(KINDS)[int(rng.integers(len(KINDS)))], rng)


def render_kind(kind: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw an object of one of ``KINDS``. Returns (h, w, 2) uint8, top then bottom."""
    return quantised(KINDS[kind](rng))


def _grid(rng: np.random.Generator, reach_px: int) -> tuple[Field, Field]:
    """Return coordinates along and across a random direction, (h, w) float32 each."""
    turn = rng.uniform(0.0, 2 * np.pi)
    axis = np.arange(-reach_px, reach_px + 1, dtype=np.float32)
    y_px, x_px = np.meshgrid(axis, axis, indexing="ij")
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    return x_px * cos + y_px * sin, y_px * cos - x_px * sin


def _soft(depth_px: Field, softness_px: float) -> Field:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(depth_px / softness_px, -30.0, 30.0))), np.float32)


def _leaf(rng: np.random.Generator) -> tuple[Field, Field]:
    """Draw a pointed oval: dull from above, bright through the blade and darker along its veins."""
    half_px, wide_px = rng.uniform(24.0, 48.0), rng.uniform(9.0, 19.0)
    along, across = _grid(rng, int(half_px) + 8)
    across = across + rng.uniform(-6.0, 6.0) * (along / half_px) ** 2
    width_px = wide_px * np.clip(1.0 - (along / half_px) ** 2, -0.5, None) * (1.0 + 0.25 * along / half_px)
    alpha = _soft(width_px - np.abs(across), 1.4)
    midrib = np.exp(-((across / 1.6) ** 2))
    veins = np.clip(np.cos((along - np.abs(across)) * rng.uniform(0.6, 0.9)), 0.0, None) ** 6
    grain = noise(rng, along.shape, 3.0, 9.0)
    top = rng.uniform(45.0, 80.0) * (1.0 + 0.07 * grain + 0.25 * midrib)
    bottom = rng.uniform(70.0, 130.0) * (1.0 + 0.06 * grain - 0.45 * midrib - 0.15 * veins)
    return top * alpha, bottom * alpha


def _stem(rng: np.random.Generator) -> tuple[Field, Field]:
    """Draw a bent thin rod, thicker at one end."""
    half_px, thick_px = rng.uniform(18.0, 45.0), rng.uniform(1.6, 3.2)
    along, across = _grid(rng, int(half_px) + 10)
    across = across - rng.uniform(-9.0, 9.0) * (along / half_px) ** 2
    radius_px = thick_px * (1.0 + 0.8 * np.exp(-np.clip(half_px - along, 0.0, None) / 4.0))
    depth_px = np.minimum(radius_px - np.abs(across), half_px - np.abs(along))
    alpha = _soft(np.asarray(depth_px, np.float32), 1.1)
    shading = 1.0 - 0.35 * np.clip(across / radius_px, -1.0, 1.0) + 0.05 * noise(rng, along.shape, 6.0)
    return rng.uniform(60.0, 110.0) * shading * alpha, rng.uniform(25.0, 55.0) * alpha


def _stone(rng: np.random.Generator) -> tuple[Field, Field]:
    """Draw a rough lump: bright facets from above; from below dark except for a rim."""
    long_px, short_px = rng.uniform(12.0, 26.0), rng.uniform(9.0, 16.0)
    along, across = _grid(rng, int(long_px) + 10)
    rough = 0.12 * noise(rng, along.shape, 12.0)
    depth_px = (1.0 + rough - np.hypot(along / long_px, across / short_px)) * short_px
    alpha = _soft(np.asarray(depth_px, np.float32), 1.0)
    facets = noise(rng, along.shape, 4.0, 10.0)
    top = rng.uniform(90.0, 165.0) * (1.0 + 0.18 * facets + 0.2 * across / short_px)
    bottom = 7.0 + rng.uniform(12.0, 30.0) * np.exp(-np.clip(depth_px, 0.0, None) / 2.0)
    return np.asarray(top * alpha, np.float32), np.asarray(bottom * alpha, np.float32)


KINDS = {"leaf": _leaf, "stem": _stem, "stone": _stone}
