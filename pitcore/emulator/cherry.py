"""Renders one cherry procedurally: as seen by reflected light from above and by light through it from below.

The constants were fitted to statistics of real crops (brightness over the body, profile from rim to core, difference
between the middle and the ring around it), not to any single picture. ``layout`` places cherries on the belt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitcore.emulator.outline import CherryOutline, draw_body
from pitcore.emulator.patch import Patch, quantised
from pitcore.emulator.texture import Field, noise

Planes = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Cherry:
    """One rendered cherry.

    Attributes:
        patch: its pixels.
        label: 0 clean, 1 pit.
        pit_visibility: 0 (no pit, or no plane shows it) to 1 (clearly visible in at least one plane).
    """

    patch: Patch
    label: int
    pit_visibility: float


@dataclass(frozen=True, slots=True)
class _Light:
    """The brightness of one cherry.

    Attributes:
        top, bottom: grey level of the flesh in each plane, 0..255.
        heart, hollow: share by which the core is darker than the rest, in the bottom and in the top plane.
    """

    top: float
    bottom: float
    heart: float
    hollow: float


@dataclass(frozen=True, slots=True)
class _Spot:
    """A soft elliptic spot in body coordinates; ``flatness`` 1 is a Gaussian, above 1 a disc with a soft edge."""

    x_px: float
    y_px: float
    long_px: float
    short_px: float
    angle_rad: float
    flatness: float = 1.0

    def on(self, body: CherryOutline) -> Field:
        """Return its (h, w) float32 weight, 1 in the middle."""
        dx, dy = body.x_px - self.x_px, body.y_px - self.y_px
        cos, sin = np.float32(np.cos(self.angle_rad)), np.float32(np.sin(self.angle_rad))
        along, across = (dx * cos + dy * sin) / self.long_px, (dy * cos - dx * sin) / self.short_px
        return np.asarray(np.exp(-((along**2 + across**2) ** self.flatness)), np.float32)


def render_cherry(rng: np.random.Generator, label: int) -> Cherry:
    """Draw one cherry, clean (0) or with a pit (1). All randomness comes from ``rng``."""
    body = draw_body(rng)
    light = _draw_light(rng, label)
    top, bottom = _flesh(rng, body, light)
    _skin_spots(rng, body, top)
    _confusions(rng, body, (top, bottom), label)
    visibility = _pit(rng, body, (top, bottom)) if label else 0.0
    grain = rng.standard_normal((2, *top.shape), dtype=np.float32)
    top = (top + grain[0] * 1.5) * body.alpha
    bottom = (bottom + grain[1] * 2.3) * body.alpha
    return Cherry(Patch(quantised((top, bottom))), label, visibility)


def _draw_light(rng: np.random.Generator, label: int) -> _Light:
    """Draw the brightness of a cherry. It varies with thickness, ripeness and place, more from below than above."""
    shared, own_top, own_bottom = rng.standard_normal(3)
    top = 120.0 + 1.0 * label + 18.5 * shared + 10.0 * own_top
    bottom = 178.0 - 2.0 * label + 18.5 * shared + 14.0 * own_bottom
    heart = float(np.clip(rng.normal(0.18, 0.25), -0.3, 0.66))
    if bottom < 165.0:  # a thick cherry lets little light through its core
        heart = min(heart + (165.0 - bottom) * 0.003, 0.7)
    hollow = rng.uniform(-0.06, 0.14 - 0.08 * label)  # from above: the hollow that the pit left
    return _Light(max(float(top), 48.0), float(np.clip(bottom, 90.0, 250.0)), heart, float(hollow))


def _flesh(rng: np.random.Generator, body: CherryOutline, light: _Light) -> Planes:
    """Return the top and bottom plane of a body without pit, (h, w) float32, before its soft outline is applied."""
    shape = body.alpha.shape
    inside = np.clip(body.depth_px, 0.0, None)
    turn, tilts = rng.uniform(0.0, 2 * np.pi), rng.normal(0.0, 1.0, 3).tolist()  # no cherry lies exactly upright
    lean = (np.float32(np.cos(turn)) * body.x_px + np.float32(np.sin(turn)) * body.y_px) / np.float32(body.inner_px)
    heart = _heart(rng, body, 0.25 * tilts[0] * body.inner_px * lean)
    # Where the flesh is doubled or the skin is folded in, the brightness changes at a sharp border.
    double = 1.0 / (1.0 + np.exp(-rng.uniform(2.0, 8.0) * noise(rng, shape, 26.0))) - 0.5
    mottle = rng.uniform(0.02, 0.07) * noise(rng, shape, 2.0, 4.0)
    mottle = mottle + rng.uniform(0.04, 0.14) * noise(rng, shape, 7.0, 14.0) + 0.06 * noise(rng, shape, 45.0)
    top = light.top * (1.0 + mottle - light.hollow * heart + 0.08 * tilts[1] * lean)
    top *= 1.0 - rng.uniform(0.0, 0.2) * np.exp(-inside / rng.uniform(2.0, 6.0))  # the rim slopes away from the lamp
    top *= 1.0 + rng.normal(0.0, 0.08) * double
    rim = rng.uniform(0.0, 0.28) * np.exp(-(((inside - rng.uniform(2.5, 5.0)) / rng.uniform(2.0, 5.0)) ** 2))
    rim *= 1.0 + 0.7 * noise(rng, shape, 14.0)
    through = 1.0 + rim - light.heart * heart + 0.1 * tilts[2] * lean + rng.normal(0.0, 0.2) * double
    fibres = rng.uniform(0.02, 0.09) * noise(rng, shape, 1.5, 3.0, 8.0)
    bottom = light.bottom * through * (1.0 + fibres + rng.uniform(0.03, 0.14) * noise(rng, shape, 10.0, 20.0))
    return np.asarray(top, np.float32), np.asarray(bottom, np.float32)


def _heart(rng: np.random.Generator, body: CherryOutline, slope_px: Field) -> Field:
    """Return the relative depth in the flesh of each pixel, (h, w) float32: 0 at the outline, 1 in the core."""
    uneven_px = slope_px + rng.uniform(0.5, 2.5) * noise(rng, body.alpha.shape, 6.0, 14.0)
    edge_px, soft_px = body.inner_px * rng.uniform(0.12, 0.5), body.inner_px * rng.uniform(0.08, 0.3)
    depth_px = np.clip(body.depth_px, 0.0, None) + uneven_px
    return np.asarray(1.0 / (1.0 + np.exp((edge_px - depth_px) / soft_px)), np.float32)


def _skin_spots(rng: np.random.Generator, body: CherryOutline, top: Field) -> None:
    """Add small specular spots where wet skin reflects the lamp. Glossy cherries have many; the spots cluster."""
    shape = body.alpha.shape
    peaks = noise(rng, shape, 2.0) + 0.5 * noise(rng, shape, 12.0)
    top += rng.uniform(14.0, 34.0) * np.clip(peaks - rng.uniform(1.2, 2.4), 0.0, None)


def _somewhere(rng: np.random.Generator, body: CherryOutline, spread: float) -> tuple[float, float]:
    """Draw a point in body coordinates: normal, with a deviation of ``spread`` times the body's inner radius."""
    x_px, y_px = rng.normal(0.0, spread, 2) * body.inner_px
    return float(x_px), float(y_px)


def _confusions(rng: np.random.Generator, body: CherryOutline, planes: Planes, label: int) -> None:
    """Add features that may look like a pit or hide one: the pitter's hole, a slit, sheen, bruises, thin flesh."""
    top, bottom = planes
    chances = rng.random(5)
    if label:  # with a pit inside, the hole is rare, and the pit hides other features
        chances *= (5.0, 5.0, 2.0, 2.0, 2.0)
    angle = float(rng.uniform(0.0, np.pi))
    x_px, y_px = _somewhere(rng, body, 0.15)
    if chances[0] < 0.45:  # the pitter's hole from above: a dark fold
        fold = _Spot(x_px, y_px, rng.uniform(4.0, 13.0), rng.uniform(2.0, 7.0), angle)
        top *= 1.0 - rng.uniform(0.1, 0.4) * fold.on(body)
    if chances[1] < 0.5:  # the same hole from below: light falls straight through
        slit = _Spot(x_px, y_px, rng.uniform(3.0, 10.0), rng.uniform(1.3, 6.0), angle + rng.normal(0.0, 0.4))
        ragged = np.clip(0.7 + 0.5 * noise(rng, top.shape, 4.0), 0.0, None)
        bottom += rng.uniform(25.0, 150.0) * slit.on(body) * ragged
    if chances[2] < 0.35:  # broad sheen
        sheen = _Spot(*_somewhere(rng, body, 0.4), rng.uniform(6.0, 14.0), rng.uniform(4.0, 9.0), angle)
        top += rng.uniform(8.0, 30.0) * sheen.on(body)
    if chances[3] < 0.35:  # a bruise or a fold of flesh from below
        bruise = _Spot(*_somewhere(rng, body, 0.45), rng.uniform(5.0, 13.0), rng.uniform(3.0, 7.0), -angle)
        bottom *= 1.0 - rng.uniform(0.1, 0.35) * bruise.on(body)
    if chances[4] < 0.3:  # thin flesh
        thin = _Spot(*_somewhere(rng, body, 0.5), rng.uniform(6.0, 16.0), rng.uniform(5.0, 10.0), angle)
        bottom *= 1.0 + rng.uniform(0.08, 0.3) * thin.on(body)


def _pit(rng: np.random.Generator, body: CherryOutline, planes: Planes) -> float:
    """Draw a pit: bright and smooth from above, a dark soft disc from below. Return its visibility, 0..1."""
    top, bottom = planes
    shows_top, shows_bottom = _draw_visibility(rng)
    spread = 0.5 if rng.random() < 0.1 else 0.14  # some pits were pushed to the edge, not out
    x_px, y_px = _somewhere(rng, body, spread)
    long_px = float(np.clip(rng.normal(11.5, 2.2), 7.0, 17.0)) * body.radius_px / 26.0
    short_px = long_px * rng.uniform(0.5, 1.0)
    angle = float(rng.uniform(0.0, np.pi))
    blob = _Spot(x_px, y_px, long_px * 0.95, short_px * 0.95, angle, rng.uniform(1.0, 2.8)).on(body)
    ragged = np.clip(1.0 + 0.1 * noise(rng, top.shape, 6.0), 0.0, None)
    top += shows_top * 116.0 * blob * ragged
    parallax_px = rng.normal(0.0, 1.2, 2)  # the two cameras look from opposite sides
    disc = _Spot(x_px + parallax_px[0], y_px + parallax_px[1], long_px, short_px, angle, rng.uniform(1.0, 2.4))
    bottom *= 1.0 - 0.66 * shows_bottom * disc.on(body)
    return round(float(max(shows_top, shows_bottom)), 3)


def _draw_visibility(rng: np.random.Generator) -> tuple[float, float]:
    """Draw the visibility of a pit from above and from below, 0..1 each; one in 25 is hardly visible."""
    if rng.random() < 0.04:
        return float(rng.uniform(0.0, 0.15)), float(rng.uniform(0.05, 0.45))
    top = 0.08 + 0.92 * rng.beta(1.8, 1.9)
    bottom = rng.normal(0.7 + 0.28 * top, 0.11)
    return float(top), float(np.clip(bottom, 0.2, 1.0))
