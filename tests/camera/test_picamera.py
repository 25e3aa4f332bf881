import itertools
import time

import numpy as np
import pytest

from pitcore.camera import picamera
from pitcore.camera.source import Adjustable, Exposure, Source
from pitcore.camera.ticks import ConstantSpeed
from pitcore.config import Config, FrameConfig, ModelConfig
from pitcore.errors import SourceError
from pitcore.frame import Geometry
from pitcore.health import LockedPicture, stalled
from pitcore.loop.app import App, Options
from pitcore.loop.capture import Capture
from pitcore.loop.pipeline import Hooks
from pitcore.loop.sources import build_source
from pitcore.metrics import Metrics
from pitcore.sinks.memory import MemorySink
from tests.camera import board
from tests.camera.board import BOTTOM, PATIENCE_S, TOP
from tests.camera.fake_picamera2 import Faults, Sensor
from tests.scene import ListSource

FRAME_NS = 20_000_000


@pytest.fixture
def bench():
    with board.installed() as connected:
        yield connected


@pytest.fixture
def opened(bench):
    """Builds, starts and closes sources."""
    sources = []

    def build(*sensors, **more):
        bench.connect(*(sensors or (Sensor(TOP), Sensor(BOTTOM))))
        source = board.source_of(**more)
        sources.append(source)
        source.start()
        return source

    yield build
    for source in sources:
        source.close()


def read_until_it_breaks(source, timeout_s=1.0, limit=2000):
    """Frames before the error, and the error."""
    frames = []
    for _ in range(limit):
        try:
            frame = source.read(timeout_s)
        except SourceError as error:
            return frames, error
        with frame:
            frames.append((frame.seq, frame.t_ns, tuple(int(plane[0, 0]) for plane in frame.planes)))
    raise AssertionError("it never broke")


def take(source, count, timeout_s=PATIENCE_S):
    frames = []
    for _ in range(count):
        with source.read(timeout_s) as frame:
            frames.append((frame.seq, frame.t_ns, frame.tick, tuple(np.array(plane) for plane in frame.planes)))
    return frames


def lost_of(source):
    return {health.planes[0]: dict(health.lost) for health in source.health()}


def number_shown(plane):
    assert plane.min() == plane.max(), "a frame made of several"
    return int(plane[0, 0]) - 10


def test_it_is_a_source_whose_exposure_can_be_set():
    source: Source = board.source_of()
    assert isinstance(source, Adjustable)
    assert source.live
    source.close()
    source.close()


def test_planes_are_views_of_the_cameras_padded_buffers_and_of_the_right_camera(bench, opened):
    geometry = Geometry(("top", "bottom"), 40, 90, 0.5)
    ramp = np.arange(48 * 100, dtype=np.uint32).reshape(48, 100)
    pictures = {TOP: (ramp % 97).astype(np.uint8), BOTTOM: (ramp % 89 + 100).astype(np.uint8)}
    sensors = [Sensor(name, scene=lambda _, shown=shown: shown) for name, shown in pictures.items()]
    cameras = (
        board.camera("top", TOP, window_px=(7, 3)),
        board.camera("bottom", BOTTOM, window_px=(10, 8), flip="horizontal", sensor_crop_px=(8, 0, 800, 400)),
    )
    source = opened(*sensors, config=board.source_config(cameras=cameras, picture_px=(100, 48)), geometry=geometry)
    with source.read(PATIENCE_S) as frame:
        assert np.array_equal(frame.planes[0], pictures[TOP][3:43, 7:97])
        assert np.array_equal(frame.planes[1], pictures[BOTTOM][8:48, 10:100])
        for plane, name in zip(frame.planes, (TOP, BOTTOM), strict=True):
            assert plane.strides[0] > 100, "the buffers of this test are padded"
            assert any(np.shares_memory(plane, buffer) for buffer in bench.by_id(name).buffers)
    assert bench.by_id(BOTTOM).camera_config["transform"].hflip
    assert not bench.by_id(TOP).camera_config["transform"].hflip
    assert bench.by_id(BOTTOM).controls["ScalerCrop"] == (8, 0, 800, 400)


@pytest.mark.parametrize("numbers", [(0, 1), (1, 0)])
def test_cameras_are_bound_by_id_however_they_are_numbered_and_listed(opened, numbers):
    shown = {TOP: 50, BOTTOM: 150}
    sensors = [
        Sensor(name, num, scene=lambda _, grey=shown[name]: grey) for name, num in zip(shown, numbers, strict=True)
    ]
    for order in (sensors, sensors[::-1]):
        source = opened(*order)
        _, _, _, (top, bottom) = take(source, 1)[0]
        assert (top[0, 0], bottom[0, 0]) == (50, 150)
        source.close()


def test_planes_come_in_the_order_of_the_frame_not_of_the_cameras(opened):
    cameras = (board.camera("bottom", BOTTOM), board.camera("top", TOP))
    sensors = (Sensor(TOP, scene=lambda _: 50), Sensor(BOTTOM, scene=lambda _: 150))
    _, _, _, (top, bottom) = take(opened(*sensors, config=board.source_config(cameras=cameras)), 1)[0]
    assert (top[0, 0], bottom[0, 0]) == (50, 150)


def test_every_frame_comes_once_in_pairs_of_one_moment_stamped_at_mid_exposure(opened):
    source = opened()
    before_ns = time.monotonic_ns()
    frames = take(source, 30)
    assert frames[0][0] == 0
    for (seq, t_ns, tick, planes), later in itertools.pairwise(frames):
        steps = round((later[1] - t_ns) / FRAME_NS)
        assert later[0] - seq == steps >= 1
        assert number_shown(later[3][0]) - number_shown(planes[0]) == steps
        assert number_shown(planes[0]) - number_shown(planes[1]) == number_shown(frames[0][3][0]) - number_shown(
            frames[0][3][1]
        )
        assert tick == ConstantSpeed(board.PX_PER_S, 0.5).tick_at(t_ns)
        assert (t_ns + 250_000) % FRAME_NS == 0  # the grid of the cameras, and half of 500 us before it
    assert 0 < frames[-1][1] - before_ns < 60 * 10**9
    assert all(health.due for health in source.health()), "a camera that runs freely is never idle"
    assert all(health.locked == LockedPicture(500, pytest.approx(1.004), 20_000) for health in source.health())


def test_no_view_is_read_after_its_buffer_went_back_and_every_buffer_goes_back(bench, opened):
    source = opened()
    for number in range(60):
        frame = source.read(PATIENCE_S)
        with frame:
            before = [np.array(plane) for plane in frame.planes]
            assert all(number_shown(plane) >= 0 for plane in before)
            if number % 7 == 0:
                time.sleep(0.03)  # the cameras go on, and must not come by this buffer
            assert all(np.array_equal(plane, kept) for plane, kept in zip(frame.planes, before, strict=True))
    source.close()
    assert all(camera.lent == 0 and camera.closed for camera in bench.opened)


def test_a_reader_that_sleeps_loses_the_oldest_and_never_starves_the_camera(bench, opened):
    source = opened()
    take(source, 1)
    target = {name: bench.by_id(name).number + 15 for name in (TOP, BOTTOM)}
    deadline = time.monotonic() + PATIENCE_S
    while any(bench.by_id(name).number < number for name, number in target.items()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (first, *_) = take(source, 1)
    assert first[0] >= 10, "the oldest frames went, not the newest"
    assert lost_of(source)["top"]["queue_full"] + lost_of(source)["bottom"]["queue_full"] >= 10
    assert all(camera.starved == 0 for camera in bench.opened)


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


def test_a_source_can_be_started_anew(bench, opened):
    source = opened()
    take(source, 3)
    source.close()
    time.sleep(0.05)
    source.start()
    assert take(source, 3)[0][0] == 0
    assert source.health()[0].lost.get("sensor", 0) == 0


def judged_over(source, config, seen, enough):
    memory = MemorySink()
    hooks = Hooks(observe=seen, between_frames=lambda: app.stop() if enough() else None)
    app = App(config, source, Options([memory], timings=False, hooks=hooks), Metrics())
    app.run()
    return [(line.frame.seq, line.tick, line.box, line.verdict, line.probabilities) for line in memory.verdicts]


def test_verdicts_over_cameras_are_those_of_the_belt_they_look_at(bench, tiny_bundle):
    """Whoever read a view after its release would find it overwritten, and judge something else."""
    pictures, frames = board.belt_pictures(240, 640, 120), []
    sensors = [
        Sensor(name, by_time=True, scene=lambda slot, place=place: pictures[slot % len(pictures)][place])
        for place, name in enumerate((TOP, BOTTOM))
    ]
    bench.connect(*sensors)
    config = Config(
        frame=FrameConfig(height_px=240, width_px=640),
        source=board.source_config(px_per_s=6000.0),
        model=ModelConfig(bundle=str(tiny_bundle)),
    )

    def note(frame):
        slot = (frame.t_ns + 250_000) // FRAME_NS
        frames.append((frame.seq, frame.tick, pictures[slot % len(pictures)]))

    over_cameras = judged_over(build_source(config), config, note, lambda: len(frames) >= 40)
    without = ListSource(frames, geometry=Geometry(("top", "bottom"), 240, 640, 0.5))
    over_pictures = judged_over(without, config, lambda _: None, lambda: False)
    assert len(over_cameras) > 20
    assert over_cameras == over_pictures


def test_two_cameras_out_of_step_are_told_apart_from_a_broken_one(opened):
    source = opened(
        Sensor(TOP),
        Sensor(BOTTOM, faults=Faults(late_ns=8_000_000)),
        config=board.source_config(pair_within_us=2000, startup_s=0.5),
    )
    frames, error = read_until_it_breaks(source)
    assert frames == []
    assert "expose at different moments" in str(error)
    assert TOP in str(error)
    assert BOTTOM in str(error)
    assert lost_of(source)["top"]["unpaired"] > 5


def test_frames_within_half_a_frame_are_a_pair_stamped_at_their_middle(opened):
    source = opened(Sensor(TOP), Sensor(BOTTOM, faults=Faults(late_ns=8_000_000)))
    assert all((t_ns + 250_000) % FRAME_NS == 4_000_000 for _, t_ns, _, _ in take(source, 5))


def test_stamps_since_boot_are_brought_to_the_clock_of_the_encoder(bench, opened, monkeypatch):
    ahead_ns = 3_600_000_000_000  # an hour suspended
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: time.monotonic_ns() + ahead_ns)
    source = opened(*(Sensor(name, faults=Faults(ahead_ns=ahead_ns)) for name in (TOP, BOTTOM)))
    before_ns = time.monotonic_ns()
    (first, *_) = take(source, 1)
    assert abs(first[1] - before_ns) < 60_000_000_000


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        (Faults(no_stamp=True), "carry no SensorTimestamp"),
        (Faults(ahead_ns=-(10**15)), "neither CLOCK_MONOTONIC nor CLOCK_BOOTTIME"),
    ],
    ids=["none", "another clock"],
)
def test_frames_that_no_reject_could_be_timed_by_end_the_service_with_the_cameras_name(opened, faults, said):
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
def test_a_camera_that_cannot_be_opened_is_named_with_the_mend_and_the_other_is_given_back(bench, opened, faults, said):
    with pytest.raises(SourceError) as caught:
        opened(Sensor(TOP), Sensor(BOTTOM, faults=faults))
    assert str(caught.value).startswith(f"camera bottom ({BOTTOM}) cannot be ")
    assert said in str(caught.value)
    assert all(camera.closed for camera in bench.opened)


def test_a_missing_camera_is_named_beside_those_that_are_there(opened):
    with pytest.raises(SourceError) as caught:
        opened(Sensor(TOP))
    assert str(caught.value).startswith(f"camera bottom ({BOTTOM}) is not connected; found: {TOP}: check its cable")


def test_one_colour_camera_gives_two_planes(bench, opened):
    one = board.camera("top", TOP, planes=("top", "bottom"), channels=("red", "blue"))
    blue_green_red = np.arange(48 * 100 * 3, dtype=np.uint32).reshape(48, 100, 3) % 251
    source = opened(Sensor(TOP, scene=lambda _: blue_green_red), config=board.source_config(cameras=(one,)))
    _, _, _, (top, bottom) = take(source, 1)[0]
    frame = source.read(PATIENCE_S)
    assert not any(np.shares_memory(frame.planes[0], buffer) for buffer in bench.by_id(TOP).buffers)
    assert np.array_equal(top, blue_green_red[..., 2])
    assert np.array_equal(bottom, blue_green_red[..., 0])


def test_a_new_exposure_holds_from_the_first_frame_handed_out(bench, opened):
    source = opened()
    take(source, 2)
    source.set_exposures([Exposure(700.0, 2.0), Exposure(500.0, 1.0)])
    assert source.exposures == (Exposure(700, 2.0), Exposure(500, 1.0))
    take(source, 4)
    locked = [health.locked for health in source.health()]
    assert [(one.exposure_us, one.gain) for one in locked] == [(700, pytest.approx(2.008)), (500, pytest.approx(1.004))]
    assert bench.by_id(TOP).controls["ExposureTime"] == 700


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ([Exposure(500.0)], "give one for each"),
        ([Exposure(500.0), Exposure(5.0)], "is beyond"),
        ([Exposure(500.0), Exposure(19_999.0)], "is beyond"),
        ([Exposure(500.0, 99.0), Exposure(500.0)], "is beyond"),
    ],
)
def test_an_exposure_that_cannot_be_is_refused_with_the_limits(wanted, said):
    with pytest.raises(SourceError, match=said):
        board.source_of().set_exposures(wanted)


class Belt:
    """An encoder of 1000 ticks a second that stands from a moment on."""

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


def test_a_triggered_camera_is_not_told_a_frame_time_and_is_exposed_by_the_pulse(bench, opened, trigger_mode):
    sensors = [Sensor(name, frame_us=20_000) for name in (TOP, BOTTOM)]
    source = opened(*sensors, config=board.source_config(**TRIGGERED), ticks=Belt())
    frames = take(source, 5)
    assert [later[0] - earlier[0] for earlier, later in itertools.pairwise(frames)] == [
        round((later[1] - earlier[1]) / FRAME_NS) for earlier, later in itertools.pairwise(frames)
    ]
    assert "FrameDurationLimits" not in bench.by_id(TOP).controls
    assert source.health()[0].locked.exposure_us == 500


def test_the_exposure_of_a_triggered_camera_is_not_ours_to_set(trigger_mode):
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


def test_no_frame_is_missed_while_the_belt_stands_and_the_service_can_be_stopped(opened, trigger_mode):
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
def test_a_sensor_that_waits_for_other_pulses_than_configured_is_told_how_to_change(
    opened, trigger_mode, mode, config, said
):
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
