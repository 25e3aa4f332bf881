import os
import threading
import time

import numpy as np
import pytest

from pitcore.errors import HungError, SourceError
from pitcore.frame import Frame, Geometry
from pitcore.health import CameraHealth
from pitcore.loop.capture import Capture

SILENCE_S = 60.0  # longer than anything here takes


class CountingSource:
    """A source of numbered frames that records the lent frames."""

    geometry = Geometry(("top",), 4, 4, 1.0)

    def __init__(self, frames, *, live, fail_at=None, gate=None):
        self.live, self._frames, self._fail_at, self.gate = live, frames, fail_at, gate
        self.lent, self.closed, self.sent = set(), 0, 0

    def start(self):
        self.closed = 0

    def read(self, timeout_s):
        if self.gate is not None and self.sent >= 1 and not self.gate.wait(timeout_s):
            raise SourceError("no frame")
        if self.sent == self._fail_at:
            raise SourceError("camera top: cable pulled")
        if self._frames is not None and self.sent >= self._frames:
            return None
        seq, self.sent = self.sent, self.sent + 1
        self.lent.add(seq)
        return Frame(seq, seq, seq, (np.zeros((4, 4), np.uint8),), lambda: self.lent.remove(seq))

    def health(self):
        return (CameraHealth("counted", ("top",), self.sent, None),)

    def close(self):
        self.closed += 1


def take(capture):
    seen = []
    for arrival in capture.frames():
        with arrival.frame as frame:
            seen.append((frame.seq, arrival.dropped))
    capture.close()
    return seen


def test_a_recording_loses_no_frame_however_slow_the_reader():
    source = CountingSource(20, live=False)
    capture = Capture(source, queue_frames=1, timeout_s=1.0)
    assert take(capture) == [(seq, 0) for seq in range(20)]
    assert (source.lent, source.closed) == (set(), 1)


def test_a_full_queue_drops_the_oldest_and_counts_it():
    source = CountingSource(10, live=True)
    capture = Capture(source, queue_frames=2, timeout_s=1.0)
    arrivals = capture.frames()
    first = next(arrivals)
    for thread in threading.enumerate():
        if thread.name == "pitcore-capture":
            thread.join(60)
    rest = [(arrival.frame.seq, arrival.dropped, arrival.frame.release()) for arrival in arrivals]
    capture.close()
    first.frame.release()
    seen = 1 + len(rest)
    assert len(rest) <= 2
    assert [first.frame.seq, *(seq for seq, _, _ in rest)] == sorted({first.frame.seq, *(seq for seq, _, _ in rest)})
    assert rest[-1][0] == 9
    assert first.dropped + sum(dropped for _, dropped, _ in rest) + seen == 10
    assert source.lent == set()


def test_frames_still_waiting_at_a_stop_are_given_back():
    source = CountingSource(None, live=True)
    capture = Capture(source, queue_frames=4, timeout_s=1.0)
    for arrival in capture.frames():
        arrival.frame.release()
        capture.stop()
    capture.close()
    assert source.lent == set()
    assert source.closed == 1


@pytest.mark.parametrize("live", [True, False])
def test_a_failing_source_ends_the_loop_with_its_own_message(live):
    source = CountingSource(10, live=live, fail_at=3)
    capture = Capture(source, queue_frames=8, timeout_s=1.0)
    seen = []
    with pytest.raises(SourceError, match="cable pulled"):
        for arrival in capture.frames():
            arrival.frame.release()
            seen.append(arrival.frame.seq)
    capture.close()
    assert seen == [0, 1, 2]
    assert source.closed == 1


def test_a_stop_from_another_thread_ends_a_wait_for_a_silent_camera():
    source = CountingSource(None, live=True, gate=threading.Event())
    capture = Capture(source, queue_frames=2, timeout_s=SILENCE_S)
    seen = []

    def look():
        seen.extend(arrival.frame.release() for arrival in capture.frames())

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    deadline = time.monotonic() + 60
    while not source.sent:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    capture.stop()
    source.gate.set()  # as a camera whose frame comes after all
    looking.join(SILENCE_S / 2)
    capture.close()
    assert not looking.is_alive()
    assert len(seen) <= 2


def test_the_loop_does_other_work_while_no_frame_comes():
    source = CountingSource(3, live=True, gate=threading.Event())
    capture = Capture(source, queue_frames=4, timeout_s=SILENCE_S)
    calls = []

    def idle():
        calls.append(threading.current_thread())
        if len(calls) == 3:
            source.gate.set()

    seen = [(arrival.frame.seq, arrival.frame.release()) for arrival in capture.frames(idle)]
    assert [seq for seq, _ in seen] == [0, 1, 2]
    capture.close()
    assert calls[:3] == [threading.current_thread()] * 3


class PipeSource(CountingSource):
    """A source whose calls wait in the kernel for a pipe that nothing writes to."""

    def __init__(self, hangs_in, *, live):
        super().__init__(None, live=live)
        self.hangs_in, self.pipe = hangs_in, os.pipe()

    def start(self):
        super().start()
        if self.hangs_in == "start":
            os.read(self.pipe[0], 1)

    def read(self, timeout_s):
        if self.hangs_in == "read" and self.sent == 2:
            os.read(self.pipe[0], 1)
        return super().read(timeout_s)

    def health(self):
        return (CameraHealth("pipe", ("top",), self.sent, None),)


@pytest.fixture(params=[("start", True), ("start", False), ("read", True), ("read", False)])
def hanging(request):
    source = PipeSource(request.param[0], live=request.param[1])
    yield source
    os.write(source.pipe[1], b"x")  # lets the thread that was left behind end
    for end in source.pipe[1:]:
        os.close(end)


def test_a_source_that_never_returns_is_a_fault_of_its_own_not_a_hang_of_the_loop(hanging):
    capture = Capture(hanging, queue_frames=2, timeout_s=0.1, close_s=0.1, silent_s=0.2)
    with pytest.raises(SourceError, match=r"the source pipe gave nothing for 0.3 s and does not return: it hangs"):
        for arrival in capture.frames():
            arrival.frame.release()
    capture.close()  # said already
    assert hanging.lent == set()


def test_a_stop_ends_while_the_source_never_returns_and_names_it(hanging):
    capture = Capture(hanging, queue_frames=2, timeout_s=0.1, close_s=0.1, silent_s=SILENCE_S)
    for arrival in capture.frames(capture.stop):  # stopped as soon as no frame comes
        arrival.frame.release()
    with pytest.raises(HungError, match=r"the source pipe did not return within 0.1 s of the stop"):
        capture.close()
    assert hanging.lent == set()


@pytest.mark.parametrize(("on_its_way", "said"), [(KeyboardInterrupt, HungError), (ValueError, ValueError)])
def test_a_source_that_hangs_is_named_after_ctrl_c_and_hides_no_other_error(hanging, on_its_way, said):
    capture = Capture(hanging, queue_frames=2, timeout_s=0.1, close_s=0.1, silent_s=SILENCE_S)
    with pytest.raises(said), capture:
        for arrival in capture.frames(capture.stop):
            arrival.frame.release()
        raise on_its_way


class SlowSource(CountingSource):
    """A source that computes for longer than the limit, as one does on a slow machine."""

    is_late = False

    def read(self, timeout_s):
        deadline = time.monotonic() + SILENCE_S
        while not self.is_late:
            assert time.monotonic() < deadline
        return super().read(timeout_s)

    def health(self):
        return (CameraHealth("slow", ("top",), self.sent, None),)


def test_a_source_that_computes_does_not_hang_however_slow_the_machine():
    source = SlowSource(1, live=False)
    capture = Capture(source, queue_frames=1, timeout_s=0.1, silent_s=1.4)
    late_at = time.monotonic() + 2.0

    def idle():
        source.is_late = time.monotonic() > late_at

    assert [arrival.frame.seq for arrival in capture.frames(idle)] == [0]
    capture.close()


def test_a_recording_is_read_only_when_the_loop_asks():
    source = CountingSource(5, live=False)
    capture = Capture(source, queue_frames=4, timeout_s=1.0)
    for arrival in capture.frames():
        arrival.frame.release()
        time.sleep(0.01)  # a reader that went ahead would be ahead now
        assert source.sent == arrival.frame.seq + 1
    capture.close()
