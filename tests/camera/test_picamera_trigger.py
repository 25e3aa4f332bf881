"""Cameras that are exposed by the pulses of the encoder."""

import itertools
import time

import pytest

from pitcore.camera import picamera
from pitcore.camera.source import Exposure
from pitcore.errors import SourceError
from pitcore.health import stalled
from pitcore.loop.capture import Capture
from tests.camera import board
from tests.camera.board import BOTTOM, FRAME_NS, TOP, lost_of, read_until_it_breaks, take
from tests.camera.fake_picamera2 import Faults, Sensor


class Belt:
    """An encoder of 1000 ticks a second that stops at a given time."""

    def __init__(self):
        self.stands_ns = None

    def tick_at(self, t_ns):
        return (t_ns if self.stands_ns is None else min(t_ns, self.stands_ns)) // 1_000_000


TRIGGERED = {"trigger": "external", "trigger_ticks": 20}


@pytest.fixture
def trigger_mode(tmp_path, monkeypatch):
    path = tmp_path / "trigger_mode"
    path.write_text("1\n")
    monkeypatch.setattr(picamera, "TRIGGER_MODE", path)
    monkeypatch.setenv("LIBCAMERA_RPI_CONFIG_FILE", "trigger-pisp.json")
    return path


def test_a_triggered_camera_gets_no_frame_time_and_is_exposed_by_the_pulse(bench, opened, trigger_mode):
    sensors = [Sensor(name, frame_us=20_000) for name in (TOP, BOTTOM)]
    source = opened(*sensors, config=board.source_config(**TRIGGERED), ticks=Belt())
    frames = take(source, 5)
    assert [later[0] - earlier[0] for earlier, later in itertools.pairwise(frames)] == [
        round((later[1] - earlier[1]) / FRAME_NS) for earlier, later in itertools.pairwise(frames)
    ]
    assert "FrameDurationLimits" not in bench.by_id(TOP).controls
    assert source.health()[0].locked.exposure_us == 500


def test_setting_the_exposure_of_a_triggered_camera_is_refused(trigger_mode):
    source = board.source_of(board.source_config(**TRIGGERED), ticks=Belt())
    source.set_exposures([Exposure(500.0, 4.0), Exposure(500.0)])
    assert source.exposures[0].gain == 4.0
    with pytest.raises(SourceError, match="the trigger's pulse exposes it"):
        source.set_exposures([Exposure(600.0, 4.0), Exposure(500.0)])


def test_pulses_that_brought_no_frame_are_counted(opened, trigger_mode):
    sensors = [Sensor(name, frame_us=20_000, faults=Faults(dropped=(6, 7))) for name in (TOP, BOTTOM)]
    source = opened(*sensors, config=board.source_config(**TRIGGERED), ticks=Belt())
    take(source, 12)
    # Not "unpaired": on a busy machine one of the two may lag behind.
    assert {plane: lost["sensor"] for plane, lost in lost_of(source).items()} == {"top": 2, "bottom": 2}


def test_no_frame_counts_as_missing_while_the_belt_is_stopped_and_the_service_can_be_stopped(opened, trigger_mode):
    belt = Belt()
    sensors = [Sensor(name, frame_us=20_000, faults=Faults(hang_at=5)) for name in (TOP, BOTTOM)]
    belt.stands_ns = time.monotonic_ns()
    source = opened(*sensors, config=board.source_config(**TRIGGERED), ticks=belt)
    capture = Capture(source, queue_frames=2, timeout_s=0.2)
    source.start, seen = (lambda: None), []

    def idle():
        if not seen or seen[-1] < time.monotonic() - 1.0:
            seen.append(time.monotonic())
        if len(seen) == 3:  # ten times the time-out
            capture.stop()

    for arrival in capture.frames(idle):
        arrival.frame.release()
    capture.close()
    assert len(seen) == 3
    assert not any(health.due for health in source.health())
    assert stalled(source.health(), time.monotonic_ns(), 0.2) == (), "the watchdog is fed"


def test_a_triggered_camera_that_sends_nothing_while_the_belt_runs_is_named(opened, trigger_mode):
    sensors = [Sensor(TOP, frame_us=20_000), Sensor(BOTTOM, frame_us=20_000, faults=Faults(hang_at=8))]
    source = opened(*sensors, config=board.source_config(**TRIGGERED), ticks=Belt())
    _, error = read_until_it_breaks(source)
    assert str(error).startswith(f"camera bottom ({BOTTOM}) sent nothing")


@pytest.mark.parametrize(
    ("mode", "config", "said"),
    [
        ("0", TRIGGERED, "write `options imx296 trigger_mode=1`"),
        ("1", {}, "write `options imx296 trigger_mode=0`"),
        (None, TRIGGERED, "an external trigger needs the IMX296 and its driver"),
    ],
)
def test_a_wrong_trigger_mode_is_reported_with_the_command_that_changes_it(opened, trigger_mode, mode, config, said):
    if mode is None:
        trigger_mode.unlink()
    else:
        trigger_mode.write_text(mode)
    with pytest.raises(SourceError) as caught:
        opened(config=board.source_config(**config), ticks=Belt())
    assert said in str(caught.value)


def test_a_trigger_without_a_longer_time_out_of_libcamera_is_warned_of(opened, trigger_mode, monkeypatch, caplog):
    monkeypatch.delenv("LIBCAMERA_RPI_CONFIG_FILE")
    opened(config=board.source_config(**TRIGGERED), ticks=Belt())
    assert "camera_timeout_value_ms" in caplog.text
