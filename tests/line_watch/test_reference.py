"""A strip of white tape at an edge of the view shows a lamp that fails, over a belt that is black and empty."""

import functools

import msgspec
import pytest

from pitcore.calibration.steps import measure_exposure, measure_flat
from pitcore.config import (
    CalibrationConfig,
    EmulatedSourceConfig,
    FrameConfig,
    LineConfig,
    ReferenceConfig,
    SpotConfig,
    decode_config,
    weakened,
)
from pitcore.config.line import GUARD_PX
from pitcore.config.safety import unlit
from pitcore.emulator.scoring import score
from pitcore.errors import CalibrationError, ConfigError
from pitcore.frame import Window
from pitcore.loop.app import App, Options
from pitcore.loop.sources import emulated_belt
from pitcore.metrics import Metrics
from pitcore.preprocess.search_rules import window_of
from pitcore.sinks.memory import MemorySink
from tests.line_belt import ADVANCE, HEIGHT, WIDTH, line_config, run_line, survey_of, wrong

STRIPS = (ReferenceConfig(plane="top", x_px=(0, 32)), ReferenceConfig(plane="bottom", x_px=(608, 640)))
FIRST = 20
FEW = 4  # frames


def belt(disturbance=None, **fields):
    return EmulatedSourceConfig(advance_px=ADVANCE, seed=3, ring_frames=0, disturbance=disturbance, **fields)


def config_of(bundle, source, strips=STRIPS):
    line = LineConfig(nothing_seen_s=3.0, reference=strips)
    return msgspec.structs.replace(line_config(bundle, line=line), source=source)


def drawn(config, frames):
    return emulated_belt(config, frames=frames, seed=None, crops=None)


@functools.cache
def values(belt_level):
    """Return the values that 'calibrate flat' measures on a belt with cherries and strips."""
    config = config_of("no bundle", belt(cherries_per_frame=6.0, belt_level=belt_level))
    with survey_of(drawn(config, 240), config) as survey:
        return measure_flat(survey, 240).values


def run(bundle, disturbance, frames, *, belt_level=0.0, cherries_per_frame=0.0, measured=True):
    """Run the loop over a disturbed belt, black and empty by default."""
    config = config_of(bundle, belt(disturbance, cherries_per_frame=cherries_per_frame, belt_level=belt_level))
    if measured:
        config = msgspec.structs.replace(config, calibration=CalibrationConfig(values=values(belt_level)))
    memory, _, app = run_line(config, drawn(config, frames))
    return memory, app


def raised(memory, *names):
    return [(event.event, event.seq) for event in memory.events if event.event in names]


def test_calibrate_flat_measures_the_strips():
    planes = values(0.0).planes
    for plane in planes.values():
        assert plane.strip_level == pytest.approx(150, abs=1.5)
        assert plane.belt_level < 3.5


@pytest.mark.parametrize("plane", [0, 1])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.82])
def test_a_lamp_that_fails_over_a_black_and_empty_belt_is_found(tiny_bundle, share, plane):
    light = (share, 1.0) if plane == 0 else (1.0, share)
    memory, app = run(tiny_bundle, wrong(light=light, first=FIRST), FIRST + 12)
    ((_, seq),) = raised(memory, "reference_strip")
    assert FIRST < seq < FIRST + FEW
    assert {alarm.failsafe for alarm in app.alarms if alarm.name == "reference_strip"} == {"maybe"}
    if share == 0.0:
        ((_, seq),) = raised(memory, "light_off")
        assert FIRST < seq <= FIRST + FEW
        assert app.now.stages.line.failsafe == "reject"
        (off,) = [alarm for alarm in app.alarms if alarm.name == "light_off"]
        assert f"plane {('top', 'bottom')[plane]}: no light, the reference strip is at" in off.detail


@pytest.mark.parametrize("what", ["dirty", "covered", "sunlit"])
def test_a_dirty_covered_or_sunlit_strip_raises_its_alarm(tiny_bundle, what):
    fields = {"dirty": (0.75, 0), "covered": (0.0, 20), "sunlit": (1.0, 60)}[what]
    spots = tuple(
        SpotConfig(plane=0, x_px=16, y_px=y, radius_px=30, share=fields[0], glow=fields[1]) for y in range(0, 240, 24)
    )
    memory, _ = run(tiny_bundle, wrong(spots=spots, first=FIRST, last=FIRST + 19), FIRST + 40, belt_level=6.4)
    names = [name for name, _ in raised(memory, "reference_strip", "reference_strip_cleared", "light_off")]
    assert names == ["reference_strip", "reference_strip_cleared"]  # the belt shows that the lamp is on
    assert raised(memory, "reference_strip")[0][1] < FIRST + FEW


@pytest.mark.parametrize("belt_level", [0.0, 6.4])
def test_a_strip_under_good_light_raises_no_alarm(tiny_bundle, belt_level):
    memory, app = run(tiny_bundle, None, 300, belt_level=belt_level, cherries_per_frame=6.0)
    assert app.alarms == ()
    assert {event.event for event in memory.events} <= {"overload"}


def test_a_strip_is_not_judged_and_hides_no_cherry(tiny_bundle):
    config = config_of(tiny_bundle, belt(cherries_per_frame=6.0))
    source = drawn(config, 60)
    memory, _, app = run_line(config, source)
    window = app.now.stages.window
    assert window == window_of(config) == Window((0, 0), HEIGHT, WIDTH, 32 + GUARD_PX, 32 + GUARD_PX)
    found = score(source.all_truths(), memory.verdicts, range(0, 60 * 240, 240), source.geometry)
    assert (len(found.doubles), len(found.stray)) == (0, 0)
    assert all(truth.cut_lateral for truth in found.misses)  # one or the other shows too little beside the strip
    assert len(found.misses) <= 2
    edges = [box for box in (verdict.box for verdict in memory.verdicts) if box[0] < 40 or box[0] + box[2] > WIDTH - 40]
    assert edges == []
    touching = [verdict for verdict in memory.verdicts if verdict.box[0] == 40]
    assert touching
    assert {verdict.verdict for verdict in touching} == {"side"}  # the strip may hide the rest of it


def test_a_shifted_plane_is_not_searched_at_its_strip():
    strip = (ReferenceConfig(plane="bottom", x_px=(0, 32)),)
    config = config_of("no bundle", belt(), strip)
    assert window_of(config, (10, 0)).columns(1) == slice(40, 640)
    assert window_of(config, (10, 0)).columns(0) == slice(30, 630)
    assert window_of(config, (-10, 0)).columns(1) == slice(40, 630)
    right = config_of("no bundle", belt(), (ReferenceConfig(plane="bottom", x_px=(608, 640)),))
    assert window_of(right, (10, 0)).columns(1) == slice(10, 600)


def test_the_brightness_of_a_strip_does_not_change_the_exposure(tiny_bundle):
    config = config_of(tiny_bundle, belt(cherries_per_frame=6.0))
    bare = config_of(tiny_bundle, belt(cherries_per_frame=6.0), ())
    found = []
    for one in (config, bare):
        source = drawn(one, None)
        with survey_of(source, one) as survey:
            measure_exposure(survey, 16, (156.0, 210.0))
        found.append([exposure.exposure_us for exposure in source.exposures])
    assert found[0] == pytest.approx(found[1], rel=0.12)


@pytest.mark.parametrize(
    ("light", "message"),
    [
        ((0.2, 1.0), "at 30 grey levels, at least 40 are needed: no white tape lies there"),
        ((2.0, 1.0), "is overexposed .*: a lamp that fades would not show"),
    ],
)
def test_a_strip_that_cannot_be_measured_is_refused(tiny_bundle, light, message):
    config = config_of(tiny_bundle, belt(wrong(light=light), cherries_per_frame=6.0))
    with (
        survey_of(drawn(config, 240), config) as survey,
        pytest.raises(CalibrationError, match=message),
    ):
        measure_flat(survey, 240)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('plane = "side"\nx_px = [0, 48]', "no plane side; frame.planes are top, bottom"),
        ('plane = "top"\nx_px = [1000, 1048]', "must lie within 154 px of a lateral edge"),
        ('plane = "top"\nx_px = [0, 400]', "must lie within 154 px of a lateral edge"),
        ('plane = "top"\nx_px = [2440, 2500]', "lies outside the frame of 500x2464 px"),
        ('plane = "top"\nx_px = [30, 32]', "must have 8 px each way"),
        ('plane = "top"\nx_px = [0, 48]\ny_px = [490, 400]', "must have 8 px each way"),
    ],
)
def test_a_strip_in_the_way_of_cherries_is_refused(said, message):
    with pytest.raises(ConfigError, match=message):
        decode_config(f"[[line.reference]]\n{said}\n", "board.toml")


def test_two_strips_of_one_plane_are_refused():
    one = '[[line.reference]]\nplane = "top"\nx_px = [0, 48]\n'
    with pytest.raises(ConfigError, match="two strips of one plane"):
        decode_config(one + one, "board.toml")


def test_only_a_measured_strip_counts_as_a_light_reference():
    config = config_of("no bundle", belt(belt_level=0.0))
    black = msgspec.structs.replace(config.segmentation, background=(3, 3))
    config = msgspec.structs.replace(config, segmentation=black)
    assert unlit(config) == ["top", "bottom"]
    measured = msgspec.structs.replace(config, calibration=CalibrationConfig(values=values(0.0)))
    assert unlit(measured) == []


@pytest.mark.parametrize(("measured", "failsafe"), [(True, "alarm"), (False, "reject")])
def test_nothing_seen_rejects_an_empty_black_belt_only_without_a_measured_strip(tiny_bundle, measured, failsafe):
    """A spot that never moves is in view, and it is no cherry."""
    spot = SpotConfig(plane=1, x_px=300, y_px=120, radius_px=14, share=1.0, glow=40)
    config = config_of(tiny_bundle, belt(wrong(spots=(spot,)), cherries_per_frame=0.0, belt_level=0.0))
    config = msgspec.structs.replace(
        config, segmentation=msgspec.structs.replace(config.segmentation, background=(3, 3))
    )
    if measured:
        config = msgspec.structs.replace(config, calibration=CalibrationConfig(values=values(0.0)))
    memory, _, app = run_line(config, drawn(config, 80))
    assert [event.event for event in memory.events if event.event == "nothing_seen"] == ["nothing_seen"]
    assert app.now.stages.line.failsafe == failsafe
    assert {verdict.box[0] for verdict in memory.verdicts} <= set(range(280, 292))  # the spot is searched


def test_a_weaker_nothing_seen_is_reported_on_a_line_without_a_light_reference():
    config = config_of("no bundle", belt(), ())
    black = msgspec.structs.replace(config.segmentation, background=(2, 2))
    mild = decode_config('[failsafe]\nnothing_seen = "alarm"', "board.toml").failsafe
    blind = msgspec.structs.replace(config, segmentation=black, failsafe=mild)
    assert "[failsafe] nothing_seen = alarm: weaker than the default reject" in weakened(blind)
    assert weakened(msgspec.structs.replace(config, failsafe=mild)) == []


def test_an_alarm_ends_when_its_strip_is_removed_from_the_configuration(tiny_bundle):
    config = config_of(tiny_bundle, belt(wrong(light=(0.8, 1.0)), cherries_per_frame=6.0))
    config = msgspec.structs.replace(config, calibration=CalibrationConfig(values=values(6.4)))
    app = App(config, drawn(config, 12), Options(sinks=[MemorySink()]), Metrics())
    app.run()
    assert "reference_strip" in {alarm.name for alarm in app.alarms}
    app.reload(msgspec.structs.replace(config, line=LineConfig()))
    assert "reference_strip" not in {alarm.name for alarm in app.alarms}


def test_a_frame_too_small_for_the_strip_is_named():
    frame = FrameConfig(height_px=240, width_px=320)
    assert "within 20 px" in ReferenceConfig(plane="top", x_px=(0, 48)).misfit(frame.height_px, frame.width_px)
