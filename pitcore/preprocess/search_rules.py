"""From a board's configuration and its calibration to the rules the search works by. Pure; pixels are cut elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pitcore.config import Config, PlaneCalibration
from pitcore.frame import Window
from pitcore.preprocess.prepare import SegmentSpec


def window_of(config: Config) -> Window:
    """Return the part of each plane that the other shows too."""
    return Window(config.shift_px, config.frame.height_px, config.frame.width_px)


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
