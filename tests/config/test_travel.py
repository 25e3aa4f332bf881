"""A belt on which cherries cannot be seen is refused; one on which some may not be seen well is reported."""

import msgspec
import pytest

from pitcore.config import BeltScale, BoardCalibration, CalibrationConfig, PlaneCalibration, decode_config, weakened
from pitcore.config.travel import doubts
from pitcore.errors import ConfigError
from tests.test_config import BOARDS

FRAME = "[frame]\nheight_px = 1088\nwidth_px = 1456\n"
ENCODER = '[actuation]\nkind = "simulated"\nencoder = { line_a = 1 }\n'


def board(source, *, exposure_us=150, more=""):
    cameras = "".join(
        f'[[source.cameras]]\nid = "{plane}"\nplanes = ["{plane}"]\nexposure_us = {exposure_us}\n'
        for plane in ("top", "bottom")
    )
    return f'{FRAME}{more}[source]\nkind = "picamera2"\n{source}\n{cameras}'


def config_of(*args, **kwargs):
    return decode_config(board(*args, **kwargs), "board.toml")


REFUSED = {
    "too fast": (
        board("frames_per_s = 10.0\npx_per_s = 68000.0"),
        [
            "source.px_per_s = 68000",
            "source.frames_per_s = 10",
            "6800 px",
            "frame.height_px = 1088",
            "raise frames_per_s",
        ],
    ),
    "too few frames": (
        board("frames_per_s = 1.0\npx_per_s = 6800.0", more="[runtime]\ncapture_timeout_s = 5.0\n"),
        ["source.px_per_s = 6800", "source.frames_per_s = 1:", "6800 px"],
    ),
    "webcam": (
        FRAME + '[source]\nkind = "uvc"\nframes_per_s = 10\npx_per_s = 20000.0\n',
        ["source.px_per_s = 20000", "source.frames_per_s = 10", "2000 px"],
    ),
    "trigger": (
        board('trigger = "external"\ntrigger_ticks = 5000'),
        ["source.trigger_ticks = 5000", "belt.px_per_tick", "2500 px", "lower trigger_ticks"],
    ),
    "smeared": (
        board("frames_per_s = 10.0\npx_per_s = 6800.0", exposure_us=50000),
        ["exposure_us = 50000", "source.px_per_s = 6800", "340 px", "lower exposure_us to at most 441"],
    ),
    "impatient emulator": (
        "[source]\nkind = 'emulated'\nframes_per_s = 0.5\n",
        ["runtime.capture_timeout_s = 1", "source.frames_per_s = 0.5", "4 s or more"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_belt_that_no_camera_can_show_is_refused_with_both_keys_and_the_numbers(case):
    text, parts = REFUSED[case]
    with pytest.raises(ConfigError) as caught:
        decode_config(text, "board.toml")
    assert all(part in str(caught.value) for part in ("board.toml: ", *parts)), caught.value


def test_a_belt_that_may_show_a_cherry_in_part_only_is_reported():
    (said,) = doubts(config_of("frames_per_s = 10.0\npx_per_s = 10000.0"))
    assert "may be whole in none" in said
    assert "at most 988 px" in said
    assert not doubts(config_of("frames_per_s = 10.0\npx_per_s = 9880.0"))
    shifted = config_of("frames_per_s = 10.0\npx_per_s = 9880.0", more="[alignment]\ndy_px = -20\n")
    assert "at most 968 px" in doubts(shifted)[0]


def test_an_exposure_that_may_blur_a_pit_is_reported():
    config = config_of("frames_per_s = 10.0\npx_per_s = 6800.0", exposure_us=1000)
    (said,) = [line for line in weakened(config) if "exposure_us" in line]
    assert "exposure_us = 1000 at source.px_per_s = 6800: the belt moves 7 px" in said
    assert not doubts(config_of("frames_per_s = 10.0\npx_per_s = 6800.0", exposure_us=440))


def test_a_camera_has_its_own_patience():
    decode_config(board("frames_per_s = 1.0", more="[runtime]\ncapture_timeout_s = 1.0\n"), "board.toml")


def test_with_an_encoder_the_written_speed_is_not_in_force_so_it_is_only_reported():
    (said,) = doubts(config_of("frames_per_s = 10.0\npx_per_s = 68000.0", exposure_us=10, more=ENCODER))
    assert "6800 px between two frames" in said


def calibrated(config, exposure_us, px_per_tick):
    values = BoardCalibration(
        schema="pitcore.calibration/1",
        height_px=1088,
        width_px=1456,
        planes={name: PlaneCalibration(exposure_us=exposure_us, gain=1.0) for name in ("top", "bottom")},
        belt=BeltScale(px_per_tick=px_per_tick, error=0.0),
    )
    return msgspec.structs.replace(config, calibration=CalibrationConfig(file="c.json", values=values))


def test_the_calibrated_exposure_and_scale_are_in_force():
    fast = config_of("frames_per_s = 10.0\npx_per_s = 6800.0", exposure_us=1000)
    assert not doubts(calibrated(fast, 150.0, 0.5))
    later = '[calibration]\nfile = "c.json"\n'
    smeared = config_of("frames_per_s = 10.0\npx_per_s = 6800.0", exposure_us=50000, more=later)  # not measured yet
    assert not doubts(calibrated(smeared, 150.0, 0.5))
    with pytest.raises(ValueError, match="exposure_us = 50000 at"):
        calibrated(smeared, 50000.0, 0.5)
    pulses = config_of('trigger = "external"\ntrigger_ticks = 13600', more=later)  # its scale is not measured yet
    assert not doubts(calibrated(pulses, 150.0, 0.05))
    with pytest.raises(ValueError, match=r"trigger_ticks = 13600 at 0\.5 px a tick"):
        calibrated(pulses, 150.0, 0.5)


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.name)
def test_the_shipped_boards_show_every_cherry_whole_and_sharp(path):
    assert not doubts(decode_config(path.read_text(), path.name))
