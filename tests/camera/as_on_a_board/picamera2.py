"""The module that ``import picamera2`` loads in a program that a test starts with this folder on its path.

``PITCORE_TEST_CAMERAS`` says what is connected: JSON, a list of objects with id, plane, height_px, width_px,
advance_px, faults and lit_at_us. The cameras look at the emulated belt.
"""

import json
import os

import numpy as np

from tests.camera.board import belt_pictures
from tests.camera.fake_picamera2 import BENCH, Faults, MappedArray, Picamera2, Sensor

__all__ = ["MappedArray", "Picamera2"]


def connected():
    for given in json.loads(os.environ["PITCORE_TEST_CAMERAS"]):
        pictures = belt_pictures(given["height_px"], given["width_px"], given["advance_px"])
        if given["plane"] == "both":  # blue, green, red: top is red, bottom is blue
            shown = [np.dstack((bottom, np.zeros_like(top), top)) for top, bottom in pictures]
        else:
            shown = [pair[("top", "bottom").index(given["plane"])] for pair in pictures]
        scene = lambda number, shown=shown: shown[number % len(shown)]  # noqa: E731  one for each camera
        yield Sensor(
            given["id"],
            scene=scene,
            by_time=True,
            lit_at_us=given.get("lit_at_us"),
            faults=Faults(**given.get("faults", {})),
        )


BENCH.connect(*connected())
