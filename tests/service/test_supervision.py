import logging
import socket
import threading
import time

import pytest

from pitcore.health import CameraHealth
from pitcore.service.notify import Notifier
from pitcore.service.supervision import UNJUDGED_S, LoopPulse, Progress, Supervisor

S = 10**9


def camera(name, frames, last_ns, *, due=True):
    return CameraHealth(name, (name,), frames, last_ns, due)


def test_frames_that_come_and_are_processed_are_no_fault():
    pulse = LoopPulse(1.0)
    for second in range(1, 4):
        cameras = (camera("top", 20 * second, second * S), camera("bottom", 20 * second, second * S))
        assert pulse.fault(cameras, Progress(20 * second, 20 * second), second * S + S // 2) is None


def test_one_camera_that_hangs_is_named_though_the_other_goes_on():
    text, silent = LoopPulse(1.0).fault(
        (camera("top", 90, 9 * S), camera("bottom", 60, 6 * S)), Progress(90, 90), 9 * S
    )
    assert silent.id == "bottom"
    assert "camera bottom" in text
    assert "3.0 s ago" in text


def test_a_camera_that_never_gave_a_frame_is_a_fault():
    text, _ = LoopPulse(1.0).fault((camera("top", 0, None),), Progress(0, 0), S)
    assert "none yet" in text


def test_a_loop_that_processes_nothing_while_frames_come_is_a_fault():
    pulse = LoopPulse(1.0)
    assert pulse.fault((camera("top", 20, S),), Progress(20, 20), S) is None
    text, _ = pulse.fault((camera("top", 40, 2 * S),), Progress(20, 20), 2 * S)
    assert "loop hangs" in text
    assert (
        pulse.fault((camera("top", 60, 3 * S),), Progress(21, 21), 3 * S) is None
    )  # and when it goes on, it is fed again


def test_frames_of_which_none_can_be_judged_for_a_minute_do_not_feed_the_watchdog():
    pulse = LoopPulse(1.0)
    faults = [
        pulse.fault((camera("top", 20 * second, second * S),), Progress(20 * second, 7), second * S)
        for second in range(1, 2 * int(UNJUDGED_S))
    ]
    assert faults.index(next(filter(None, faults))) == int(UNJUDGED_S) + 1
    assert "none was judged for 61 s" in faults[int(UNJUDGED_S) + 1][0]
    assert pulse.fault((camera("top", 9999, 9999 * S),), Progress(9999, 8), 9999 * S) is None


def test_a_long_stop_between_frames_is_not_taken_for_unjudged_frames():
    pulse = LoopPulse(1.0)
    for second in range(1, 1000, 10):
        assert pulse.fault((camera("top", 20, S, due=False),), Progress(20, 7), second * S) is None


def test_a_stopped_belt_that_triggers_no_camera_is_no_fault():
    pulse = LoopPulse(1.0)
    for second in (1, 100, 200):
        assert pulse.fault((camera("top", 20, S, due=False),), Progress(20, 20), second * S) is None


class Line:
    """A service whose cameras and loop go as the test says, and the systemd that listens to it."""

    def __init__(self, listening, usec="200000"):
        self.listening = listening
        self.frames = {"top": 0, "bottom": 0}
        self.processed = 0
        self.going = {"top", "bottom"}
        environment = {"NOTIFY_SOCKET": listening.getsockname(), "WATCHDOG_USEC": usec}
        self.supervisor = Supervisor(Notifier(environment), 0.5, self.health, self.progress, lambda: "fine")

    def progress(self):
        return Progress(self.processed, self.processed)

    def health(self):
        """The cameras that go gave a frame just now, and the loop took it."""
        for name in self.going:
            self.frames[name] += 1
            self.processed += 1
        now_ns = time.monotonic_ns()
        return tuple(
            camera(name, frames, (now_ns if name in self.going else 1) if frames else None)
            for name, frames in self.frames.items()
        )

    def wait_for(self, wanted):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            words = self.listening.recv(1000).decode()
            if wanted in words:
                return words
        raise AssertionError(f"systemd never heard {wanted}")


@pytest.fixture
def line(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(30)
        yield Line(listening)


def test_ready_is_sent_only_after_a_frame_of_every_camera(line):
    line.going = {"top"}
    with line.supervisor:
        while line.processed < 3:
            threading.Event().wait(0.01)
        line.listening.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            line.listening.recv(1000)
        line.listening.settimeout(30)
        line.going = {"top", "bottom"}
        assert line.wait_for("READY=1") == "READY=1\nSTATUS=fine"
        assert line.wait_for("WATCHDOG=1") == "WATCHDOG=1\nSTATUS=fine"


def test_a_hanging_camera_stops_the_watchdog_and_is_named_to_systemd_and_once_in_the_log(line, caplog):
    with caplog.at_level(logging.INFO), line.supervisor:
        line.wait_for("WATCHDOG=1")
        line.going = {"top"}
        for _ in range(3):
            line.wait_for("STATUS=camera bottom")
            assert "WATCHDOG" not in line.listening.recv(1000).decode()
        line.going = {"top", "bottom"}
        line.wait_for("WATCHDOG=1")  # it came back before the watchdog bit
    faults = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(faults) == 1
    assert faults[0].journal == {"PITCORE_CAMERA": ("bottom",)}


@pytest.mark.parametrize("usec", ["1", "18446744073709551614"])
def test_a_watchdog_of_any_time_is_fed(line, usec):
    patient = Line(line.listening, usec)
    with patient.supervisor:
        patient.wait_for("WATCHDOG=1")
        patient.wait_for("WATCHDOG=1")


def test_stopping_is_sent_once_and_the_watchdog_is_not_fed_afterwards(line):
    with line.supervisor:
        line.wait_for("WATCHDOG=1")
        line.supervisor.stopping()
        line.wait_for("STOPPING=1")
    line.listening.settimeout(0.0)
    with pytest.raises(BlockingIOError):
        line.listening.recv(1000)
