"""From a board's configuration and its calibration to the rules the search works by. Pure; pixels are cut elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pitcore.config import Config, PlaneCalibration
from pitcore.frame import Window
from pitcore.preprocess.prepare import SegmentSpec


def window_of(config: Config, shift_px: tuple[int, int] | None = None) -> Window:
    """Return the part of each plane that the other shows too, without the edges where reference strips lie.

    Args:
        config: of the board.
        shift_px: instead of the alignment in force.
    """
    height_px, width_px = config.frame.height_px, config.frame.width_px
    shift_px = config.shift_px if shift_px is None else shift_px
    common, left_px, right_px = Window(shift_px, height_px, width_px), 0, 0
    for strip in config.line.reference:
        columns, edge_px = common.columns(config.frame.planes.index(strip.plane)), strip.edge_px(width_px)
        if strip.is_left(width_px):
            left_px = max(left_px, edge_px - columns.start)
        else:
            right_px = max(right_px, columns.stop - (width_px - edge_px))
    return Window(shift_px, height_px, width_px, left_px, right_px)


def segment_spec(config: Config, window: Window) -> SegmentSpec:
    """Return how cherries are distinguished from the belt.

    A calibrated background is a profile across the belt, one level a column, which takes the place of the plane's
    single level; a flat field lifts what lies in the lamp's dark ends.
    """
    rules, names = config.segmentation, config.frame.planes
    background: list[int | NDArray[np.uint8]] = []
    gain: list[NDArray[np.uint16] | None] = []
    values = config.calibration.values
    for number, name in enumerate(names):
        plane = PlaneCalibration() if values is None else values.planes[name]
        columns = window.columns(number)
        level: int | NDArray[np.uint8] = rules.background[number]
        background.append(np.array(plane.background[columns], np.uint8) if plane.background else level)
        gain.append(np.array(plane.flat_field[columns], np.uint16) if plane.flat_field else None)
    return SegmentSpec(
        background=tuple(background),
        threshold=rules.threshold,
        polarity=rules.polarity,
        combine=rules.combine,
        min_area_px=rules.min_area_px,
        gain=tuple(gain),
    )
