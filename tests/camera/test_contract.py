"""Runs the source with the real picamera2 over a libcamera without a kernel, and compares the fake with it."""

import gc
import importlib
import inspect
import sys
import time
import types

import numpy as np
import pytest

from pitcore.camera.source import Exposure
from pitcore.config import Config, FrameConfig, ModelConfig
from pitcore.errors import SourceError
from pitcore.loop.app import App, Options
from pitcore.loop.pipeline import Hooks
from pitcore.loop.sources import build_source
from pitcore.metrics import Metrics
from pitcore.sinks.memory import MemorySink
from tests.camera import board, fake_libcamera, fake_picamera2
from tests.camera.board import BOTTOM, PATIENCE_S, TOP

# picamera2 itself calls what Python has deprecated since
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def real():
    """The real picamera2, imported over the stubs."""
    for name in [name for name in sys.modules if name.partition(".")[0] in {"picamera2", "libcamera"}]:
        del sys.modules[name]  # another test may have tried to import it
    stubs = fake_libcamera.stubs()
    sys.modules |= stubs
    try:
        picamera2 = importlib.import_module("picamera2")
        dmaallocator = importlib.import_module("picamera2.allocators.dmaallocator")
        dmaallocator.DmaHeap = fake_libcamera.MemoryHeap
        dmaallocator.fcntl = types.SimpleNamespace(ioctl=lambda *_: 0)  # the cache of a file in memory needs no sync
        yield picamera2
    finally:
        for name in [name for name in sys.modules if name in stubs or name.partition(".")[0] == "picamera2"]:
            del sys.modules[name]


@pytest.fixture
def cameras(real):
    """Two cameras that libcamera found in the order of their wake-up: the bottom one first."""
    manager = fake_libcamera.CameraManager.singleton()
    found = {name: fake_libcamera.Camera(name, grey) for name, grey in ((BOTTOM, 120), (TOP, 40))}
    manager.cameras = list(found.values())
    return found


@pytest.fixture
def source(cameras):
    source = board.source_of()
    yield source
    source.close()


def test_the_contract_tests_use_the_real_library(real):
    assert "site-packages" in real.__file__
    assert real.Picamera2.__module__ == "picamera2.picamera2"


def test_the_source_takes_pairs_from_the_real_picamera2_without_a_copy(cameras, source):
    source.start()
    seqs = []
    for _ in range(30):
        with source.read(PATIENCE_S) as frame:
            top, bottom = frame.planes
            assert (top.shape, bottom.shape) == ((48, 100), (48, 100))
            assert (top == 40).all()
            assert (bottom == 120).all()
            assert top.strides == (192, 1), "padded, as on a board"
            mapped = source._cameras[0]._camera.allocator.mapped_buffers.values()
            assert any(np.shares_memory(top, np.frombuffer(memory, np.uint8)) for memory in mapped)
            seqs.append(frame.seq)
    assert seqs == sorted(set(seqs))
    assert {health.id: health.planes for health in source.health()} == {TOP: ("top",), BOTTOM: ("bottom",)}


def test_a_released_buffer_goes_back_to_the_camera(cameras, source):
    source.start()
    with source.read(PATIENCE_S) as frame:
        top = frame.planes[0]
        held = top.copy()
        time.sleep(0.1)  # five frames: the cameras go on around the one that is lent
        assert np.array_equal(top, held)
    del frame, top  # a view that lives keeps the camera's memory mapped
    deadline = time.monotonic() + PATIENCE_S
    while cameras[TOP].number < 60:
        source.read(PATIENCE_S).release()
        assert time.monotonic() < deadline
    source.close()
    assert cameras[TOP].number >= 60, "eight buffers went round"


def test_each_camera_is_bound_by_its_id_though_libcamera_numbers_them_otherwise(real, cameras):
    listed = real.Picamera2.global_camera_info()
    assert [camera["Id"] for camera in listed] == [TOP, BOTTOM]
    assert [camera["Num"] for camera in listed] == [1, 0], "the trap: neither place nor number alone will do"
    with board.installed() as bench:
        bench.connect(fake_picamera2.Sensor(BOTTOM, 0), fake_picamera2.Sensor(TOP, 1))
        assert fake_picamera2.Picamera2.global_camera_info() == listed


def test_exposure_gain_and_frame_time_are_locked_by_controls_that_the_sensor_has(cameras, source):
    source.start()
    source.read(PATIENCE_S).release()
    controls = cameras[TOP].started_with
    assert controls["ExposureTime"] == 500
    assert controls["ExposureTimeMode"] == 1
    assert controls["AnalogueGain"] == 1.0
    assert controls["FrameDurationLimits"] == (20_000, 20_000)
    assert controls["AeEnable"] is False
    assert not {"AwbEnable", "ColourGains"} & set(controls), "a mono sensor refuses them"


def test_the_service_runs_over_it_and_leaves_no_memory_mapped(cameras, tiny_bundle):
    for camera in cameras.values():
        shows(camera, [np.full((48, 100), 5 + number % 3, np.uint8) for number in range(3)])  # an empty belt
    frame = FrameConfig(height_px=48, width_px=100)
    config = Config(
        frame=frame, source=board.source_config(px_per_s=1000.0), model=ModelConfig(bundle=str(tiny_bundle))
    )
    metrics = Metrics()
    hooks = Hooks(between_frames=lambda: app.stop() if metrics.value("frames") == 10 else None)
    app = App(config, build_source(config), Options([MemorySink()], hooks=hooks), metrics)
    app.run()
    gc.collect()  # a view that is kept would show here: picamera2 cannot close its buffers
    assert metrics.value("frames") == 10
    assert metrics.labels("events").keys() <= {"frames_lost", "frames_dropped", "belt_gap"}


def test_a_camera_that_hangs_is_found_and_closed(cameras, source):
    source.start()
    source.read(PATIENCE_S).release()
    cameras[BOTTOM].hanging = True
    with pytest.raises(SourceError, match=rf"camera bottom \({BOTTOM}\) sent nothing for 1 s"):
        while True:
            source.read(1.0).release()
    source.close()
    assert cameras[TOP].queued == []


def shows(camera, pictures, frozen_from=None):
    """Let a camera show these pictures in turn, or the same picture from a number on."""

    def scene(number):
        at = number if frozen_from is None else min(number, frozen_from)
        return pictures[at % len(pictures)]

    camera.scene = scene


def run_over(bundle, frames=None):
    """Run the loop over both cameras to its end, or for so many frames; return sink and error."""
    config = Config(
        frame=FrameConfig(height_px=240, width_px=640),
        source=board.source_config(px_per_s=6000.0),
        model=ModelConfig(bundle=str(bundle)),
    )
    memory, metrics = MemorySink(), Metrics()
    hooks = Hooks(between_frames=lambda: app.stop() if metrics.value("frames") == frames else None)
    app = App(config, build_source(config), Options([memory], hooks=hooks), metrics)
    try:
        app.run()
    except SourceError as error:
        return memory, error
    finally:
        gc.collect()
    return memory, None


@pytest.mark.parametrize("cherries", [0.0, 6.0], ids=["empty belt", "cherries"])
@pytest.mark.parametrize("frozen", [(TOP,), (BOTTOM,), (TOP, BOTTOM)], ids=["top", "bottom", "both"])
def test_a_frozen_camera_is_named_and_none_of_its_frames_judged(cameras, tiny_bundle, frozen, cherries):
    """Stamps, numbers and the other camera continue: only the picture shows the fault."""
    pictures = board.belt_pictures(240, 640, 120, cherries=cherries)
    for place, (name, camera) in enumerate(sorted(cameras.items(), reverse=True)):
        shows(camera, [planes[place] for planes in pictures], frozen_from=30 if name in frozen else None)
    memory, error = run_over(tiny_bundle)
    first = ("top", TOP) if TOP in frozen else ("bottom", BOTTOM)
    assert str(error).startswith(f"camera {first[0]} ({first[1]}) sent one and the same picture for 1")
    stuck = next(event for event in memory.events if event.event == "frame_stuck")
    assert stuck.camera == first[0]
    alarm = next(event for event in memory.events if event.event == "camera_frozen")
    assert alarm.seq > stuck.seq
    assert alarm.detail.endswith("while this alarm is on, nothing is clean")
    assert all(verdict.frame.seq < stuck.seq for verdict in memory.verdicts)
    assert bool(memory.verdicts) == bool(cherries), "before it froze"


def test_an_empty_belt_is_not_a_frozen_camera(cameras, tiny_bundle):
    pictures = board.belt_pictures(240, 640, 120, cherries=0.0)
    for place, (_, camera) in enumerate(sorted(cameras.items(), reverse=True)):
        shows(camera, [planes[place] for planes in pictures])
    memory, error = run_over(tiny_bundle, frames=60)
    assert error is None
    assert not {event.event for event in memory.events} & {"frame_stuck", "camera_frozen"}


def test_the_dark_noise_of_a_sensor_without_light_is_not_a_frozen_camera(cameras, tiny_bundle):
    rng = np.random.default_rng(5)
    for camera in cameras.values():
        shows(camera, [(rng.random((240, 640)) < 0.001).astype(np.uint8) for _ in range(90)])
    memory, error = run_over(tiny_bundle, frames=60)
    assert error is None
    assert not {event.event for event in memory.events} & {"frame_stuck", "camera_frozen"}


def test_an_exposure_set_while_it_runs_reaches_the_sensor(cameras, source):
    source.start()
    source.read(PATIENCE_S).release()
    source.set_exposures([Exposure(900.0), Exposure(500.0)])
    cameras[TOP].started_with["ExposureTime"] = 900  # like a sensor that keeps its settings
    for _ in range(500):  # frames from before the change may still wait to be read
        source.read(PATIENCE_S).release()
        if source.health()[0].locked:
            break
    assert source.health()[0].locked.exposure_us == 900


def test_the_red_and_blue_of_a_colour_camera_are_where_picamera2_puts_them(cameras):
    one = board.camera("top", TOP, planes=("top", "bottom"), channels=("red", "blue"))
    source = board.source_of(board.source_config(cameras=(one,)))
    source.start()
    with source.read(PATIENCE_S) as frame:
        red, blue = frame.planes
        assert (red == 42).all()  # the fake writes grey, grey + 1, grey + 2 in the order of memory, which is blue first
        assert (blue == 40).all()
    source.close()


@pytest.mark.parametrize("padding", [0, 1, 28, 64])
def test_the_fake_shapes_a_buffer_as_the_real_helper_does(real, padding):
    for pixel_format, samples in (("YUV420", 1), ("RGB888", 3)):
        width, height = 100, 48
        stride = width * samples + padding
        rows = height * 3 // 2 if pixel_format == "YUV420" else height
        flat = np.random.default_rng(padding).integers(0, 255, rows * stride, np.uint8)
        config = {"format": pixel_format, "size": (width, height), "stride": stride}
        given = real.picamera2.Helpers(None)._make_array_shared(flat, config)
        picam2 = types.SimpleNamespace(buffers=[flat], request_lock=None, camera_config={"main": config})
        request = fake_picamera2.CompletedRequest({"buffer": 0}, picam2)
        with fake_picamera2.MappedArray(request, "main", write=False) as mapped:
            assert np.array_equal(mapped.array, given)
            assert mapped.array.strides == given.strides
        assert np.shares_memory(given, flat)


CALLED = [
    ("Picamera2", name)
    for name in (
        *("__init__", "global_camera_info", "create_video_configuration", "configure", "camera_configuration"),
        *("set_controls", "start", "stop", "close"),
    )
] + [
    ("CompletedRequest", "acquire"),
    ("CompletedRequest", "release"),
    ("CompletedRequest", "get_metadata"),
    ("CompletedRequest", "__init__"),
    ("MappedArray", "__init__"),
    ("MappedArray", "__enter__"),
    ("MappedArray", "__exit__"),
]


@pytest.mark.parametrize(("of", "name"), CALLED, ids=".".join)
def test_the_fake_has_the_signatures_of_the_real_picamera2(real, of, name):
    mine = inspect.signature(getattr(getattr(fake_picamera2, of), name)).parameters
    theirs = inspect.signature(getattr(getattr(real, of), name)).parameters
    assert list(mine) == list(theirs)
    for word, parameter in mine.items():
        assert parameter.kind == theirs[word].kind
        wanted = theirs[word].default
        if not isinstance(wanted, fake_libcamera.Transform):  # made at import, of a module the fake does without
            assert parameter.default == wanted
