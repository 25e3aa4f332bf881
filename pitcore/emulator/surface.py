"""Renders frames: the dark belt with its grain, uneven light, sensor noise, and the objects on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitcore.emulator.layout import Layout, PlacedItem
from pitcore.emulator.seeds import Stream, generator
from pitcore.emulator.spec import BeltSpec
from pitcore.emulator.texture import periodic_grain, smooth_line

PLANES = 2
_PEDESTAL = 3  # added to the noise tile, which is unsigned, and subtracted from the belt's level of about 6
_TILE_FRAMES = 4  # belt length after which the grain repeats, in frames
_GRAIN_WIDTH_PX = 352  # it repeats across the belt, too weak for the eye to notice
_NOISE_SPARE_PX = 64  # the noise tile is this much larger than a frame, and is laid at a random corner each time
_HOT_PER_MEGAPIXEL = 20


@dataclass(frozen=True, slots=True)
class View:
    """The part of the belt that the cameras see.

    Attributes:
        shift_px: displacement of the second plane's objects, (right, down).
        kind: kind of the objects to render, see ``Truth.kind``; empty for all.
    """

    shift_px: tuple[int, int] = (0, 0)
    kind: str = ""


_WHOLE = View()


class Surface:
    """Renders any frame of a belt into the caller's buffers. Reads no clock.

    Args:
        spec: the belt.
        layout: the objects on it.
    """

    def __init__(self, spec: BeltSpec, layout: Layout) -> None:
        self._spec = spec
        self._layout = layout
        rng = generator(spec.seed, Stream.TEXTURE)
        self._period_px = spec.advance_px * _tile_frames(spec.ring)
        self._grain = [self._draw_grain(rng) for _ in range(PLANES)]
        self._noise = [self._draw_noise(rng) for _ in range(PLANES)]
        self._hot = [self._draw_hot(rng) for _ in range(PLANES)]
        # Shot noise grows with the square root of the light. Unit: 1/256 of the unit noise, which has 1/16 grey levels.
        self._shot_gain = np.rint(np.sqrt(np.arange(256)) * spec.noise * 16 / 15).astype(np.int32)
        self._unit_noise = np.rint(rng.standard_normal((512, 512)) * 16).clip(-64, 64).astype(np.int32)

    def render(self, planes: tuple[NDArray[np.uint8], ...], tick: int, index: int, view: View = _WHOLE) -> None:
        """Render a frame into (height, width) uint8 planes.

        Args:
            planes: top and bottom; every pixel is overwritten.
            tick: encoder count at mid-exposure.
            index: number of the exposure; only the noise depends on it.
            view: displacement of the second camera, and the kind of objects to render.
        """
        rng = generator(self._spec.seed, Stream.NOISE, index)
        start = -self._spec.shift_px(tick) % self._period_px
        for plane, grain, noise, hot in zip(planes, self._grain, self._noise, self._hot, strict=True):
            y, x = rng.integers(0, _NOISE_SPARE_PX, 2)
            rows, columns = plane.shape
            np.add(grain[start : start + rows], noise[y : y + rows, x : x + columns], out=plane)
            plane[hot[0], hot[1]] = hot[2]
        reach = math.ceil(abs(view.shift_px[1]) / self._spec.px_per_tick)
        for placed in self._layout.between(tick - reach, tick + reach):
            if view.kind in {"", placed.truth.kind}:
                y_px = self._spec.shift_px(tick) - placed.belt_px
                self._lay(planes[0], 0, placed, (placed.x_px, y_px), rng)
                self._lay(planes[1], 1, placed, (placed.x_px + view.shift_px[0], y_px + view.shift_px[1]), rng)
        for strip in self._spec.strips:
            here = planes[strip.plane][strip.rows, strip.columns]
            here[:] = np.rint(rng.normal(strip.level, self._spec.noise * np.sqrt(strip.level / 15), here.shape))

    def _lay(
        self,
        plane: NDArray[np.uint8],
        number: int,
        placed: PlacedItem,
        corner: tuple[int, int],
        rng: np.random.Generator,
    ) -> None:
        """Write one plane of an object whose upper left corner is (x, y); parts outside the frame are cut off."""
        x_px, y_px = corner
        top, bottom = max(y_px, 0), min(y_px + placed.patch.height_px, self._spec.height_px)
        left, right = max(x_px, 0), min(x_px + placed.patch.width_px, self._spec.width_px)
        if top >= bottom or left >= right:
            return
        pixels = placed.patch.pixels[top - y_px : bottom - y_px, left - x_px : right - x_px]
        here = plane[top:bottom, left:right]
        if placed.patch.exact:
            np.copyto(here, pixels[:, :, number], where=np.maximum(pixels[:, :, 0], pixels[:, :, 1]) > 0)
        else:
            np.maximum(here, self._noisy(pixels[:, :, number], rng), out=here)

    def _noisy(self, pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return (h, w) pixels with shot noise."""
        rows, columns = pixels.shape
        y, x = rng.integers(0, 512 - min(rows, 511)), rng.integers(0, 512 - min(columns, 511))
        noise = self._unit_noise[y : y + rows, x : x + columns] * self._shot_gain[pixels]
        noise += 2048  # so that the shift rounds to nearest
        noise >>= 12
        noise += pixels
        return np.asarray(noise.clip(0, 255), np.uint8)

    def _draw_grain(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return belt grain under uneven light, long enough for a frame to start at any row of the period."""
        width_px = self._spec.width_px
        across = np.linspace(-1.0, 1.0, width_px, dtype=np.float32)
        lamp = 1.0 - 0.22 * (across - rng.uniform(-0.3, 0.3)) ** 2 + 0.05 * smooth_line(rng, width_px, 300.0)
        narrow = periodic_grain(rng, (self._period_px, min(width_px, _GRAIN_WIDTH_PX)))
        grain = np.tile(narrow, (1, -(-width_px // narrow.shape[1])))[:, :width_px]
        streaks = smooth_line(rng, width_px, 7.0)  # wear along the belt
        level = lamp * (self._spec.belt_level + 0.7 * grain + 0.4 * streaks) - _PEDESTAL
        tile = np.rint(np.clip(level, 0.0, max(12.0, 2 * self._spec.belt_level))).astype(np.uint8)
        repeats = -(-self._spec.height_px // self._period_px) + 1
        return np.concatenate([tile] * repeats)[: self._period_px + self._spec.height_px].copy()

    def _draw_noise(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        shape = (self._spec.height_px + _NOISE_SPARE_PX, self._spec.width_px + _NOISE_SPARE_PX)
        noise = rng.standard_normal(shape, dtype=np.float32) * self._spec.noise + _PEDESTAL
        return np.asarray(np.rint(np.clip(noise, 0.0, 100.0)), np.uint8)

    def _draw_hot(self, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint8]]:
        """Return rows, columns and levels of hot pixels, which are the same in every frame."""
        rows, columns = self._spec.height_px, self._spec.width_px
        count = round(_HOT_PER_MEGAPIXEL * rows * columns / 1e6) if self._spec.noise > 0 else 0
        y, x = rng.integers(0, rows, count), rng.integers(0, columns, count)
        return y.astype(np.intp), x.astype(np.intp), rng.integers(15, 70, count).astype(np.uint8)


def _tile_frames(ring: int) -> int:
    """Return the period of the grain in frames; for a loop a divisor of its length, so that the seam is invisible."""
    if not ring:
        return _TILE_FRAMES
    return max(frames for frames in range(1, _TILE_FRAMES + 1) if ring % frames == 0)
