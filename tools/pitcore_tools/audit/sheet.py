"""Draws contact sheets of suspects for people: both planes enlarged, with stretched contrast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pitcore.preprocess.prepare import CropSpec, crop_from_image
from pitcore_tools.tables import HASH_DIGITS

COLUMNS, ROWS = 4, 6
PER_SHEET = COLUMNS * ROWS
VIEW = CropSpec(80, "shrink", 2)  # 95 % of cherries are below 74 px; larger ones are reduced to fit
ENLARGED = 2
GAP_PX, PLANE_GAP_PX = 16, 4
HEADING_PX, CAPTION_PX = 32, 46
FONT_PX = 15
HEADING = "Left: top camera. Right: bottom camera. The contrast of each picture is stretched by itself."
DARKEST = 24  # darkest level of a cherry, so that it differs from the background
BACKGROUND, INK, PALE = 44, 255, 190


@dataclass(frozen=True, slots=True)
class Suspect:
    """A crop on a sheet.

    Attributes:
        pixels: (H, W, 2) uint8, zero outside the mask.
        hash: hash of the crop.
        label: label given by people.
        p_pit: mean probability of a pit over the nets.
    """

    pixels: NDArray[np.uint8]
    hash: str
    label: str
    p_pit: float


def sheet_name(number: int) -> str:
    """Return the file name of a sheet; the first is number 1."""
    return f"sheet-{number:02}.png"


def draw_sheets(suspects: Sequence[Suspect]) -> list[Image.Image]:
    """Return grey pictures of ``PER_SHEET`` suspects each, in their order, top plane left and bottom plane right."""
    starts = range(0, len(suspects), PER_SHEET)
    return [_draw(suspects[start : start + PER_SHEET], start + 1) for start in starts]


def _draw(suspects: Sequence[Suspect], first_number: int) -> Image.Image:
    side_px = VIEW.size_px * ENLARGED
    width_px, height_px = 2 * side_px + PLANE_GAP_PX + GAP_PX, side_px + CAPTION_PX + GAP_PX
    rows = -(-len(suspects) // COLUMNS)
    columns = max(2, min(COLUMNS, len(suspects)))  # at least two, because the heading is that wide
    sheet = Image.new("L", (columns * width_px + GAP_PX, HEADING_PX + rows * height_px + GAP_PX), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_PX)
    draw.text((GAP_PX, GAP_PX), HEADING, PALE, font)
    for place, suspect in enumerate(suspects):
        x = GAP_PX + place % COLUMNS * width_px
        y = GAP_PX + HEADING_PX + place // COLUMNS * height_px
        planes = np.moveaxis(crop_from_image(suspect.pixels, VIEW), 2, 0)
        for plane, pixels in enumerate(planes):
            small = Image.fromarray(stretched(pixels))
            sheet.paste(
                small.resize((side_px, side_px), Image.Resampling.BICUBIC), (x + plane * (side_px + PLANE_GAP_PX), y)
            )
        caption = f"{first_number + place}.  labelled {suspect.label},  p of pit {suspect.p_pit:.3f}"
        draw.text((x, y + side_px + 4), caption, INK, font)
        draw.text((x, y + side_px + 24), suspect.hash[:HASH_DIGITS], PALE, font)
    return sheet


def stretched(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a (H, W) plane whose contrast fills ``DARKEST`` to 255 inside the mask; 0 stays 0."""
    inside = plane > 0
    if not inside.any():
        return plane
    low, high = np.percentile(plane[inside], (2.0, 99.5))
    share = np.clip((plane - low) / max(float(high - low), 1.0), 0.0, 1.0)
    return np.where(inside, DARKEST + share * (255 - DARKEST), 0).astype(np.uint8)
