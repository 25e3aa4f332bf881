"""Tests each step on the emulated belt: it measures the disturbance, and the truth table is restored."""

import msgspec
import numpy as np
import pytest

from pitcore.calibration.steps import measure_align, measure_belt, measure_exposure, measure_flat
from pitcore.camera.recorder import Recorder
from pitcore.camera.replay import ReplaySource
from pitcore.camera.source import Adjustable, Source
from pitcore.config import BeltConfig, CalibrationConfig, CameraConfig, Picamera2SourceConfig
from pitcore.emulator.emulated import EmulatedSource
from pitcore.emulator.scoring import score
from pitcore.errors import CalibrationError, SourceError
from pitcore.loop.sources import set_exposures
from tests.line_belt import line_config, line_source, run_line, survey_of, wrong

TARGETS = (156.0, 210.0)


def with_values(config, values):
    return msgspec.structs.replace(config, calibration=CalibrationConfig(values=values))


def measured(config, source, measure, *arguments):
    set_exposures(source, config)
    with survey_of(source, config) as survey:
        outcome = measure(survey, *arguments)
    assert outcome.picture.width > 1000
    return outcome


def scored(config, source):
    memory, metrics, _ = run_line(config, source)
    ticks = range(0, source.frames * 240, 240)  # 120 px at 0.5 px a tick
    return score(source.all_truths(), memory.verdicts, ticks, source.geometry), metrics


def test_the_emulated_belt_is_an_adjustable_source():
    source = line_source(1)
    assert isinstance(source, Adjustable)
    checked: Source = source
    assert checked.geometry.width_px == 640


def test_a_disturbed_line_recovers_after_all_four_steps(tiny_bundle):
    fields = {"light": (0.5, 1.3), "edge_light": (0.45, 0.5), "shift_px": (7, -5)}
    config = line_config(tiny_bundle, belt=BeltConfig(px_per_tick=0.3))
    source = msgspec.structs.replace(config.source, true_px_per_tick=0.5)
    config = msgspec.structs.replace(config, source=source)

    def disturbed(frames):
        return line_source(frames, wrong(**fields))

    before, metrics_before = scored(config, disturbed(60))
    assert len(before.doubles) > 20
    values = measured(config, disturbed(None), measure_exposure, 16, TARGETS).values
    values = measured(with_values(config, values), disturbed(300), measure_flat, 300).values
    values = measured(with_values(config, values), disturbed(60), measure_align, 60).values
    values = measured(with_values(config, values), disturbed(120), measure_belt, 120).values
    assert values.planes["top"].exposure_us == pytest.approx(2000, rel=0.25)
    assert values.planes["bottom"].exposure_us == pytest.approx(750, rel=0.3)
    assert 1.4 < max(values.planes["top"].flat_field) / 256 < 2.8
    assert values.alignment.shift_px == (7, -5)
    assert values.belt.px_per_tick == pytest.approx(0.5, abs=1e-4)
    after, metrics_after = scored(with_values(config, values), disturbed(60))
    assert (len(after.misses), len(after.doubles), len(after.stray)) == (0, 0, 0)
    assert metrics_after.value("reasons", "foreign") < metrics_before.value("reasons", "foreign") / 3


def test_the_exposure_step_leaves_no_plane_clipped_or_dark(tiny_bundle):
    source = line_source(None, wrong(light=(0.3, 3.0)))
    outcome = measured(line_config(tiny_bundle), source, measure_exposure, 16, TARGETS)
    top, bottom = source.exposures
    assert top.exposure_us * top.gain == pytest.approx(3300, rel=0.25)
    assert bottom.exposure_us * bottom.gain == pytest.approx(310, rel=0.25)
    assert "run 'pitcore calibrate flat'" in outcome.lines[-1]


def test_the_exposure_step_refuses_a_belt_that_is_stopped(tiny_bundle):
    source = line_source(None, wrong(light=(0.5, 1.3), belt="stands", encoder="dead"))
    with pytest.raises(CalibrationError, match="exposure: the belt is stopped"):
        measured(line_config(tiny_bundle), source, measure_exposure, 16, TARGETS)


def test_planes_of_one_camera_get_one_exposure(tiny_bundle):
    config = line_config(tiny_bundle)
    camera = CameraConfig(id="one", planes=("top", "bottom"), channels=("red", "blue"))
    colour = msgspec.structs.replace(config, source=Picamera2SourceConfig(cameras=(camera,), px_per_s=2400.0))
    source = line_source(None, wrong(light=(0.3, 0.6)))
    measured(colour, source, measure_exposure, 16, TARGETS)
    top, bottom = source.exposures
    assert top == bottom
    assert bottom.exposure_us == pytest.approx(1580, rel=0.25)  # as bright as the brighter plane allows


def test_the_exposure_step_refuses_a_recording(tiny_bundle, tmp_path):
    with pytest.raises(CalibrationError, match="a recording keeps the light it was made with"):
        measured(line_config(tiny_bundle), recorded(tmp_path / "rec", line_source(4)), measure_exposure, 4, TARGETS)


@pytest.mark.parametrize("measure", [measure_flat, measure_align, measure_belt])
def test_a_frozen_camera_is_refused(tiny_bundle, measure):
    source = line_source(240, wrong(frozen=(False, True), first=20))
    with pytest.raises(SourceError, match="plane bottom: its camera sends one and the same picture"):
        measured(line_config(tiny_bundle), source, measure, 240)


def recorded(folder, source):
    source.start()
    with Recorder(folder, source.geometry) as recorder:
        while (frame := source.read(1.0)) is not None:
            with frame:
                recorder.write(frame)
    return ReplaySource(folder)


def test_a_recording_gives_the_same_calibration_as_the_live_belt(tiny_bundle, tmp_path):
    config, disturbance = line_config(tiny_bundle), wrong(shift_px=(-4, 3), edge_light=(0.5, 0.6))
    replay = recorded(tmp_path / "rec", line_source(240, disturbance))
    for measure in (measure_flat, measure_align, measure_belt):
        live = measured(config, line_source(240, disturbance), measure, 240)
        assert measured(config, replay, measure, 240).values == live.values


def test_an_even_belt_gets_no_flat_field(tiny_bundle):
    values = measured(line_config(tiny_bundle), line_source(300), measure_flat, 300).values
    for plane in values.planes.values():
        assert plane.flat_field == ()
        assert len(plane.background) == 640
        assert plane.belt_level == pytest.approx(6.0, abs=0.7)


@pytest.mark.parametrize(
    ("fields", "measure", "message"),
    [
        ({"shows": "nothing"}, measure_align, "align: 20 frames were measured: 0 cherries are in both planes"),
        ({"shows": "nothing"}, measure_belt, "belt: 40 frames were measured: 0 cherries were matched"),
        ({"shows": "nothing"}, measure_flat, "flat: 27 frames were measured: 0 cherries are between columns"),
        ({"belt": "stands"}, measure_flat, "flat: the belt is stopped, and the same cherries are in every frame"),
        ({"belt": "stands", "encoder": "dead"}, measure_flat, "flat: the belt is stopped"),
        ({"belt": "stands"}, measure_align, "align: the belt is stopped"),
        ({"belt": "stands", "encoder": "dead"}, measure_belt, "belt: it is stopped; start the belt"),
        ({"belt": "stands"}, measure_belt, "the encoder counts but the cherries do not move"),
        ({"encoder": "dead"}, measure_belt, "cherries move but the encoder gives no ticks"),
    ],
)
def test_a_step_that_cannot_measure_is_refused(tiny_bundle, fields, measure, message):
    with pytest.raises(CalibrationError, match=message):
        measured(line_config(tiny_bundle), line_source(40, wrong(**fields)), measure, 40)


def test_an_aligned_frame_is_a_view_with_boxes_of_the_first_plane(tiny_bundle):
    config = line_config(tiny_bundle)
    values = measured(config, line_source(60, wrong(shift_px=(9, 6))), measure_align, 60).values
    shifted, _, app = run_line(with_values(config, values), line_source(40, wrong(shift_px=(9, 6))))
    straight, _, _ = run_line(config, line_source(40))
    window = app.now.stages.window
    assert (window.shape, window.origin) == ((234, 631), (0, 0))
    source = EmulatedSource()
    source.start()
    frame = source.read(1.0)
    assert frame is not None
    assert all(np.shares_memory(a, b) for a, b in zip(window.of(frame).planes, frame.planes, strict=True))
    boxes = {verdict.box for verdict in straight.verdicts}
    same = [verdict.box for verdict in shifted.verdicts if verdict.box in boxes]
    assert len(same) > 0.6 * len(
        straight.verdicts
    )  # but for those at the edges that were cut off, and noise at the rims
