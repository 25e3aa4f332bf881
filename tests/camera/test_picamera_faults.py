"""Cameras that lose frames, hang, are unplugged, do not lock or cannot be opened."""

import itertools
import time

import pytest

from pitcore.errors import SourceError
from pitcore.health import stalled
from tests.camera import board
from tests.camera.board import BOTTOM, PATIENCE_S, TOP, lost_of, number_shown, read_until_it_breaks, take
from tests.camera.fake_picamera2 import Faults, Sensor


def test_frames_before_the_lock_are_discarded_and_counted(opened):
    source = opened(Sensor(TOP, faults=Faults(startup=5)), Sensor(BOTTOM, faults=Faults(startup=2)))
    seq, _, _, planes = take(source, 1)[0]
    assert seq == 0
    assert number_shown(planes[0]) >= 5
    lost = lost_of(source)
    assert (lost["top"]["startup"], lost["bottom"]["startup"]) == (5, 2)


def test_frames_wait_until_software_brought_two_cameras_into_step(bench, opened):
    source = opened(config=board.source_config(sync="software"))
    _, _, _, planes = take(source, 1)[0]
    assert number_shown(planes[0]) >= 3
    assert (bench.by_id(TOP).controls["SyncMode"], bench.by_id(BOTTOM).controls["SyncMode"]) == (1, 2)
    assert lost_of(source)["top"]["startup"] == 3


def test_a_camera_that_never_holds_its_exposure_is_named_with_what_it_does(opened):
    source = opened(
        Sensor(TOP), Sensor(BOTTOM, faults=Faults(never_locks=True)), config=board.source_config(startup_s=0.5)
    )
    frames, error = read_until_it_breaks(source)
    assert frames == []
    assert str(error).startswith(
        f"camera bottom ({BOTTOM}) gave no good frame for 0.5 s: exposure is 1600 us, asked for 500"
    )


def test_a_camera_slower_than_asked_is_named_not_paired_wrongly(opened):
    source = opened(Sensor(TOP), Sensor(BOTTOM, frame_us=30_000), config=board.source_config(startup_s=0.5))
    frames, error = read_until_it_breaks(source)
    assert frames == []
    assert f"camera bottom ({BOTTOM})" in str(error)
    assert "frame time is 30000 us, asked for 20000" in str(error)


def test_an_exposure_that_slips_later_costs_that_frame_only_and_is_counted(opened):
    source = opened(Sensor(TOP, faults=Faults(unlock=(6, 7))), Sensor(BOTTOM))
    frames = take(source, 12)
    assert not {6, 7} & {number_shown(planes[0]) for _, _, _, planes in frames}
    assert lost_of(source)["top"]["unlocked"] == 2
    assert lost_of(source)["bottom"]["unpaired"] >= 2


def test_a_frame_the_sensor_dropped_is_a_gap_counted_at_its_camera_and_its_partner_is_unpaired(opened):
    source = opened(Sensor(TOP, faults=Faults(dropped=(8, 9, 12))), Sensor(BOTTOM))
    frames = take(source, 16)
    shown = [number_shown(planes[0]) for _, _, _, planes in frames]
    assert not {8, 9, 12} & set(shown)
    assert lost_of(source)["top"]["sensor"] >= 3
    assert lost_of(source)["bottom"]["unpaired"] >= 3
    for (seq, _, _, planes), later in itertools.pairwise(frames):
        assert later[0] - seq == number_shown(later[3][0]) - number_shown(planes[0]), "the loop must see the gap"


def test_a_frame_that_comes_twice_is_judged_once(opened):
    source = opened(Sensor(TOP, faults=Faults(repeated=tuple(range(2, 40)))), Sensor(BOTTOM))
    shown = [number_shown(planes[0]) for _, _, _, planes in take(source, 20)]
    assert len(set(shown)) == len(shown)
    assert lost_of(source)["top"]["repeated"] > 5


def test_a_frame_whose_transfer_failed_is_damaged_in_the_planes_of_its_camera_only(opened):
    source = opened(Sensor(TOP, faults=Faults(spoilt=range(6, 10))), Sensor(BOTTOM))
    damaged = {}
    for _ in range(14):
        with source.read(board.PATIENCE_S) as frame:
            damaged[number_shown(frame.planes[0])] = frame.damage
    spoilt = [damage for number, damage in damaged.items() if number in range(6, 10)]
    assert spoilt
    assert all("status Error" in top and bottom is None for top, bottom in spoilt)
    assert not any(damage for number, damage in damaged.items() if number not in range(6, 10))


def test_stale_buffered_frames_are_discarded(opened):
    sensor = Sensor(TOP, faults=Faults(stale=(0, 1, 2)))
    source = opened(sensor, Sensor(BOTTOM))
    assert number_shown(take(source, 1)[0][3][0]) >= 3
    assert lost_of(source)["top"]["stale"] >= 1


@pytest.mark.parametrize("fault", ["hang_at", "unplug_at"])
@pytest.mark.parametrize("plane", ["top", "bottom"])
def test_a_camera_that_hangs_or_is_unplugged_is_found_and_named(opened, fault, plane):
    name = {"top": TOP, "bottom": BOTTOM}[plane]
    sensors = [Sensor(each, faults=Faults(**{fault: 10}) if each == name else None) for each in (TOP, BOTTOM)]
    source = opened(*sensors)
    frames, error = read_until_it_breaks(source, timeout_s=3.0)
    assert str(error).startswith(f"camera {plane} ({name}) sent nothing for 3 s: it hangs, or its cable")
    # The other camera may have started a frame earlier: then its pictures are one ahead.
    assert {planes[plane == "bottom"] for _, _, planes in frames} <= set(range(10, 20))
    assert len({seq for seq, _, _ in frames}) == len(frames), "no frozen last frame"
    now_ns = time.monotonic_ns()
    limits = [health.planes[0] for health in stalled(source.health(), now_ns, 0.5)]
    assert plane in limits, "the watchdog must not be fed"
    closing = time.monotonic()
    source.close()
    assert time.monotonic() - closing < PATIENCE_S, "a camera that does not close must not keep the service"


def test_a_hang_is_found_within_the_second_that_it_is_allowed(bench, opened):
    source = opened()
    take(source, 1)
    camera = source._cameras[0]
    bench.by_id(TOP)._stop.set()
    bench.by_id(TOP)._thread.join(PATIENCE_S)
    last_ns = camera.arrivals.last_new_ns
    camera.check(last_ns + 950_000_000, 1.0)
    with pytest.raises(SourceError, match="sent nothing for 1 s"):
        camera.check(last_ns + 1_000_000_001, 1.0)


def test_a_camera_that_never_sends_a_frame_is_named(opened):
    source = opened(Sensor(TOP), Sensor(BOTTOM, faults=Faults(hang_at=0)), config=board.source_config(startup_s=0.4))
    frames, error = read_until_it_breaks(source)
    assert frames == []
    assert f"camera bottom ({BOTTOM}) sent nothing" in str(error)


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        (Faults(no_stamp=True), "carry no SensorTimestamp"),
        (Faults(ahead_ns=-(10**15)), "neither CLOCK_MONOTONIC nor CLOCK_BOOTTIME"),
    ],
    ids=["none", "another clock"],
)
def test_frames_whose_time_cannot_be_used_end_the_service_with_the_name_of_the_camera(opened, faults, said):
    _, error = read_until_it_breaks(opened(Sensor(TOP), Sensor(BOTTOM, faults=faults)))
    assert said in str(error)
    assert f"camera bottom ({BOTTOM})" in str(error)


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        (
            Faults(open_error=RuntimeError("Failed to acquire camera: Device or resource busy")),
            "another program holds it",
        ),
        (Faults(open_error=OSError(12, "Cannot allocate memory")), "camera memory is used up: lower [source] buffers"),
        (
            Faults(start_error=RuntimeError("failed to allocate capture buffers for stream 0")),
            "camera memory is used up",
        ),
        (Faults(open_error=PermissionError(13, "Permission denied")), "the group video"),
        (Faults(start_error=RuntimeError("camera did not start")), "check its cable"),
    ],
    ids=["busy", "no memory", "no buffers", "permission", "start"],
)
def test_a_camera_that_cannot_be_opened_is_named_with_the_fix_and_the_other_is_closed(bench, opened, faults, said):
    with pytest.raises(SourceError) as caught:
        opened(Sensor(TOP), Sensor(BOTTOM, faults=faults))
    assert str(caught.value).startswith(f"camera bottom ({BOTTOM}) cannot be ")
    assert said in str(caught.value)
    assert all(camera.closed for camera in bench.opened)


def test_a_missing_camera_is_named_beside_those_that_are_there(opened):
    with pytest.raises(SourceError) as caught:
        opened(Sensor(TOP))
    assert str(caught.value).startswith(f"camera bottom ({BOTTOM}) is not connected; found: {TOP}: check its cable")
