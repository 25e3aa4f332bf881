"""The optics of one pitted cherry, procedurally: what light from above and light from below make of it.

The numbers were fitted to the statistics of real crops (brightness over the body, profile from rim to heart, how far
the middle differs from the ring round it), not to any single picture. Knows nothing of belts: see ``layout``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitcore.camera.outline import Body, draw_body
from pitcore.camera.patch import Patch, quantised
from pitcore.camera.texture import Field, noise

Planes = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Cherry:
    """One rendered cherry.

    Attributes:
        patch: its pixels.
        label: 0 clean, 1 pit.
        pit_visibility: 0 (no pit, or one that no plane shows) to 1 (plain in at least one plane).
    """

    patch: Patch
    label: int
    pit_visibility: float


@dataclass(frozen=True, slots=True)
class _Light:
    """How bright one cherry is: level of the flesh in each plane, 0..255, and how dark its heart is from below."""

    top: float
    bottom: float
    heart: float
    rim_px: float


@dataclass(frozen=True, slots=True)
class _Spot:
    """A soft elliptic spot in body coordinates; ``flatness`` 1 is a Gaussian, more is a disc with a soft edge."""

    x_px: float
    y_px: float
    long_px: float
    short_px: float
    angle_rad: float
    flatness: float = 1.0

    def on(self, body: Body) -> Field:
        """Return its (h, w) float32 weight, 1 in the middle."""
        dx, dy = body.x_px - self.x_px, body.y_px - self.y_px
        cos, sin = np.float32(np.cos(self.angle_rad)), np.float32(np.sin(self.angle_rad))
        along, across = (dx * cos + dy * sin) / self.long_px, (dy * cos - dx * sin) / self.short_px
        return np.asarray(np.exp(-((along**2 + across**2) ** self.flatness)), np.float32)


def render_cherry(rng: np.random.Generator, label: int) -> Cherry:
    """Draw one cherry, clean (0) or with a pit (1), entirely from the generator handed in."""
    body = draw_body(rng)
    light = _draw_light(rng, label)
    top, bottom = _flesh(rng, body, light)
    _skin_spots(rng, body, top)
    _confusions(rng, body, (top, bottom), label)
    visibility = _pit(rng, body, (top, bottom)) if label else 0.0
    grain = rng.standard_normal((2, *top.shape), dtype=np.float32)
    top = (top + grain[0] * 1.5) * body.alpha
    bottom = (bottom + grain[1] * 1.8) * body.alpha
    return Cherry(Patch(quantised((top, bottom))), label, visibility)


def _draw_light(rng: np.random.Generator, label: int) -> _Light:
    """Exposure varies from cherry to cherry (thickness, ripeness, place on the belt), and more below than above."""
    shared, own_top, own_bottom = rng.standard_normal(3)
    top = 116.0 + 1.0 * label + 16.0 * shared + 16.0 * own_top
    bottom = 183.0 - 2.0 * label + 16.0 * shared + 20.0 * own_bottom
    heart = float(np.clip(rng.normal(0.17, 0.2), -0.12, 0.66))
    if bottom < 165.0:  # a thick cherry lets little light through its heart
        heart = min(heart + (165.0 - bottom) * 0.003, 0.7)
    return _Light(max(float(top), 48.0), float(np.clip(bottom, 90.0, 262.0)), heart, float(rng.uniform(2.5, 7.0)))


def _flesh(rng: np.random.Generator, body: Body, light: _Light) -> Planes:
    """Return top and bottom plane of a body without pit, before its soft outline is applied."""
    shape = body.alpha.shape
    inside = np.clip(body.depth_px, 0.0, None)
    slope = noise(rng, shape, 45.0)
    dim_edge = 1.0 - rng.uniform(0.0, 0.25) * np.exp(-inside / rng.uniform(2.0, 6.0))
    mottle = noise(rng, shape, 2.0, 4.0, 12.0)
    top = light.top * dim_edge * (1.0 + rng.uniform(0.03, 0.08) * mottle + 0.05 * slope)
    heart_edge = np.clip(body.inner_px * rng.uniform(0.25, 0.9), light.rim_px + 1.0, None)
    ragged = inside + rng.uniform(0.5, 2.5) * noise(rng, shape, 6.0, 14.0)  # flesh is not of one thickness
    heart = 1.0 / (1.0 + np.exp(-(ragged - heart_edge * 0.55) / light.rim_px * 2.2))
    rim = rng.uniform(0.02, 0.25) * np.exp(-(((ragged - rng.uniform(2.0, 4.5)) / light.rim_px) ** 2))
    fibres = noise(rng, shape, 2.0, 3.0, 8.0)
    through = 1.0 + rim - light.heart * heart
    bottom = light.bottom * through * (1.0 + rng.uniform(0.05, 0.13) * fibres + 0.06 * noise(rng, shape, 20.0))
    return np.asarray(top, np.float32), np.asarray(bottom, np.float32)


def _skin_spots(rng: np.random.Generator, body: Body, top: Field) -> None:
    """Add small specular spots where wet skin mirrors the lamp; glossy cherries have many."""
    count = int(rng.poisson(rng.choice((3.0, 12.0, 36.0), p=(0.35, 0.4, 0.25))))
    gloss = rng.uniform(12.0, 38.0)
    focus_x, focus_y = rng.uniform(-0.5, 0.5, 2) * body.inner_px
    rows, columns = top.shape
    for _ in range(count):
        x = focus_x + rng.normal(0.0, 0.55) * body.inner_px - float(body.x_px[0, 0])
        y = focus_y + rng.normal(0.0, 0.55) * body.inner_px - float(body.y_px[0, 0])
        height, sigma_px = gloss * rng.exponential(1.0), rng.uniform(0.8, 1.5)
        y0, x0 = round(y) - 4, round(x) - 4
        if 0 <= y0 < rows - 9 and 0 <= x0 < columns - 9:
            near = np.arange(9, dtype=np.float32)
            across = np.exp(-(((near + x0 - x) / sigma_px) ** 2) / 2)
            along = np.exp(-(((near + y0 - y) / sigma_px) ** 2) / 2)
            top[y0 : y0 + 9, x0 : x0 + 9] += height * along[:, None] * across[None, :]


def _somewhere(rng: np.random.Generator, body: Body, spread: float) -> tuple[float, float]:
    """Return a point in body coordinates, ``spread`` times the body's inner radius from its middle, normally."""
    x_px, y_px = rng.normal(0.0, spread, 2) * body.inner_px
    return float(x_px), float(y_px)


def _confusions(rng: np.random.Generator, body: Body, planes: Planes, label: int) -> None:
    """Add what is no pit but may look like one, or hides one: stem hole, slit, sheen, shadow in the flesh."""
    top, bottom = planes
    chances = rng.random(5) * (1.0 if label == 0 else 2.0)  # a pit fills the hole that the pitter would leave
    angle = float(rng.uniform(0.0, np.pi))
    x_px, y_px = _somewhere(rng, body, 0.15)
    if chances[0] < 0.3:  # the pitter's hole from above: a dark fold
        fold = _Spot(x_px, y_px, rng.uniform(4.0, 12.0), rng.uniform(1.5, 5.0), angle)
        top *= 1.0 - rng.uniform(0.1, 0.4) * fold.on(body)
    if chances[1] < 0.5:  # the same hole from below: light falls straight through
        slit = _Spot(x_px, y_px, rng.uniform(3.0, 9.0), rng.uniform(1.3, 3.5), angle + rng.normal(0.0, 0.4))
        bottom += rng.uniform(25.0, 110.0) * slit.on(body) * (0.7 + 0.3 * noise(rng, top.shape, 4.0))
    if chances[2] < 0.25:  # broad sheen
        sheen = _Spot(*_somewhere(rng, body, 0.4), rng.uniform(6.0, 14.0), rng.uniform(4.0, 9.0), angle)
        top += rng.uniform(8.0, 30.0) * sheen.on(body)
    if chances[3] < 0.25:  # a bruise or a fold of flesh from below
        bruise = _Spot(*_somewhere(rng, body, 0.45), rng.uniform(5.0, 13.0), rng.uniform(3.0, 7.0), -angle)
        bottom *= 1.0 - rng.uniform(0.1, 0.35) * bruise.on(body)
    if chances[4] < 0.2:  # thin flesh
        thin = _Spot(*_somewhere(rng, body, 0.5), rng.uniform(6.0, 16.0), rng.uniform(5.0, 10.0), angle)
        bottom *= 1.0 + rng.uniform(0.08, 0.3) * thin.on(body)


def _pit(rng: np.random.Generator, body: Body, planes: Planes) -> float:
    """Put a pit in: bright and smooth from above, a dark soft disc from below. Returns how well it shows, 0..1."""
    top, bottom = planes
    shows_top, shows_bottom = _draw_visibility(rng)
    spread = 0.5 if rng.random() < 0.1 else 0.14  # some pits were pushed to the edge, not out
    x_px, y_px = _somewhere(rng, body, spread)
    long_px = float(np.clip(rng.normal(11.5, 2.2), 7.0, 17.0)) * body.inner_px / 24.0
    short_px = long_px * rng.uniform(0.62, 1.0)
    angle = float(rng.uniform(0.0, np.pi))
    blob = _Spot(x_px, y_px, long_px * 0.95, short_px * 0.95, angle, rng.uniform(1.0, 2.2)).on(body)
    ragged = np.clip(1.0 + 0.1 * noise(rng, top.shape, 6.0), 0.0, None)
    top += shows_top * 106.0 * blob * ragged
    parallax_px = rng.normal(0.0, 1.2, 2)  # the two cameras look from opposite sides
    disc = _Spot(x_px + parallax_px[0], y_px + parallax_px[1], long_px, short_px, angle, rng.uniform(1.0, 1.9))
    bottom *= 1.0 - 0.74 * shows_bottom * disc.on(body)
    return round(float(max(shows_top, shows_bottom)), 3)


def _draw_visibility(rng: np.random.Generator) -> tuple[float, float]:
    """Return how well a pit shows from above and from below, 0..1 each; about one in twenty hardly shows at all."""
    if rng.random() < 0.05:
        return float(rng.uniform(0.0, 0.12)), float(rng.uniform(0.0, 0.15))
    top = rng.beta(1.7, 1.9)
    bottom = rng.beta(3.6, 1.3)
    return float(top), float(max(bottom, 0.5 - top))
