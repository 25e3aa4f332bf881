"""Tests the calibration in force, and the undoing of a step."""

import msgspec
import pytest

from pitcore.calibration import store
from pitcore.config import BeltScale, BoardCalibration, PlaneCalibration, read_calibration
from pitcore.errors import CalibrationError, ConfigError


def made(px_per_tick):
    return BoardCalibration(
        schema="pitcore.calibration/1",
        height_px=240,
        width_px=320,
        planes={"top": PlaneCalibration(), "bottom": PlaneCalibration()},
        belt=BeltScale(px_per_tick=px_per_tick, error=0.001),
    )


def scales(path):
    found = read_calibration(path)
    return None if found is None else found.belt.px_per_tick


def test_undo_goes_back_step_by_step_to_no_calibration(tmp_path):
    path = tmp_path / "board" / "calibration.json"
    for number, scale in enumerate((0.5, 0.6, 0.7), 1):
        assert store.save(path, made(scale)).serial == number
    assert [store.undo(path).serial, scales(path)] == [2, 0.6]
    assert [store.undo(path).serial, scales(path)] == [1, 0.5]
    assert store.undo(path) is None
    assert not path.exists()
    with pytest.raises(CalibrationError, match="nothing to undo"):
        store.undo(path)


def test_a_step_after_an_undo_overwrites_no_earlier_state(tmp_path):
    path = tmp_path / "calibration.json"
    for scale in (0.5, 0.6):
        store.save(path, made(scale))
    store.undo(path)
    again = store.save(path, made(0.8))
    assert (again.serial, again.previous) == (3, 1)
    assert [scales(tmp_path / f"calibration.json.{number:04}") for number in (1, 2, 3)] == [0.5, 0.6, 0.8]
    assert (store.undo(path).serial, scales(path)) == (1, 0.5)


def test_undo_replaces_a_damaged_file(tmp_path):
    path = tmp_path / "calibration.json"
    store.save(path, made(0.5))
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"damaged: .*; restore the previous one with 'pitcore calibrate undo'"):
        read_calibration(path)
    assert store.undo(path).serial == 1
    assert scales(path) == 0.5


def test_a_missing_earlier_state_is_named(tmp_path):
    path = tmp_path / "calibration.json"
    for scale in (0.5, 0.6):
        store.save(path, made(scale))
    (tmp_path / "calibration.json.0001").unlink()
    with pytest.raises(CalibrationError, match=r"calibration\.json\.0001: No such file or directory; calibrate again"):
        store.undo(path)
    assert scales(path) == 0.6


def test_an_unusable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"calibration\.json: .*; correct \[calibration\] file"):
        store.save(tmp_path / "file" / "calibration.json", made(0.5))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("background", (6,) * 319, "planes.top.background has 319 values for width_px = 320"),
        ("flat_field", (255,) * 320, "int` >= 256"),
    ],
)
def test_a_profile_of_the_wrong_length_or_range_is_refused(tmp_path, field, value, message):
    path = tmp_path / "calibration.json"
    raw = msgspec.to_builtins(made(0.5))
    raw["planes"]["top"][field] = value
    path.write_bytes(msgspec.json.encode(raw))
    with pytest.raises(ConfigError, match=message):
        read_calibration(path)


@pytest.mark.parametrize("px_per_tick", [0.0, -1e-7])
def test_a_belt_scale_of_zero_is_refused(tmp_path, px_per_tick):
    path = tmp_path / "calibration.json"
    raw = msgspec.to_builtins(made(0.5))
    raw["belt"]["px_per_tick"] = px_per_tick
    path.write_bytes(msgspec.json.encode(raw))
    with pytest.raises(ConfigError, match=r"px_per_tick must not be 0: .*; restore the previous one"):
        read_calibration(path)


@pytest.mark.parametrize("content", [b"[frame]\n", b"{}", b""])
def test_undo_deletes_no_other_file(tmp_path, content):
    path = tmp_path / "calibration.json"
    path.write_bytes(content)
    with pytest.raises(CalibrationError, match="no calibration, or damaged, and none before"):
        store.undo(path)
    assert path.read_bytes() == content
