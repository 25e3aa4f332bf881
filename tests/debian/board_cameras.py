"""Starts pitcore with the two cameras of a Raspberry Pi that this machine does not have: the tests' picamera2.

The bottom one hangs from the moment on that /run/pitcore/hang is there, and freezes with /run/pitcore/freeze; both
files go with /run/pitcore when the service ends. The installed pitcore itself is unchanged.
"""

import importlib
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, "/usr/lib/pitcore")
sys.path.insert(0, "/usr/lib/pitcore-tests")
sys.path.insert(0, "/usr/lib/pitcore-tests/tests/camera/as_on_a_board")

from pitcore.cli.main import main
from tests.camera.board import BOTTOM, TOP
from tests.camera.fake_picamera2 import BENCH, Faults


def from_now_on(path):
    """A fault of every frame while a file is there; what is assigned to it is forgotten."""
    return property(lambda _: 0 if Path(path).exists() else None, lambda *_: None)


class Commanded(Faults):
    """Faults that occur on command."""

    hang_at, freeze_at = from_now_on("/run/pitcore/hang"), from_now_on("/run/pitcore/freeze")


size = {"height_px": 240, "width_px": 640, "advance_px": 120}
cameras = [{"id": TOP, "plane": "top", **size}, {"id": BOTTOM, "plane": "bottom", **size}]
os.environ["PITCORE_TEST_CAMERAS"] = json.dumps(cameras)
importlib.import_module("picamera2")  # the fake, which connects its cameras as it is imported
next(sensor for sensor in BENCH.cameras if sensor.id == BOTTOM).faults = Commanded()
main()
