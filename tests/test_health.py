import time

import pytest

from pitcore.camera.recorder import Recorder
from pitcore.camera.replay import ReplaySource
from pitcore.emulator.emulated import Delivery, EmulatedSource
from pitcore.emulator.faults import Faults
from pitcore.frame import Frame
from pitcore.health import CameraHealth, stalled
from pitcore.loop.capture import Capture
from tests.camera.belts import small_spec
from tests.scene import GEOMETRY, planes_with

SECOND_NS = 1_000_000_000


def camera(last_frame_ns, *, due=True):
    return CameraHealth("imx296", ("top",), 1, last_frame_ns, due)


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        (camera(9 * SECOND_NS), False),
        (camera(8 * SECOND_NS), True),
        (camera(None), True),
        (camera(None, due=False), False),
        (camera(1 * SECOND_NS, due=False), False),
        (camera(11 * SECOND_NS), False),
    ],
    ids=["fresh", "old", "no frame yet", "waits for a trigger", "belt stands", "came while we asked"],
)
def test_the_watchdog_is_fed_only_while_no_camera_that_is_due_has_stalled(health, expected):
    assert bool(stalled([health], 10 * SECOND_NS, limit_s=1.0)) == expected


def test_a_stalled_camera_is_named_beside_a_good_one():
    good, bad = camera(10 * SECOND_NS), CameraHealth("cam1", ("bottom",), 5, 2 * SECOND_NS)
    assert stalled([good, bad], 10 * SECOND_NS, limit_s=1.0) == (bad,)
    assert bad.age_s(10 * SECOND_NS) == 8.0


def test_the_emulated_belt_reports_its_progress_and_lost_frames():
    source = EmulatedSource(small_spec(frames=4, ring=2), Delivery(), Faults(dropped=(1,)))
    assert source.health()[0].last_frame_ns is None
    source.start()
    before_ns = time.monotonic_ns()
    while (frame := source.read(5.0)) is not None:
        frame.release()
    (health,) = source.health()
    assert (health.planes, health.frames, health.lost, health.due) == (("top", "bottom"), 3, {"injected": 1}, False)
    assert before_ns <= health.last_frame_ns <= time.monotonic_ns()


def test_a_recording_reports_its_progress_through_the_capture(tmp_path):
    with Recorder(tmp_path, GEOMETRY) as recorder:
        for seq in range(2):
            recorder.write(Frame(seq, seq, seq, planes_with()))
    capture = Capture(ReplaySource(tmp_path), queue_frames=2, timeout_s=1.0)
    told = []
    for arrival in capture.frames():
        arrival.frame.release()
        told.extend((health.id, health.frames, health.due) for health in capture.health())
    capture.close()
    assert told == [(str(tmp_path), 1, True), (str(tmp_path), 2, False)]
