"""Raspberry Pi cameras as a source: pairs of one moment, views of borrowed buffers, exposure."""

import itertools
import time

import numpy as np
import pytest

from pitcore.camera.source import Adjustable, Exposure, Source
from pitcore.camera.ticks import ConstantSpeed
from pitcore.config import Config, FrameConfig, ModelConfig
from pitcore.errors import SourceError
from pitcore.frame import Geometry
from pitcore.health import LockedPicture
from pitcore.loop.app import App, Options
from pitcore.loop.pipeline import Hooks
from pitcore.loop.sources import build_source
from pitcore.metrics import Metrics
from pitcore.sinks.memory import MemorySink
from tests.camera import board
from tests.camera.board import BOTTOM, FRAME_NS, PATIENCE_S, TOP, lost_of, number_shown, read_until_it_breaks, take
from tests.camera.fake_picamera2 import Faults, Sensor
from tests.scene import ListSource


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


def test_a_slow_reader_loses_the_oldest_frames_and_the_camera_keeps_its_buffers(bench, opened):
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


def test_a_source_can_be_started_again(bench, opened):
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
    """A view that is read after its release has been overwritten, so a wrong picture would be judged."""
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


def test_cameras_out_of_step_are_distinguished_from_a_broken_camera(opened):
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
def test_an_impossible_exposure_is_refused_with_the_limits(wanted, said):
    with pytest.raises(SourceError, match=said):
        board.source_of().set_exposures(wanted)
