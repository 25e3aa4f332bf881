import re

import msgspec
import pytest

from pitcore.config import (
    BeltConfig,
    CameraConfig,
    Config,
    FrameConfig,
    Picamera2SourceConfig,
    ReplaySourceConfig,
    emulated,
    other_speed,
)
from pitcore.loop.sources import belt_spec

CAMERAS = (CameraConfig(id="a", planes=("top",)), CameraConfig(id="b", planes=("bottom",)))


def board(height_px=1088, width_px=1456, px_per_tick=0.5, **source):
    return Config(
        frame=FrameConfig(height_px=height_px, width_px=width_px),
        belt=BeltConfig(px_per_tick=px_per_tick),
        source=Picamera2SourceConfig(cameras=CAMERAS, **source),
    )


def test_an_emulated_board_is_left_as_it_is():
    assert emulated(Config()) == Config()


def test_the_belt_has_the_cameras_frames_rate_and_speed():
    changed = emulated(board(frames_per_s=10.0, px_per_s=6800.0))
    spec = belt_spec(changed, frames=1, ring=0)
    assert (spec.height_px, spec.width_px, spec.frames_per_s, spec.advance_px) == (1088, 1456, 10.0, 680)
    assert changed.belt.px_per_tick == 0.5


def with_encoder(config):
    encoder = msgspec.structs.replace(config.actuation.encoder, line_a=5)
    actuation = msgspec.structs.replace(config.actuation, kind="gpio", encoder=encoder)
    return {"frame": config.frame, "belt": config.belt, "actuation": actuation}


def test_a_belt_of_another_speed_moves_by_two_thirds_of_a_frame_and_is_reported():
    unknown = board(frames_per_s=10.0)
    fast = Config(**with_encoder(unknown), source=Picamera2SourceConfig(cameras=CAMERAS, px_per_s=1e6))
    for config, why in (
        (unknown, "gives no speed of the belt"),
        (fast, "px_per_s = 1e\\+06 .*fits no frame of 1088 px"),
    ):
        assert emulated(config).source.advance_px == 725
        assert re.search(f"moves 725 px a frame.*{why}", other_speed(config))
    for config in (Config(), board(frames_per_s=10.0, px_per_s=6800.0)):
        assert other_speed(config) is None


def test_the_pulses_of_a_trigger_give_the_speed():
    config = board(trigger="external", trigger_ticks=1360)
    assert (emulated(config).source.advance_px, other_speed(config)) == (680, None)


@pytest.mark.parametrize("px_per_tick", [0.4837219, 3.3, -0.51, 1000.0, 7.0])
def test_a_measured_scale_becomes_the_next_that_whole_pixels_allow(px_per_tick):
    changed = emulated(board(px_per_tick=px_per_tick, px_per_s=6800.0))
    belt_spec(changed, frames=1, ring=0)  # raises if it makes no belt
    if abs(px_per_tick) < 10:
        assert changed.belt.px_per_tick == pytest.approx(abs(px_per_tick), rel=0.02)


@pytest.mark.parametrize(("height_px", "width_px"), [(64, 64), (240, 640), (480, 640), (2048, 4096)])
def test_every_frame_size_makes_a_belt(height_px, width_px):
    belt_spec(emulated(board(height_px, width_px)), frames=1, ring=24)
    replay = Config(frame=FrameConfig(height_px=height_px, width_px=width_px), source=ReplaySourceConfig(path="x"))
    belt_spec(emulated(replay), frames=1, ring=24)


def test_valves_of_the_board_are_not_driven():
    config = board(px_per_s=6800.0)
    encoder = msgspec.structs.replace(config.actuation.encoder, line_a=5)
    driven = msgspec.structs.replace(
        config, actuation=msgspec.structs.replace(config.actuation, kind="gpio", encoder=encoder)
    )
    assert emulated(driven).actuation.kind == "simulated"
    assert emulated(config).actuation.kind == "none"
