"""Tests that each plane whose light cannot be watched is reported while this lasts."""

import msgspec
import pytest

from pitcore.config import LineConfig, ReferenceConfig, load_config, weakened
from pitcore.config.calibration import BoardCalibration, PlaneCalibration
from pitcore.line_watch.light import LightCheck
from tests.conftest import ROOT

BOARDS = ROOT / "firmware_configs" / "boards"
LEVELS = {"belt_level": 6.0, "cherry_level": 90.0}


def calibrated(top, bottom):
    """A board with two cameras, calibrated with these values of its planes."""
    config = load_config(BOARDS / "pi5-two-global-shutter.toml", calibrated=False)
    planes = {"top": PlaneCalibration(**top), "bottom": PlaneCalibration(**bottom)}
    values = BoardCalibration(
        schema="pitcore.calibration/1", height_px=config.frame.height_px, width_px=config.frame.width_px, planes=planes
    )
    calibration = msgspec.structs.replace(config.calibration, values=values)
    return msgspec.structs.replace(config, calibration=calibration)


@pytest.mark.parametrize("name", ["pi4-one", "pi5-two-global-shutter", "webcam"])
def test_a_board_with_cameras_and_no_calibration_is_reported(name):
    (said,) = weakened(load_config(BOARDS / f"{name}.toml", calibrated=False))
    assert said.startswith("plane top, bottom: not calibrated")
    assert "a change of the light is not detected" in said


def test_a_missing_calibration_file_is_named():
    (said,) = weakened(load_config(BOARDS / "pi5-two-global-shutter.toml", calibrated=False))
    assert "(there is no file /var/lib/pitcore/calibration.json)" in said


def test_a_calibration_of_exposure_alone_does_not_calibrate_the_light():
    exposed = {"exposure_us": 700.0, "gain": 1.0}
    config = calibrated(exposed, exposed)
    assert not LightCheck(config).is_calibrated
    assert any(said.startswith("plane top, bottom: not calibrated") for said in weakened(config))


def test_a_belt_too_dark_for_one_lamp_is_reported_for_its_plane():
    config = calibrated(LEVELS, LEVELS | {"belt_level": 2.0})
    (said,) = weakened(config)
    assert said.startswith("plane bottom: the empty belt is darker than 3.5 grey levels")
    assert "name it in [[line.reference]]" in said
    assert said.endswith("until then a belt that is empty for 60 s is rejected")


def test_a_strip_over_a_dark_belt_counts_once_it_was_measured():
    strip = ReferenceConfig(plane="bottom", x_px=(0, 48))
    dark = calibrated(LEVELS, LEVELS | {"belt_level": 2.0})
    (said,) = weakened(msgspec.structs.replace(dark, line=LineConfig(reference=(strip,))))
    assert said.startswith("plane bottom: the reference strip was not measured and is not watched; run")
    assert said.endswith("is rejected")
    dark = calibrated(LEVELS, LEVELS | {"belt_level": 2.0, "strip_level": 150.0})
    assert weakened(msgspec.structs.replace(dark, line=LineConfig(reference=(strip,)))) == []
    (said,) = weakened(dark)  # a level without a strip in the configuration watches nothing
    assert said.startswith("plane bottom: the empty belt is darker")


def test_a_calibrated_board_is_not_reported_as_less_safe():
    assert weakened(calibrated(LEVELS, LEVELS)) == []
