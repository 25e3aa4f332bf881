"""Films and USB cameras by the real PyAV: a film of the emulated belt, encoded here, and a live stream by a pipe."""

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest

from pitcore.camera import video
from pitcore.camera.replay import ReplaySource
from pitcore.camera.source import Source
from pitcore.camera.ticks import ConstantSpeed
from pitcore.camera.uvc import UvcSource
from pitcore.camera.video import VideoSource
from pitcore.config import BeltConfig, Config, FrameConfig, ModelConfig, UvcSourceConfig, VideoSourceConfig
from pitcore.emulator.emulated import EmulatedSource
from pitcore.errors import SourceError
from pitcore.frame import Geometry
from pitcore.loop.app import App, Options
from pitcore.loop.sources import build_source
from pitcore.metrics import Metrics
from pitcore.sinks.memory import MemorySink
from tests.camera.belts import belt_of, small_spec
from tests.cli.program import run_pitcore
from tests.conftest import ROOT

SPEC = small_spec(frames=6)
GEOMETRY = Geometry(("top", "bottom"), SPEC.height_px, SPEC.width_px, SPEC.px_per_tick)
PX_PER_S = SPEC.advance_px * SPEC.frames_per_s
TICKS = ConstantSpeed(PX_PER_S, SPEC.px_per_tick)
PATIENCE_S = 60.0


def colour(planes):
    """(H, W, 3) RGB as crops are stored: red is top, blue is bottom."""
    return np.dstack((planes[0], planes[0] // 2, planes[1]))


@pytest.fixture(scope="module")
def belt():
    return belt_of(SPEC)


@pytest.fixture(scope="module")
def film(belt, tmp_path_factory):
    """A lossless film of the belt."""
    path = tmp_path_factory.mktemp("film") / "belt.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=round(SPEC.frames_per_s))
        stream.width, stream.height, stream.pix_fmt = SPEC.width_px, SPEC.height_px, "bgr0"
        for number, (_, _, _, planes) in enumerate(belt):
            picture = av.VideoFrame.from_ndarray(colour(planes), format="rgb24")
            picture.pts = number
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
    return path


def config_of(film, **changes):
    return VideoSourceConfig(path=str(film), paced=False, px_per_s=PX_PER_S, **changes)


def frames_of(source: Source):
    source.start()
    frames = []
    while (frame := source.read(PATIENCE_S)) is not None:
        with frame:
            frames.append((frame.seq, frame.t_ns, frame.tick, np.stack(frame.planes)))
    source.close()
    return frames


def test_a_film_of_the_belt_gives_the_belts_planes_back_with_its_stamps_and_ticks(belt, film):
    frames = frames_of(VideoSource(config_of(film), GEOMETRY, TICKS))
    assert [(seq, t_ns, tick) for seq, t_ns, tick, _ in frames] == [
        (number, number * 50_000_000, SPEC.tick_of(number)) for number in range(6)
    ]
    assert all(np.array_equal(planes, shown[3]) for (*_, planes), shown in zip(frames, belt, strict=True))


def test_a_frame_is_a_window_of_the_film_and_grey_is_its_luma(belt, film):
    geometry = Geometry(("top",), 100, 200, 0.5)
    cut = frames_of(VideoSource(config_of(film, channels=("green",), window_px=(30, 20)), geometry, TICKS))
    assert np.array_equal(cut[2][3][0], belt[2][3][0][20:120, 30:230] // 2)
    grey = frames_of(VideoSource(config_of(film, channels=("luma",), window_px=(30, 20)), geometry, TICKS))
    red, green, blue = (colour(belt[2][3])[20:120, 30:230, channel].astype(float) for channel in range(3))
    assert np.abs(grey[2][3][0] - (0.299 * red + 0.587 * green + 0.114 * blue)).max() < 3


def test_a_film_gets_the_verdicts_of_the_belt_it_shows(film, tiny_bundle):
    frame = FrameConfig(height_px=SPEC.height_px, width_px=SPEC.width_px)
    config = Config(
        frame=frame,
        belt=BeltConfig(px_per_tick=SPEC.px_per_tick),
        source=config_of(film),
        model=ModelConfig(bundle=str(tiny_bundle)),
    )
    lines = []
    for source in (build_source(config), EmulatedSource(SPEC)):
        memory = MemorySink()
        App(config, source, Options([memory], timings=False), Metrics()).run()
        lines.append([(line.frame.seq, line.tick, line.box, line.verdict) for line in memory.verdicts])
    assert len(lines[0]) > 5
    assert lines[0] == lines[1]


def test_a_frame_outlives_its_film(belt, film):
    source = VideoSource(config_of(film), GEOMETRY, TICKS)
    source.start()
    frame = source.read(PATIENCE_S)
    source.close()
    source.close()
    assert np.array_equal(np.stack(frame.planes), belt[0][3])
    assert source.health()[0].frames == 1
    with pytest.raises(SourceError, match="not started"):
        source.read(1.0)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.mkv", None, "cannot be opened: No such file"),
        ("text.mkv", b"no film", "cannot be opened: Invalid data"),
    ],
)
def test_a_file_that_is_no_film_is_a_one_line_error(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError) as caught:
        VideoSource(config_of(tmp_path / name), GEOMETRY, TICKS).start()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def server_of():
    """Builds a server that answers each request with these bytes, and then sends nothing; returns its port."""
    servers, kept = [], []

    def serve(server, answer):
        with contextlib.suppress(OSError):
            while True:
                kept.append(server.accept()[0])
                kept[-1].recv(1)
                kept[-1].sendall(answer)

    def build(answer):
        servers.append(socket.create_server(("127.0.0.1", 0)))
        threading.Thread(target=serve, args=(servers[-1], answer), daemon=True).start()
        return servers[-1].getsockname()[1]

    yield build
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
    for connection in kept:
        connection.close()


@pytest.mark.parametrize("scheme", ["http", "rtsp", "tcp"])
def test_a_server_that_sends_nothing_is_a_fault_after_the_timeout(server_of, monkeypatch, scheme):
    monkeypatch.setattr(video, "OPEN_S", 0.3)
    url = f"{scheme}://127.0.0.1:{server_of(b'')}/belt"
    with pytest.raises(SourceError) as caught:
        VideoSource(config_of(url), GEOMETRY, TICKS).start()
    assert str(caught.value) == f"{url}: sent nothing for 0.3 s; check the camera or server, and the network"


def test_a_server_that_falls_silent_is_a_fault_and_what_it_sent_is_judged(film, server_of, monkeypatch):
    monkeypatch.setattr(video, "SILENT_S", 0.3)
    whole = film.read_bytes()
    head = b"HTTP/1.0 200 OK\r\nContent-Type: video/x-matroska\r\n\r\n"
    url = f"http://127.0.0.1:{server_of(head + whole[: len(whole) * 3 // 4])}/belt.mkv"
    source, frames = VideoSource(config_of(url), GEOMETRY, TICKS), 0
    source.start()
    with pytest.raises(SourceError) as caught:
        while source.read(PATIENCE_S) is not None:
            frames += 1
    source.close()
    assert frames > 0
    assert str(caught.value) == f"{url}: sent nothing for 0.3 s; check the camera or server, and the network"


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_a_film_must_be_a_regular_file(tmp_path, kind):
    path = {"pipe": tmp_path / "pipe", "device": Path("/dev/zero"), "folder": tmp_path}[kind]
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(SourceError, match="is not a regular file; give"):
        VideoSource(config_of(path), GEOMETRY, TICKS).start()


def test_a_film_too_small_for_the_frame_is_refused_with_both_sizes(film):
    source = VideoSource(config_of(film, window_px=(10, 0)), GEOMETRY, TICKS)
    source.start()
    with pytest.raises(SourceError, match=r"pictures of 700 x 240 px, which do not hold the frame of 700 x 240"):
        source.read(PATIENCE_S)
    source.close()


STREAM = """
import sys, time
from fractions import Fraction
import av, numpy as np
count, then, path = int(sys.argv[1]), sys.argv[2], sys.argv[3]
with av.open(path, "w", format="nut", options={"flush_packets": "1"}) as file:
    stream = file.add_stream("rawvideo", rate=50)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
    stream.codec_context.time_base = Fraction(1, 1_000_000)
    for number in range(count):
        picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8), format="rgb24")
        picture.pts, picture.time_base = time.monotonic_ns() // 1000, Fraction(1, 1_000_000)
        file.mux(stream.encode(picture))
        time.sleep(0.02)
    if then == "hang":
        time.sleep(60)
"""


@pytest.fixture
def live(tmp_path):
    """Builds a source that reads a live stream of pictures, all of whose pixels are their number."""
    pipe, writers, sources = tmp_path / "camera", [], []
    os.mkfifo(pipe)

    def build(count, then):
        command = [sys.executable, "-c", STREAM, str(count), then, str(pipe)]
        writers.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        config = UvcSourceConfig(device=str(pipe), channels=("red", "blue"), frames_per_s=50.0)
        sources.append(UvcSource(config, Geometry(("top", "bottom"), 48, 64, 0.5), TICKS, kind="nut"))
        sources[-1].start()
        return sources[-1]

    yield build
    for writer in writers:
        writer.kill()
        writer.wait()
    for source in sources:
        source.close()


def read_until_it_breaks(source):
    frames = []
    while True:
        try:
            frame = source.read(1.0)
        except SourceError as error:
            return frames, str(error)
        with frame:
            assert all((plane == plane[0, 0]).all() for plane in frame.planes)
            frames.append((frame.seq, frame.t_ns, int(frame.planes[0][0, 0])))


def test_a_live_camera_gives_each_picture_once_by_the_kernels_clock_until_it_is_unplugged(live):
    source = live(250, "end")
    before_ns = time.monotonic_ns()
    frames, said = read_until_it_breaks(source)
    assert said == f"camera {source._config.device} ended: it was unplugged; plug it in again"
    assert len(frames) > 5
    assert all(later > earlier for (*_, earlier), (*_, later) in itertools.pairwise(frames))
    assert all(before_ns <= t_ns <= time.monotonic_ns() for _, t_ns, _ in frames)
    (health,) = source.health()
    assert health.frames == 250
    assert health.frames - health.lost.get("queue_full", 0) == len(frames)


def test_a_live_camera_that_hangs_is_found_and_named(live):
    source = live(250, "hang")
    frames, said = read_until_it_breaks(source)
    assert said.startswith(f"camera {source._config.device} sent nothing for 1 s: it hangs")
    assert frames
    assert source.live


def test_a_missing_camera_is_a_one_line_error(tmp_path):
    with pytest.raises(SourceError) as caught:
        UvcSource(UvcSourceConfig(device=str(tmp_path / "video7")), GEOMETRY, TICKS).start()
    assert str(caught.value).startswith(f"{tmp_path / 'video7'}: no such camera; plug it in")


def test_a_device_that_is_no_camera_is_named_when_it_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"no camera")
    source = UvcSource(UvcSourceConfig(device=str(tmp_path / "file")), GEOMETRY, TICKS)
    source.start()
    with pytest.raises(SourceError, match="cannot be opened"):
        source.read(PATIENCE_S)
    source.close()


def test_the_device_is_asked_for_size_rate_and_format():
    config = UvcSourceConfig(picture_px=(1280, 720), frames_per_s=29.97, pixel_format="mjpeg")
    asked = UvcSource(config, GEOMETRY, TICKS)._options()
    assert asked == {"video_size": "1280x720", "framerate": "29.97", "input_format": "mjpeg"}
    assert "video4linux2,v4l2" in av.formats_available, "PyAV was built without Video4Linux"


def test_a_recording_of_a_film_holds_the_belts_planes(belt, film, tmp_path):
    text = f'[frame]\nheight_px = {SPEC.height_px}\nwidth_px = {SPEC.width_px}\n[source]\nkind = "video"\n'
    text += f'path = "{film}"\npaced = false\npx_per_s = {PX_PER_S}\n'
    (tmp_path / "board.toml").write_text(text)
    done = run_pitcore("record", tmp_path / "rec", "--config", tmp_path / "board.toml")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'rec'}: 6 frames\n"), done.stderr
    kept = frames_of(ReplaySource(tmp_path / "rec"))
    assert all(np.array_equal(planes, shown[3]) for (*_, planes), shown in zip(kept, belt, strict=True))


def test_a_laptop_without_a_webcam_is_told_so_in_one_line(tmp_path):
    text = (ROOT / "firmware_configs" / "boards" / "webcam.toml").read_text()
    (tmp_path / "board.toml").write_text(text.replace('"/dev/video0"', f'"{tmp_path / "video0"}"'))
    done = run_pitcore("record", tmp_path / "rec", "--config", tmp_path / "board.toml")
    assert done.returncode == 2
    assert done.stderr.startswith(f"pitcore: {tmp_path / 'video0'}: no such camera; plug it in")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "rec").exists(), "it can be tried again as soon as the webcam is there"
