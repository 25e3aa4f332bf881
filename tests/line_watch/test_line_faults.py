"""Injects each fault of the line: its alarm comes on, applies its fail-safe, and goes off after the fault."""

import functools
import re
from pathlib import Path

import msgspec
import pytest

from pitcore.calibration.steps import measure_flat
from pitcore.camera.recorder import Recorder
from pitcore.camera.replay import ReplaySource
from pitcore.config import (
    BeltConfig,
    CalibrationConfig,
    FailsafeConfig,
    LineConfig,
    SpotConfig,
    decode_config,
    failsafe_of,
)
from pitcore.config.line import AlarmName
from pitcore.errors import ConfigError
from pitcore.line_watch.alarm import CONSEQUENCES, Latch
from pitcore.loop.app import App, Options
from pitcore.metrics import Metrics
from pitcore.sinks.memory import MemorySink
from tests.line_belt import HEIGHT, WIDTH, line_config, line_source, run_line, survey_of, wrong

FAULTS = Path(__file__).parent.parent.parent / "docs" / "faults.md"


@functools.cache
def flat_values():
    """Return the result of 'calibrate flat' on the undisturbed belt; it uses no network."""
    with survey_of(line_source(240), line_config("no bundle")) as survey:
        return measure_flat(survey, 240).values


@pytest.fixture
def calibrated(tiny_bundle):
    return line_config(tiny_bundle, calibration=CalibrationConfig(values=flat_values()))


def line_events(memory):
    ours = {*AlarmName.__args__, *(f"{name}_cleared" for name in AlarmName.__args__)}
    return [event for event in memory.events if event.event in ours]


SPOT = SpotConfig(plane=0, x_px=300, y_px=120, radius_px=30, share=0.3)
GLOW = SpotConfig(plane=1, x_px=500, y_px=60, radius_px=12, share=1.0, glow=9)
# what is wrong, from frame 60 on, and for how many frames; the alarm, within how many frames it is found and over, and
# words of its text
CASES = {
    "light off in one plane": ({"light": (0.0, 1.0)}, 60, "light_off", 4, 4, "plane top: no light, .* check the lamp"),
    "light off": ({"light": (0.0, 0.0)}, 40, "light_off", 4, 4, "plane top: no light"),
    "lamp fading": (
        {"light": (1.0, 0.65), "dim_frames": 40},
        120,
        "light_dim",
        60,
        120,
        "plane bottom: .* at [78].% of the calibrated level; clean or replace the lamp",
    ),
    "hood open": ({"light": (1.5, 1.0)}, 80, "light_bright", 40, 80, "plane top: .* close the hood"),
    "camera moved": ({"shift_px": (6, -3)}, 160, "planes_misaligned", 120, 160, "pitcore calibrate align"),
    "feed empty": ({"shows": "nothing"}, 90, "nothing_seen", 66, 6, "nothing was seen for 3 s; check the feed"),
    "leaves only": (
        {"shows": "foreign"},
        120,
        "only_foreign",
        80,
        80,
        "not single cherries; check what is on the belt",
    ),
    "encoder dead": ({"encoder": "dead"}, 60, "encoder_dead", 4, 4, "cherries move but the encoder does not count"),
    "encoder runs alone": ({"belt": "stands"}, 90, "encoder_mismatch", 60, 40, "0% of the cherries .* calibrate belt"),
    "camera frozen": (
        {"frozen": (False, True)},
        60,
        "camera_frozen",
        3,
        4,
        "plane bottom: the camera repeats the same picture",
    ),
    "cameras frozen": ({"frozen": (True, True)}, 60, "camera_frozen", 3, 4, "check its cable and supply"),
    "dirt": ({"spots": (SPOT,)}, 800, "lens_dirty", 720, 600, r"plane top: .* columns 272 to 3\d\d, .* clean lens"),
    "glare": ({"spots": (GLOW,)}, 1000, "lens_dirty", 900, 600, "plane bottom: .* grey levels brighter"),
}
FIRST = 60


def suffering(case):
    fields, frames, *_ = CASES[case]
    spec = {"foreign_share": 0.8} if "foreign" in fields.values() else {}
    if "spots" in fields:
        spec = {"ring": 50}  # long ones are drawn once
    over = CASES[case][4]
    return line_source(FIRST + frames + over + 20, wrong(first=FIRST, last=FIRST + frames - 1, **fields), **spec)


def recorded(folder, source):
    """The belt as a recording of it."""
    source.start()
    with Recorder(folder, source.geometry) as recorder:
        while (frame := source.read(1.0)) is not None:
            with frame:
                recorder.write(frame)
    return ReplaySource(folder)


@pytest.mark.parametrize("case", CASES)
def test_each_fault_of_the_line_raises_and_clears_its_alarm(case, calibrated, tmp_path):
    """On a recording of it, where that is not too long."""
    _, frames, name, within, over, text = CASES[case]
    source = suffering(case)
    memory, metrics, app = run_line(calibrated, source if frames > 200 else recorded(tmp_path / "rec", source))
    events = line_events(memory)
    mine = [event for event in events if event.event.startswith(name)]
    assert [event.event for event in mine] == [name, f"{name}_cleared"]
    raised, cleared = mine
    assert FIRST < raised.seq <= FIRST + within
    assert FIRST + frames <= cleared.seq <= FIRST + frames + over
    assert re.search(text, raised.detail), raised.detail
    others = {event.event.removesuffix("_cleared") for event in events} - {name}
    assert others <= {"nothing_seen", "not_judging"}  # no light, no cherry; no frame that is fit, no verdict
    assert app.alarms == ()
    assert metrics.value("events", name) == 1
    failsafe = failsafe_of(calibrated, "not_judging" if "not_judging" in others else name)
    during = [verdict for verdict in memory.verdicts if raised.seq <= verdict.frame.seq < cleared.seq]
    if failsafe != "alarm":
        assert not [verdict for verdict in during if verdict.verdict == "clean"]
        assert any(verdict.reason == "failsafe" for verdict in during) or case == "light off"
    assert (failsafe == "reject") == all(verdict.action == "reject" for verdict in during)
    after = [verdict for verdict in memory.verdicts if verdict.frame.seq >= cleared.seq]
    assert any(verdict.verdict == "clean" and verdict.action == "pass" for verdict in after)


@pytest.mark.parametrize("case", ["light off in one plane", "encoder dead"])
def test_a_recording_under_a_fault_gives_the_events_of_the_line(case, calibrated, tmp_path):
    live, _, _ = run_line(calibrated, suffering(case))
    replayed, metrics, _ = run_line(calibrated, recorded(tmp_path / "rec", suffering(case)))
    assert replayed.events == live.events
    assert replayed.verdicts == live.verdicts
    assert metrics.value("events", CASES[case][2]) == 1


@pytest.mark.parametrize("with_calibration", [True, False])
def test_an_ordinary_belt_raises_no_alarm(with_calibration, calibrated, tiny_bundle):
    config = calibrated if with_calibration else line_config(tiny_bundle)
    memory, metrics, app = run_line(config, line_source(3000, ring=62, seed=7))
    assert metrics.value("frames") == 3000
    assert line_events(memory) == []
    assert app.alarms == ()


def test_a_belt_that_stops_and_starts_raises_no_alarm(calibrated):
    stopped = wrong(belt="stands", encoder="dead", first=40, last=400)
    memory, _, _ = run_line(calibrated, line_source(500, stopped))
    assert line_events(memory) == []


@pytest.mark.parametrize("px_per_tick", [0.3, 0.8])
def test_a_wrong_belt_scale_raises_encoder_mismatch(px_per_tick, tiny_bundle):
    config = line_config(tiny_bundle, belt=BeltConfig(px_per_tick=px_per_tick))
    source = msgspec.structs.replace(config.source, true_px_per_tick=0.5)
    memory, _, app = run_line(msgspec.structs.replace(config, source=source), line_source(150))
    assert [event.event for event in line_events(memory)] == ["encoder_mismatch"]
    (alarm,) = app.alarms
    assert alarm.name == "encoder_mismatch"
    assert alarm.detail == line_events(memory)[0].detail
    assert "run 'pitcore calibrate belt'" in alarm.detail


def test_cherries_are_judged_with_a_dead_encoder(calibrated):
    """The same place of the frame is another cherry each time; none may count as known."""
    memory, _, _ = run_line(calibrated, line_source(160, wrong(encoder="dead", first=20)))
    judged = [verdict.frame.seq for verdict in memory.verdicts]
    early, late = (sum(1 for seq in judged if first <= seq < first + 40) for first in (30, 110))
    assert late > 0.6 * early > 60


def test_an_alarm_survives_a_reload(calibrated):
    metrics, memory = Metrics(), MemorySink()
    source = line_source(80, wrong(light=(0.0, 1.0), first=20))
    app = App(calibrated, source, Options(sinks=[memory]), metrics)
    app.run()
    assert [alarm.name for alarm in app.alarms] == ["light_off"]
    app.reload(msgspec.structs.replace(calibrated, line=LineConfig(misaligned_px=5.0)))
    assert [alarm.name for alarm in app.alarms] == ["light_off"]


def test_a_fail_safe_made_stricter_by_a_reload_applies_at_once(calibrated):
    mild = msgspec.structs.replace(calibrated, failsafe=FailsafeConfig(light_dim="alarm"))
    app = App(mild, line_source(160, wrong(light=(0.7, 1.0), first=20)), Options(sinks=[MemorySink()]), Metrics())
    app.run()
    (alarm,) = app.alarms
    assert (alarm.name, alarm.failsafe) == ("light_dim", "alarm")
    assert alarm.detail.endswith("; verdicts are unchanged")
    app.reload(msgspec.structs.replace(mild, failsafe=FailsafeConfig(light_dim="reject")))
    (after,) = app.alarms
    assert after.failsafe == app.now.stages.line.failsafe == "reject"
    assert after.detail == alarm.detail.removesuffix("verdicts are unchanged") + CONSEQUENCES["reject"]
    assert (after.since, after.since_seq) == (alarm.since, alarm.since_seq)


def test_an_alarm_ends_when_the_calibration_is_undone(calibrated, tiny_bundle):
    source = line_source(160, wrong(light=(0.7, 1.0), first=20))
    app = App(calibrated, source, Options(sinks=[MemorySink()]), Metrics())
    app.run()
    assert [alarm.name for alarm in app.alarms] == ["light_dim"]
    app.reload(msgspec.structs.replace(calibrated, calibration=CalibrationConfig()))
    assert app.alarms == ()


def test_an_alarm_of_an_uncalibrated_board_names_the_calibration(tiny_bundle):
    memory, _, _ = run_line(line_config(tiny_bundle), line_source(30, wrong(light=(0.0, 1.0))))
    assert "; if the lamp is on, run 'pitcore calibrate flat'" in line_events(memory)[0].detail


def test_black_frames_of_an_uncalibrated_dark_belt_raise_light_off(tiny_bundle):
    config = line_config(tiny_bundle)
    dark = msgspec.structs.replace(config.segmentation, background=(0, 0))
    source = line_source(60, wrong(light=(0.0, 0.0), first=20, last=40), noise=0.0)
    memory, _, _ = run_line(msgspec.structs.replace(config, segmentation=dark), source)
    events = [event.event for event in line_events(memory) if not event.event.startswith("not_judging")]
    assert events == ["light_off", "light_off_cleared"]
    assert "black" in line_events(memory)[0].detail


def test_a_fail_safe_that_allows_clean_without_light_is_refused():
    with pytest.raises(
        ConfigError, match="light_off must not be `alarm`: what was judged without light is never clean"
    ):
        decode_config('[failsafe]\nlight_off = "alarm"', "board.toml")
    with pytest.raises(ConfigError, match=r"\[failsafe\] lens_dirty: .*; choose one of: alarm, maybe, reject"):
        decode_config('[failsafe]\nlens_dirty = "ignore"', "board.toml")


def test_a_latch_changes_only_after_several_findings_in_a_row():
    latch = Latch(3, 2)
    found = [True, True, False, True, True, None, True, True, False, True, False, None, False, False]
    changes = [latch.update(bad=bad) for bad in found]
    assert changes == [None] * 6 + ["raised"] + [None] * 5 + ["cleared", None]


@pytest.mark.parametrize("name", AlarmName.__args__)
def test_every_alarm_has_a_row_in_the_fault_table(name):
    rows = [line for line in FAULTS.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}`")]
    assert len(rows) == 1
    assert rows[0].count("|") == 6


def test_every_alarm_has_a_fail_safe_and_every_fail_safe_an_alarm():
    assert set(FailsafeConfig.__struct_fields__) == set(AlarmName.__args__)


def test_the_small_belt_has_the_size_that_the_tests_assume():
    geometry = line_source(1).geometry
    assert (geometry.height_px, geometry.width_px) == (HEIGHT, WIDTH)
