"""Tests the rules of real cameras without cameras: pairing, cadence, lock, clocks."""

import time

import pytest

from pitcore.camera.arrivals import Arrivals
from pitcore.camera.cadence import FreeRunning, Triggered
from pitcore.camera.lock import Lock
from pitcore.camera.pairing import Left, Pairing
from pitcore.camera.stamps import StampClock, mid_exposure_ns
from pitcore.camera.ticks import ConstantSpeed
from pitcore.errors import SourceError
from pitcore.health import LockedPicture

MS = 1_000_000
NOW = 10_000_000_000


class Steps:
    """An encoder that counts one tick a millisecond while the belt runs, which it does until it stops."""

    def __init__(self, stops_ns=10**18):
        self.stops_ns = stops_ns

    def tick_at(self, t_ns):
        return min(t_ns, self.stops_ns) // MS


def test_of_two_frames_that_are_no_pair_the_older_is_dropped_and_the_later_waits():
    pairing = Pairing(2, 10 * MS, 3)
    pairing.add(0, 0, "top 0")
    pairing.add(1, 20 * MS, "bottom 1")
    assert pairing.take() == ((), [Left(0, "unpaired", "top 0")])
    pairing.add(0, 21 * MS, "top 1")
    assert pairing.take() == ([(21 * MS, "top 1"), (20 * MS, "bottom 1")], [])
    assert pairing.take() == ((), [])


@pytest.mark.parametrize(("apart_ns", "pair"), [(10 * MS - 1, True), (10 * MS, False), (-10 * MS + 1, True)])
def test_a_pair_is_closer_than_the_tolerance(apart_ns, pair):
    pairing = Pairing(2, 10 * MS, 3)
    pairing.add(0, NOW, "top")
    pairing.add(1, NOW + apart_ns, "bottom")
    taken, left = pairing.take()
    assert (len(taken) == 2, len(left)) == (pair, 0 if pair else 1)


@pytest.mark.parametrize(("others", "cause"), [(0, "unpaired"), (1, "queue_full")])
def test_a_full_queue_drops_its_oldest_frame_and_names_the_cause(others, cause):
    pairing = Pairing(2, 10 * MS, 2)
    for number in range(others):
        pairing.add(1, number, f"bottom {number}")
    assert pairing.add(0, 0, "top 0") == pairing.add(0, 1, "top 1") == []
    assert pairing.add(0, 2, "top 2") == [Left(0, cause, "top 0")]
    assert pairing.clear() == ["top 1", "top 2", *[f"bottom {number}" for number in range(others)]]


def test_one_camera_needs_no_partner():
    pairing = Pairing(1, 10 * MS, 2)
    pairing.add(0, 5, "only")
    assert pairing.take() == ([(5, "only")], [])


@pytest.mark.parametrize(("dt_ms", "steps"), [(50, 1), (74, 1), (76, 2), (150, 3), (24, 0)])
def test_a_free_running_camera_is_counted_by_time(dt_ms, steps):
    assert FreeRunning(50_000).steps(NOW, NOW + dt_ms * MS) == steps


def test_a_triggered_camera_is_counted_by_pulses_however_slow_the_belt_runs():
    cadence = Triggered(Steps(), every=100)
    assert cadence.steps(0, 100 * MS) == 1
    assert cadence.steps(0, 304 * MS) == 3
    standing = Triggered(Steps(stops_ns=100 * MS), every=100)
    assert standing.steps(0, 10_000 * MS) == 1, "no frame is lost while the belt is stopped"


def test_no_frame_is_due_while_a_triggering_belt_is_stopped():
    assert FreeRunning(50_000).due(NOW, NOW + 51 * MS)
    assert not FreeRunning(50_000).due(NOW, NOW + 49 * MS)
    assert Triggered(Steps(), every=100).due(0, 200 * MS)
    assert not Triggered(Steps(), every=100).due(0, 190 * MS)
    assert not Triggered(Steps(stops_ns=150 * MS), every=100).due(0, 10**15)


GOOD = {"ExposureTime": 500, "AnalogueGain": 2.0, "FrameDuration": 50_000}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"ExposureTime": 515, "AnalogueGain": 2.02, "FrameDuration": 50_012}, ""),
        ({"ExposureTime": 560}, "exposure is 560 us, asked for 500"),
        ({"AnalogueGain": 2.1}, "gain is 2.1, asked for 2"),
        ({"AnalogueGain": None}, "gain is not reported"),
        ({"FrameDuration": 60_000}, "frame time is 60000 us, asked for 50000"),
        ({"FrameDuration": None}, "frame time is not reported"),
    ],
)
def test_a_frame_with_a_wrong_exposure_is_distinguished_from_rounding_of_the_sensor(changes, said):
    differs = Lock(500, 2.0, 50_000).differs(GOOD | changes)
    assert differs.startswith(said)
    assert bool(differs) == bool(said)


def test_a_triggered_camera_is_exposed_by_the_pulse_whatever_its_metadata_says():
    lock = Lock(140, 2.0, None)
    metadata = {"ExposureTime": 33_000, "AnalogueGain": 2.0, "FrameDuration": 33_333}
    assert lock.differs(metadata) == ""
    assert lock.confirmed(metadata) == LockedPicture(140, 2.0, 33_333)
    assert "FrameDurationLimits" not in lock.controls()


def test_frames_wait_until_software_brought_the_cameras_into_step_once():
    start_ns = time.monotonic_ns() - 5000 * MS
    arrivals = Arrivals("camera top", Lock(500, 2.0, 50_000), FreeRunning(50_000), sync=True)
    assert judged(arrivals, (0, 50), start_ns) == [None, None]
    assert "not synchronised" in arrivals.doubt
    stamp_ns = start_ns + 100 * MS
    assert arrivals.judge(GOOD | {"SensorTimestamp": stamp_ns, "SyncReady": True}, stamp_ns) is not None
    assert judged(arrivals, (150,), start_ns) != [None], "libcamera says it of one frame"
    assert arrivals.lost == {"startup": 2, "sensor": 0}


def test_mid_exposure_is_half_an_exposure_before_the_stamp():
    assert mid_exposure_ns(NOW, 500) == NOW - 250_000


@pytest.mark.parametrize(("ahead_ns", "given"), [(0, 0), (3600 * 10**9, 3600 * 10**9), (3600 * 10**9, 0)])
def test_stamps_of_either_clock_become_monotonic_ones(monkeypatch, ahead_ns, given):
    monkeypatch.setattr(time, "monotonic_ns", lambda: NOW)
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: NOW + ahead_ns)
    clock = StampClock("camera top")
    assert clock.monotonic_ns(NOW + given - 30 * MS) == NOW - 30 * MS
    assert clock.monotonic_ns(NOW + given + 20 * MS) == NOW + 20 * MS, "decided once"


def test_stamps_of_no_clock_are_refused_with_the_camera():
    with pytest.raises(SourceError, match=r"camera top: stamps its frames .* neither CLOCK_MONOTONIC"):
        StampClock("camera top").monotonic_ns(time.monotonic_ns() + 7200 * 10**9)


def judged(arrivals, stamps_ms, start_ns):
    return [
        arrivals.judge(GOOD | {"SensorTimestamp": start_ns + ms * MS}, start_ns + ms * MS + 5 * MS) for ms in stamps_ms
    ]


def test_a_triggered_camera_counts_as_lost_the_pulses_that_brought_no_frame():
    start_ns = time.monotonic_ns() - 5000 * MS
    arrivals = Arrivals("camera top", Lock(500, 2.0, None), Triggered(Steps(), every=100))
    judged(arrivals, (0, 100, 400, 500), start_ns)
    assert (arrivals.frames, arrivals.lost["sensor"]) == (4, 2)


def test_a_frame_earlier_than_the_last_is_no_progress():
    start_ns = time.monotonic_ns() - 5000 * MS
    arrivals = Arrivals("camera top", Lock(500, 2.0, 50_000), FreeRunning(50_000))
    assert judged(arrivals, (100, 50, 100), start_ns)[1:] == [None, None]
    assert (arrivals.lost["repeated"], arrivals.last_new_ns) == (2, start_ns + 105 * MS)
    assert "same exposure again" in arrivals.doubt
    assert arrivals.bad_in_row == 2
    judged(arrivals, (150,), start_ns)
    assert (arrivals.bad_in_row, arrivals.doubt) == (0, "")


def test_a_constant_speed_gives_ticks_that_rise_with_time_whatever_the_direction_in_the_frame():
    for px_per_tick in (0.5, -0.5):
        ticks = ConstantSpeed(1000.0, px_per_tick)
        assert ticks.tick_at(NOW + 10**9) - ticks.tick_at(NOW) == 2000
