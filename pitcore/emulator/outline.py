"""Draws the outline of a cherry as the cameras see it: flattened circles, ovals, halves, and notched ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pitcore.emulator.texture import Field

MARGIN_PX = 7  # room for the soft edge


@dataclass(frozen=True, slots=True)
class CherryOutline:
    """A body on its own pixel grid. All arrays are (h, w) float32.

    Attributes:
        x_px, y_px: coordinates of each pixel from the body's middle.
        depth_px: distance to the outline, positive inside; approximate far from it.
        alpha: 1 inside, 0 outside, soft over some pixels, as from the lens and the glow around the body.
        inner_px: depth at the middle, in pixels.
        radius_px: radius of a round cherry of that size before it was halved or notched, in pixels.
    """

    x_px: Field
    y_px: Field
    depth_px: Field
    alpha: Field
    inner_px: float
    radius_px: float


def draw_body(rng: np.random.Generator) -> CherryOutline:
    """Draw a body: median diameter about 55 px, 1 % to 99 % 40..75 px."""
    diameter_px = float(np.clip(54.5 * np.exp(rng.normal(0.0, 0.135)), 28.0, 88.0))
    aspect = 1.0 + min(abs(rng.normal(0.0, 0.22)), 0.75)
    semi_long, semi_short = diameter_px / 2 * np.sqrt(aspect), diameter_px / 2 / np.sqrt(aspect)
    reach = int(np.ceil(semi_long * 1.12)) + MARGIN_PX
    axis = np.arange(-reach, reach + 1, dtype=np.float32)
    y_px, x_px = np.meshgrid(axis, axis, indexing="ij")
    depth_px = _round_depth(rng, (x_px, y_px), (float(semi_long), float(semi_short)))
    kind = rng.random()
    if kind < 0.14:  # cut in half by the pitter, or lying on a flat side
        depth_px = np.minimum(depth_px, _halved(rng, (x_px, y_px), float(semi_short)))
    elif kind < 0.22:  # notched by the pitter's needle, or split
        depth_px = np.minimum(depth_px, _notched(rng, (x_px, y_px), float(semi_short)))
    softness_px = rng.uniform(0.4, 1.0)
    alpha = 1.0 / (1.0 + np.exp(-np.clip(depth_px / softness_px, -30.0, 30.0)))
    halo = rng.uniform(0.0, 0.06) * np.exp(-np.clip(-depth_px, 0.0, None) / 5.0)  # glow on the belt around it
    alpha = np.maximum(alpha, halo)
    inner_px = max(float(depth_px.max()), 8.0)
    return CherryOutline(x_px, y_px, depth_px, np.asarray(alpha, np.float32), inner_px, diameter_px / 2)


def _round_depth(rng: np.random.Generator, at_px: tuple[Field, Field], semi_px: tuple[float, float]) -> Field:
    """Return the depth inside an ellipse whose radius wobbles with the angle."""
    turn = rng.uniform(0.0, np.pi)
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    x_px, y_px = at_px
    u = (x_px * cos + y_px * sin) / np.float32(semi_px[0])
    v = (y_px * cos - x_px * sin) / np.float32(semi_px[1])
    angle = np.arctan2(v, u)
    radius = np.ones_like(angle)
    for order, strength in ((1, 0.06), (2, 0.03), (3, 0.05), (4, 0.025), (5, 0.012)):
        size, phase = rng.normal(0.0, strength), rng.uniform(0.0, 2 * np.pi)
        radius += np.float32(np.clip(size, -0.12, 0.12)) * np.cos(order * angle + np.float32(phase))
    reach = np.hypot(u, v)
    # Divided by the gradient of the ellipse's equation, so that one unit is about one pixel at the outline.
    gradient = np.hypot(u / semi_px[0], v / semi_px[1]) / np.maximum(reach, 1e-3)
    gradient = np.where(reach < 0.05, 1.0 / min(semi_px), gradient)
    return np.asarray((1.0 - reach / radius) / gradient, np.float32)


def _halved(rng: np.random.Generator, at_px: tuple[Field, Field], semi_px: float) -> Field:
    turn = rng.uniform(0.0, 2 * np.pi)
    if rng.random() < 0.5:  # the crops' boxes cut along the axes
        turn = np.pi / 2 * rng.integers(0, 4)
    offset_px = semi_px * rng.uniform(0.15, 0.75)
    return np.asarray(offset_px - at_px[0] * np.cos(turn) - at_px[1] * np.sin(turn), np.float32)


def _notched(rng: np.random.Generator, at_px: tuple[Field, Field], semi_px: float) -> Field:
    turn = rng.uniform(0.0, 2 * np.pi)
    bite_px = semi_px * rng.uniform(0.3, 0.7)
    from_middle_px = semi_px * rng.uniform(0.95, 1.1) + bite_px * 0.45
    dx = at_px[0] - from_middle_px * np.cos(turn)
    dy = at_px[1] - from_middle_px * np.sin(turn)
    return np.asarray(np.hypot(dx, dy) - bite_px, np.float32)
