import threading
import time

import numpy as np
import pytest

from pitcore.errors import SourceError
from pitcore.frame import Frame, Geometry
from pitcore.loop.capture import Capture

SILENCE_S = 20.0  # longer than anything here takes


class CountingSource:
    """A source of numbered frames that keeps account of what it lent."""

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

    def close(self):
        self.closed += 1


def take(capture):
    seen = []
    for arrival in capture.frames():
        with arrival.frame as frame:
            seen.append((frame.seq, arrival.dropped))
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
    assert source.lent == set()
    assert source.closed == 1


@pytest.mark.parametrize("live", [True, False])
def test_a_broken_source_ends_the_loop_with_its_own_message(live):
    source = CountingSource(10, live=live, fail_at=3)
    capture = Capture(source, queue_frames=8, timeout_s=1.0)
    seen = []
    with pytest.raises(SourceError, match="cable pulled"):
        for arrival in capture.frames():
            arrival.frame.release()
            seen.append(arrival.frame.seq)
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
    while not source.sent:
        time.sleep(0.001)
    capture.stop()
    source.gate.set()  # as a camera whose frame comes after all
    looking.join(SILENCE_S / 2)
    assert not looking.is_alive()
    assert len(seen) <= 2


def test_while_no_frame_comes_the_loop_is_free_for_other_things():
    source = CountingSource(3, live=True, gate=threading.Event())
    capture = Capture(source, queue_frames=4, timeout_s=SILENCE_S)
    calls = []

    def idle():
        calls.append(threading.current_thread())
        if len(calls) == 3:
            source.gate.set()

    seen = [(arrival.frame.seq, arrival.frame.release()) for arrival in capture.frames(idle)]
    assert [seq for seq, _ in seen] == [0, 1, 2]
    assert calls[:3] == [threading.current_thread()] * 3
