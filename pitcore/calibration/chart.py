"""Draws the picture of a calibration: curves, strips of frames, and overlays of two planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pitcore.frame import Plane

PAPER, INK, GRID = (16, 18, 22), (232, 234, 238), (64, 68, 76)
COLOURS = ((255, 120, 90), (90, 190, 255), (255, 221, 0), (128, 255, 64))
WIDTH_PX, PLOT_PX, STRIP_PX, MARGIN_PX, TEXT_PX = 1232, 280, 220, 12, 18


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve of (N,) values over (N,) places; ``dots`` draws single points instead of a line."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    dots: bool = False


def plot(title: str, curves: Sequence[Curve]) -> Image.Image:
    """Draw curves in one diagram, with their range and names. Return an RGB picture."""
    image = Image.new("RGB", (WIDTH_PX, PLOT_PX), PAPER)
    pen = ImageDraw.Draw(image)
    low = min(float(curve.y.min()) for curve in curves)
    high = max(float(curve.y.max()) for curve in curves)
    left, right = min(float(curve.x.min()) for curve in curves), max(float(curve.x.max()) for curve in curves)
    spare = max(0.05 * (high - low), 1e-6)
    box = (60, 48, WIDTH_PX - MARGIN_PX, PLOT_PX - 28)
    pen.rectangle(box, outline=GRID)
    for number, curve in enumerate(curves):
        across = box[0] + (curve.x - left) / max(right - left, 1e-9) * (box[2] - box[0])
        up = box[3] - (curve.y - low + spare) / (high - low + 2 * spare) * (box[3] - box[1])
        points = list(zip(across.tolist(), up.tolist(), strict=True))
        colour = COLOURS[number % len(COLOURS)]
        if curve.dots:
            for x, y in points:
                pen.ellipse((x - 3, y - 3, x + 3, y + 3), outline=colour)
        else:
            pen.line(points, fill=colour, width=2)
        pen.text((60 + 260 * number, 28), curve.name, fill=colour, font=_font())
    pen.text((MARGIN_PX, 4), title, fill=INK, font=_font())
    for level, y in ((high, box[1]), (low, box[3] - TEXT_PX)):
        pen.text((4, y), f"{level:.4g}", fill=INK, font=_font(14))
    for place, x in ((left, box[0]), (right, box[2] - 44)):
        pen.text((x, box[3] + 4), f"{place:.4g}", fill=INK, font=_font(14))
    return image


def strip(title: str, plane: Plane) -> Image.Image:
    """Draw the middle of an (H, W) plane with unchanged brightness."""
    return _titled(title, Image.fromarray(_middle(plane)).convert("RGB"))


def overlay(title: str, planes: Sequence[Plane]) -> Image.Image:
    """Draw one plane in red and one in cyan over each other. Where they do not match, rims are coloured."""
    red, cyan = (np.ascontiguousarray(_middle(plane, share=0.25)) for plane in planes)
    # Both are scaled to the same brightness, so that matching pixels are grey.
    red, cyan = (np.minimum(plane * (180.0 / max(1.0, float(np.percentile(plane, 99)))), 255) for plane in (red, cyan))
    picture = np.stack([red, cyan, cyan], axis=2).astype(np.uint8)
    return _titled(title, Image.fromarray(picture))


def sheet(parts: Sequence[Image.Image]) -> Image.Image:
    """Put pictures below each other in one picture."""
    height = sum(part.height + MARGIN_PX for part in parts)
    image = Image.new("RGB", (WIDTH_PX, height), PAPER)
    top = 0
    for part in parts:
        image.paste(part, (0, top))
        top += part.height + MARGIN_PX
    return image


def _middle(plane: Plane, share: float = 1.0) -> Plane:
    """Return the part of a plane that a strip shows: the middle share of its columns, and rows in proportion."""
    height, width = plane.shape
    columns = max(1, round(width * share))
    rows = min(height, max(1, round(columns * STRIP_PX / WIDTH_PX)))
    top, left = (height - rows) // 2, (width - columns) // 2
    return plane[top : top + rows, left : left + columns]


def _titled(title: str, picture: Image.Image) -> Image.Image:
    image = Image.new("RGB", (WIDTH_PX, STRIP_PX + 28), PAPER)
    image.paste(picture.resize((WIDTH_PX, STRIP_PX), Image.Resampling.BILINEAR), (0, 28))
    ImageDraw.Draw(image).text((MARGIN_PX, 4), title, fill=INK, font=_font())
    return image


def _font(size_px: int = TEXT_PX) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)
