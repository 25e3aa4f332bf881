"""Exchanged cameras: found at the start and while running, at any exposure, and never on an ordinary belt."""

import msgspec
import numpy as np
import pytest

from pitcore.camera.source import Exposure
from pitcore.config import CameraConfig, LineConfig, Picamera2SourceConfig, decode_config
from pitcore.errors import ConfigError
from pitcore.line_watch.identity import IdentityCheck, difference
from pitcore.loop.app import App, Options
from pitcore.metrics import Metrics
from pitcore.model_card import DEFAULT_BUNDLE
from pitcore.sinks.memory import MemorySink
from tests.line_belt import line_config, line_source, run_line, wrong

WITHIN = 10  # frames


def mine(memory):
    return [event for event in memory.events if event.event.startswith("planes_swapped")]


@pytest.mark.parametrize("first", [0, 30])
def test_exchanged_cameras_raise_an_alarm_and_no_cherry_is_clean(first, tiny_bundle):
    memory, _, app = run_line(line_config(tiny_bundle), line_source(first + 40, wrong(swapped=True, first=first)))
    (raised,) = mine(memory)
    assert first <= raised.seq < first + WITHIN
    assert "the cameras are exchanged; exchange their ids" in raised.detail
    assert [alarm.failsafe for alarm in app.alarms if alarm.name == "planes_swapped"] == ["maybe"]
    assert not [one for one in memory.verdicts if one.frame.seq >= raised.seq and one.verdict == "clean"]


def test_the_alarm_ends_when_the_cameras_are_exchanged_back(tiny_bundle):
    memory, _, app = run_line(line_config(tiny_bundle), line_source(60, wrong(swapped=True, first=10, last=29)))
    assert [event.event for event in mine(memory)] == ["planes_swapped", "planes_swapped_cleared"]
    assert app.alarms == ()


def test_exchanged_cameras_are_found_despite_a_calibrated_exposure(tiny_bundle):
    """Calibration with exchanged cameras gives each plane the brightness of its name."""
    source = line_source(40, wrong(swapped=True))
    source.set_exposures([Exposure(743.0, 1.0), Exposure(1346.0, 1.0)])  # 156 and 210 for 210 and 156
    memory, _, _ = run_line(line_config(tiny_bundle), source)
    assert [event.seq < WITHIN for event in mine(memory)] == [True]


def test_exchanged_cameras_are_found_on_a_sparse_belt(tiny_bundle):
    memory, _, _ = run_line(line_config(tiny_bundle), line_source(40, wrong(swapped=True), cherries_per_frame=2.0))
    assert [event.seq < 2 * WITHIN for event in mine(memory)] == [True]


def on_cameras(bundle):
    """The small belt as real cameras would show it: only the configuration knows of them."""
    camera = CameraConfig(id="one", planes=("top", "bottom"), channels=("red", "blue"))
    source = Picamera2SourceConfig(cameras=(camera,), px_per_s=2400.0)
    return msgspec.structs.replace(line_config(bundle), source=source)


@pytest.mark.parametrize("cherries_per_frame", [0.5, 6.0])
def test_the_first_cherries_under_exchanged_cameras_are_not_clean(cherries_per_frame, tiny_bundle):
    """The tiny network calls all of them clean."""
    source = line_source(120, wrong(swapped=True), cherries_per_frame=cherries_per_frame)
    memory, _, app = run_line(on_cameras(tiny_bundle), source)
    assert not [one for one in memory.verdicts if one.verdict == "clean"]
    assert len([one for one in memory.verdicts if one.reason == "failsafe"]) > 8
    assert [alarm.name for alarm in app.alarms if alarm.name == "planes_swapped"] == ["planes_swapped"]


@pytest.mark.parametrize("cherries_per_frame", [0.5, 6.0])
def test_a_correct_line_sends_only_its_first_cherries_to_review(cherries_per_frame, tiny_bundle):
    config = on_cameras(tiny_bundle)
    memory, metrics = MemorySink(), Metrics()
    source = line_source(120, cherries_per_frame=cherries_per_frame)
    app = App(config, source, Options(sinks=[memory], timings=False), metrics)
    app.run()
    held = [at for at, one in enumerate(memory.verdicts) if one.reason == "failsafe"]
    assert 0 < len(held) <= 40
    assert [one.verdict for one in memory.verdicts[held[-1] + 1 :]].count("clean") > 10
    app.reload(msgspec.structs.replace(config, line=LineConfig(misaligned_px=5.0)))  # the cameras are the same
    assert app.now.stages.line.failsafe == "alarm"


def test_planes_without_a_difference_are_not_held_back_for_ever():
    check = IdentityCheck(("top", "bottom"))
    for _ in range(13):
        assert check.is_open
        check.add(np.full((8, 80, 80, 2), 90, np.uint8))
    assert check.swapped() is None
    assert not check.is_open


@pytest.mark.parametrize("names", [("top", "bottom"), ("bottom", "top")])
def test_the_order_of_the_planes_decides_what_is_exchanged(names):
    crops = np.load(DEFAULT_BUNDLE / "golden.npz")["crops"]
    for planes, is_swapped in ((crops, names[0] == "bottom"), (crops[..., ::-1], names[0] == "top")):
        check = IdentityCheck(names)
        for start in range(0, len(planes), 8):
            check.add(planes[start : start + 8])
        assert check.swapped() is is_swapped


def test_planes_with_other_names_are_not_checked():
    check = IdentityCheck(("left", "right"))
    check.add(np.load(DEFAULT_BUNDLE / "golden.npz")["crops"][..., ::-1])
    assert not check.applies
    assert check.swapped() is None


def test_an_empty_or_tiny_crop_has_no_difference():
    crops = np.zeros((3, 80, 80, 2), np.uint8)
    crops[1, 40, 40] = 255
    crops[2, 40, 40, 0] = 1
    assert [difference(crop) for crop in crops] == [0.0, 0.0, 0.0]


def test_the_difference_is_that_of_the_means_over_middle_and_rim():
    """A cherry of area A is compared within half the radius of a disc of area A, and beyond three quarters of it."""
    for crop in np.load(DEFAULT_BUNDLE / "golden.npz")["crops"]:
        seen = crop[::2, ::2].astype(float)
        y, x = np.indices(seen.shape[:2]) - (len(seen) - 1) / 2
        cherry = seen.any(axis=2)
        share = np.hypot(x, y) / np.sqrt(cherry.sum() / np.pi)
        parts = [seen[cherry & (share < 0.5)].mean(axis=0), seen[cherry & (share > 0.75)].mean(axis=0)]
        contrast = np.log(parts[0] / parts[1])
        assert difference(crop) == pytest.approx(contrast[0] - contrast[1], abs=1e-9)


def test_a_fail_safe_that_allows_clean_under_exchanged_cameras_is_refused():
    with pytest.raises(ConfigError, match="planes_swapped must not be `alarm`"):
        decode_config('[failsafe]\nplanes_swapped = "alarm"', "board.toml")
