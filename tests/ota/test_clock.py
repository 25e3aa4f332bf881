import time

import pytest

from pitcore.ota.clock import Time, judge, read_clock


def test_the_clock_is_read_and_never_set():
    before = time.time()
    reading = read_clock()
    assert before <= reading.now_s <= time.time()
    assert isinstance(reading.synced, bool)


@pytest.mark.parametrize(
    ("now_s", "synced", "at_s", "sure"),
    [
        (1000.0, True, 1000.0, True),
        (1000.0, False, 1000.0, False),
        (10.0, False, 500.0, False),
        (10.0, True, 500.0, False),  # a time service that is behind what was seen signed
    ],
)
def test_expiry_is_judged_by_the_clock_but_never_before_the_floor(now_s, synced, at_s, sure):
    judged = judge(Time(now_s, synced), 500.0)
    assert (judged.at_s, judged.sure, judged.floor_s) == (at_s, sure, 500.0)
