"""A board with cameras on this machine: puts the fake picamera2 where the real one would be imported from."""

import contextlib
import json
import os
import sys
import types
from pathlib import Path

import numpy as np

from pitcore.camera.picamera import PicameraSource
from pitcore.camera.ticks import ConstantSpeed
from pitcore.config import CameraConfig, Picamera2SourceConfig
from pitcore.emulator.emulated import EmulatedSource
from pitcore.emulator.spec import BeltSpec
from pitcore.errors import SourceError
from pitcore.frame import Geometry
from tests.camera import fake_picamera2

HERE = Path(__file__).parent
TOP, BOTTOM = "/base/rp1/i2c@88000/imx296@1a", "/base/rp1/i2c@80000/imx296@1a"
GEOMETRY = Geometry(("top", "bottom"), 48, 100, 0.5)
PX_PER_S = 1000.0
PATIENCE_S = 60.0  # longer than a busy machine sleeps


class Transform(types.SimpleNamespace):
    """libcamera's."""


def libcamera_module():
    module = types.ModuleType("libcamera")
    module.Transform = Transform
    modes = types.SimpleNamespace(Off=0, Server=1, Client=2)
    module.controls = types.SimpleNamespace(rpi=types.SimpleNamespace(SyncModeEnum=modes))
    return module


def picamera2_module():
    module = types.ModuleType("picamera2")
    module.Picamera2, module.MappedArray = fake_picamera2.Picamera2, fake_picamera2.MappedArray
    return module


@contextlib.contextmanager
def installed():
    """Let ``import picamera2`` find the fake; yields its bench, on which cameras are connected."""
    names = {"picamera2": picamera2_module(), "libcamera": libcamera_module()}
    before = {name: sys.modules.get(name) for name in names}
    sys.modules |= names
    try:
        with fake_picamera2.fresh_bench() as bench:
            yield bench
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def belt_pictures(height_px, width_px, advance_px, count=12, cherries=None):
    """A loop of (top, bottom) planes of the emulated belt."""
    spec = BeltSpec(
        height_px=height_px,
        width_px=width_px,
        advance_px=advance_px,
        cherries_per_frame=24.0 * min(1.0, height_px * width_px / (500 * 2464)) if cherries is None else cherries,
        ring=count,
        frames=count,
    )
    source = EmulatedSource(spec)
    source.start()
    pictures = []
    while (frame := source.read(60.0)) is not None:
        with frame:
            pictures.append(tuple(np.array(plane) for plane in frame.planes))
    source.close()
    return pictures


def programs_cameras(**more):
    """The environment of a program that finds two small cameras, or others.

    ``faults`` are those of ``{id: {...}}``, ``each`` is more of both small ones.
    """
    cameras = more.get("cameras") or [
        {"id": name, "plane": plane, "height_px": 240, "width_px": 640, "advance_px": 120, **more.get("each", {})}
        for name, plane in ((TOP, "top"), (BOTTOM, "bottom"))
    ]
    for given in cameras:
        given["faults"] = more.get("faults", {}).get(given["id"], {})
    path = os.pathsep.join([str(HERE / "as_on_a_board"), os.environ.get("PYTHONPATH", ""), str(HERE.parent.parent)])
    return os.environ | {"PYTHONPATH": path, "PITCORE_TEST_CAMERAS": json.dumps(cameras)}


def camera(plane, camera_id, **changes):
    return CameraConfig(**({"id": camera_id, "planes": (plane,)} | changes))


def source_config(**changes):
    cameras = (camera("top", TOP), camera("bottom", BOTTOM))
    return Picamera2SourceConfig(**({"cameras": cameras, "frames_per_s": 50.0, "startup_s": 10.0} | changes))


def source_of(config=None, geometry=GEOMETRY, ticks=None):
    return PicameraSource(config or source_config(), geometry, ticks or ConstantSpeed(PX_PER_S, geometry.px_per_tick))


FRAME_NS = 20_000_000


def read_until_it_breaks(source, timeout_s=1.0, limit=2000):
    """Frames before the error, and the error."""
    frames = []
    for _ in range(limit):
        try:
            frame = source.read(timeout_s)
        except SourceError as error:
            return frames, error
        with frame:
            frames.append((frame.seq, frame.t_ns, tuple(int(plane[0, 0]) for plane in frame.planes)))
    raise AssertionError("it never broke")


def take(source, count, timeout_s=PATIENCE_S):
    frames = []
    for _ in range(count):
        with source.read(timeout_s) as frame:
            frames.append((frame.seq, frame.t_ns, frame.tick, tuple(np.array(plane) for plane in frame.planes)))
    return frames


def lost_of(source):
    return {health.planes[0]: dict(health.lost) for health in source.health()}


def number_shown(plane):
    assert plane.min() == plane.max(), "a frame made of several"
    return int(plane[0, 0]) - 10
