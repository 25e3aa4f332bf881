from pitcore.sinks.recent import RecentEvents
from pitcore.verdict import Event


def event(seq):
    return Event("pitcore.event/1", seq, 0, "frame_black", "dark", 1)


def test_the_last_events_are_kept_the_oldest_first_and_no_more():
    recent = RecentEvents(capacity=3)
    recent.emit([])
    for seq in range(5):
        recent.emit([event(seq)])
    recent.close()
    assert [noted.event.seq for noted in recent.last()] == [2, 3, 4]
    assert all(noted.at.endswith("+00:00") for noted in recent.last())
