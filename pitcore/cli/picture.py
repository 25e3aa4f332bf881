"""Draws the annotated picture of a frame: both planes, and every verdict by colour and by shape.

It uses shapes too, since one man in twelve cannot distinguish red from green.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pitcore.durable import replace_file
from pitcore.errors import OutputError
from pitcore.frame import Plane
from pitcore.output_path import cannot_be_written
from pitcore.palette import BACKGROUND, COLOURS, GAMMA, INK, TINTS
from pitcore.verdict import VERDICTS, Verdict, VerdictName

BAR_PX, LINE_PX, MARGIN_PX = 64, 3, 6
LEGEND_PX = 1420  # width of the legend at full size; on narrower frames it shrinks, so that no count is cut off


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of a frame, which stays valid after the frame is returned."""

    seq: int
    tick: int
    planes: tuple[Plane, ...]


def draw(
    snapshot: Snapshot, plane_names: Sequence[str], verdicts: Sequence[Verdict], px_per_tick: float
) -> Image.Image:
    """Draw one frame with the verdicts of all cherries in it, whichever frame they were judged in.

    Args:
        snapshot: the frame.
        plane_names: one for each plane.
        verdicts: of the whole run; each is moved with the belt to its place in this frame.
        px_per_tick: belt travel for one encoder tick.

    Returns:
        RGB picture: a legend bar, then the planes one below the other.
    """
    height, width = snapshot.planes[0].shape
    shown = list(_visible(snapshot, verdicts, px_per_tick))
    picture = Image.new("RGB", (width, BAR_PX + len(plane_names) * (height + MARGIN_PX)), BACKGROUND)
    pen = ImageDraw.Draw(picture)
    _legend(pen, shown, f"frame {snapshot.seq}", min(1.0, width / LEGEND_PX))
    for number, (name, plane) in enumerate(zip(plane_names, snapshot.planes, strict=True)):
        top = BAR_PX + number * (height + MARGIN_PX)
        strip = Image.fromarray(_tinted(plane, TINTS.get(name, (1.0, 1.0, 1.0))))
        strip_pen = ImageDraw.Draw(strip)
        for verdict, box in shown:
            mark(strip_pen, verdict.verdict, box)
        strip_pen.text((10, height - 34), name, fill=INK, font=_font(24))
        picture.paste(strip, (0, top))
    return picture


def mark(pen: ImageDraw.ImageDraw, verdict: VerdictName, box: tuple[int, int, int, int]) -> None:
    """Draw the sign of a verdict around a box (x, y, width, height)."""
    x, y, width, height = box
    left, top, right, bottom = x - MARGIN_PX, y - MARGIN_PX, x + width + MARGIN_PX, y + height + MARGIN_PX
    middle_x, middle_y = x + width / 2, y + height / 2
    colour = COLOURS[verdict]
    if verdict == "clean":
        pen.ellipse((left, top, right, bottom), outline=colour, width=LINE_PX)
    elif verdict == "maybe":
        far_x, far_y = width * 0.75 + MARGIN_PX, height * 0.75 + MARGIN_PX
        corners = [
            (middle_x, middle_y - far_y),
            (middle_x + far_x, middle_y),
            (middle_x, middle_y + far_y),
            (middle_x - far_x, middle_y),
        ]
        pen.polygon(corners, outline=colour, width=LINE_PX)
    elif verdict == "pit":
        pen.rectangle((left, top, right, bottom), outline=colour, width=LINE_PX)
        arm = max(8, min(width, height) // 4)
        for corner_x, corner_y in ((left, top), (right, top), (left, bottom), (right, bottom)):
            pen.line((corner_x - arm / 2, corner_y - arm / 2, corner_x + arm / 2, corner_y + arm / 2), colour, LINE_PX)
            pen.line((corner_x - arm / 2, corner_y + arm / 2, corner_x + arm / 2, corner_y - arm / 2), colour, LINE_PX)
    else:
        arm = max(8, width // 3)
        for edge in (left, right):
            inward = arm if edge == left else -arm
            pen.line(((edge + inward, top), (edge, top), (edge, bottom), (edge + inward, bottom)), colour, LINE_PX)


def write_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture as PNG; missing folders are made. Raises OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, partial(picture.save, format="PNG"))
    except OSError as error:
        raise OutputError(cannot_be_written(path, error)) from error


def _visible(
    snapshot: Snapshot, verdicts: Sequence[Verdict], px_per_tick: float
) -> list[tuple[Verdict, tuple[int, int, int, int]]]:
    """Move every verdict's box with the belt to the snapshot's tick; keep those that lie in the frame."""
    height = snapshot.planes[0].shape[0]
    moved = []
    for verdict in verdicts:
        x, y, box_width, box_height = verdict.box
        y += round((snapshot.tick - verdict.tick) * px_per_tick)
        if y + box_height > 0 and y < height:
            moved.append((verdict, (x, y, box_width, box_height)))
    return moved


def _tinted(plane: Plane, tint: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Convert (H, W) grey to (H, W, 3) RGB with gamma and a tint."""
    curve = (np.arange(256) / 255.0) ** GAMMA * 255.0
    table = np.stack([np.clip(curve * share, 0, 255) for share in tint], axis=1).astype(np.uint8)  # (256, 3)
    tinted: NDArray[np.uint8] = table[plane]
    return tinted


def _legend(pen: ImageDraw.ImageDraw, shown: Sequence[tuple[Verdict, object]], title: str, scale: float) -> None:
    """Write title, signs and counts into the bar at the top, at this share of their full size."""
    font, side = _font(max(1, round(28 * scale))), round(24 * scale)
    pen.text((16 * scale, 16), f"pitcore   {title}", fill=INK, font=font)
    x = 420.0
    for verdict in VERDICTS:
        count = sum(1 for found, _ in shown if found.verdict == verdict)
        mark(pen, verdict, (round(x * scale), 20, side, side))
        pen.text(((x + 48) * scale, 16), f"{verdict}  {count}", fill=COLOURS[verdict], font=font)
        x += 250


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)
