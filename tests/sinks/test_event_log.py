import logging

import pytest

from pitcore.sinks.event_log import EventLog
from pitcore.verdict import CLEARED, Event

S = 10**9


def event(seq, name="frame_black", camera=None):
    return Event("pitcore.event/1", seq, seq * 10, name, f"detail {seq}", 1, camera)


class Clock:
    now_ns = 0

    def __call__(self):
        return self.now_ns


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def test_the_first_event_of_a_kind_is_logged_at_once_with_camera_and_frame(clock, told, caplog):
    EventLog(clock).emit([event(3, camera="top")])
    assert told() == ["frame_black at frame 3: detail 3"]
    fields = caplog.records[0].journal
    assert fields == {
        "PITCORE_EVENT": "frame_black",
        "PITCORE_FRAME": "3",
        "PITCORE_TICK": "30",
        "PITCORE_CAMERA": "top",
    }


def test_a_fault_that_stays_is_summed_up_and_no_event_goes_uncounted(clock, told):
    log = EventLog(clock)
    for seq in range(250):
        clock.now_ns = seq * S // 20
        log.emit([event(seq)])
    log.close()
    assert told() == [
        "frame_black at frame 0: detail 0",
        "frame_black at frame 200: detail 200 (200 such since the last line)",
        "frame_black at frame 249: detail 249 (49 such since the last line)",
    ]


def test_one_kind_never_hides_another(clock, told):
    log = EventLog(clock)
    log.emit([event(0)])
    log.emit([event(1), event(1, "belt_gap")])
    assert told()[-1] == "belt_gap at frame 1: detail 1"


def test_held_events_are_logged_when_due_without_a_further_event(clock, told):
    log = EventLog(clock)
    log.emit([event(0)])
    log.emit([event(1)])
    clock.now_ns = 11 * S
    log.emit([])
    assert told()[1:] == ["frame_black at frame 1: detail 1"]


def test_an_alarm_that_cleared_is_no_warning(clock, caplog):
    caplog.set_level(logging.INFO)
    EventLog(clock).emit([event(0, f"light_dim{CLEARED}"), event(0)])
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
