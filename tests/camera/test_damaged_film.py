"""Films and USB streams with a damaged picture, by the real FFmpeg: an event and no verdict; the next one is judged."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from pitcore.camera.film import open_film, shots
from pitcore.camera.integrity import jpeg_fault
from pitcore.camera.replay import ReplaySource
from pitcore.camera.ticks import ConstantSpeed
from pitcore.camera.uvc import UvcSource
from pitcore.config import BeltConfig, Config, FrameConfig, ModelConfig, UvcSourceConfig, VideoSourceConfig
from pitcore.frame import Geometry
from pitcore.loop.app import App, Options
from pitcore.loop.sources import build_source
from pitcore.metrics import Metrics
from pitcore.sinks.memory import MemorySink
from tests.camera.belts import belt_of, frames_of, small_spec
from tests.cli.program import run_pitcore

SPEC = small_spec(frames=8)
PX_PER_S = SPEC.advance_px * SPEC.frames_per_s
RATE = round(SPEC.frames_per_s)
BAD = 3  # the packet that is damaged
KINDS = {  # codec: pixel format, container, options
    "mjpeg": ("yuvj420p", "mkv", {}),
    "ffv1": ("bgr0", "mkv", {"level": "3", "slicecrc": "1"}),
    "png": ("rgb24", "mov", {}),
    "libx264": ("yuv420p", "mkv", {"bf": "2", "g": "5"}),
    "mpeg4": ("yuv420p", "avi", {"g": "5"}),
}
# Each picture can be decoded by itself; in the FFV1 that is made here each needs the coder's states from the first.
INTRA = {"mjpeg", "png"}
DAMAGE = {
    "half": lambda raw: raw[: len(raw) // 2],
    "half, then zeros": lambda raw: raw[: len(raw) // 2] + bytes(len(raw) - len(raw) // 2),
    "20 bytes": lambda raw: raw[:20],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A film of the belt in each codec."""
    folder, belt = tmp_path_factory.mktemp("films"), belt_of(SPEC)
    paths = {}
    for codec, (pixels, container, options) in KINDS.items():
        paths[codec] = folder / f"{codec}.{container}"
        with av.open(str(paths[codec]), "w") as file:
            stream = file.add_stream(codec, rate=RATE, options=options)
            stream.width, stream.height, stream.pix_fmt = SPEC.width_px, SPEC.height_px, pixels
            for number, (_, _, _, planes) in enumerate(belt):
                shown = np.dstack((planes[0], planes[0] // 2, planes[1]))
                picture = av.VideoFrame.from_ndarray(shown, format="rgb24").reformat(format=pixels)
                picture.pts, picture.time_base = number, Fraction(1, RATE)
                file.mux(stream.encode(picture))
            file.mux(stream.encode())
    return paths


def spoil(film, out, change, bad=(BAD,)):
    """Copy a film with some of its packets changed."""
    with av.open(str(film)) as source, av.open(str(out), "w") as copy:
        stream = source.streams.video[0]
        taken = copy.add_stream_from_template(stream)
        for number, packet in enumerate(packet for packet in source.demux(stream) if packet.size):
            if number in bad:
                changed = av.Packet(change(bytes(packet)))
                changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
                changed.is_keyframe = packet.is_keyframe
                packet = changed  # noqa: PLW2901  the damaged one goes on in its place
            packet.stream = taken
            copy.mux(packet)
    return out


def damage_in(path):
    with open_film(str(path), None, {}) as film:
        found = list(shots(film))
    stamps = [shot.stamp_ns for shot in found]
    assert stamps == sorted(set(stamps)), "a damaged picture turned the order of time"
    return [shot.damage for shot in found]


@pytest.mark.parametrize("codec", KINDS)
def test_a_whole_film_has_no_damage(whole, codec):
    assert damage_in(whole[codec]) == [""] * 8


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("codec", KINDS)
def test_a_damaged_picture_is_found_and_a_whole_one_after_it_is_whole(whole, tmp_path, codec, how):
    bad = spoil(whole[codec], tmp_path / whole[codec].name, DAMAGE[how])
    found = damage_in(bad)
    assert any(found)
    if codec in INTRA:
        assert [bool(damage) for damage in found] == [number == BAD for number in range(8)]
    elif codec != "ffv1":
        assert not found[0]
        assert not any(found[5:]), "a picture that needs no other starts again"


def test_pictures_that_depend_on_a_damaged_picture_are_damaged(whole, tmp_path):
    bad = spoil(whole["mpeg4"], tmp_path / "bad.avi", DAMAGE["half"], bad=(2,))
    assert [bool(damage) for damage in damage_in(bad)] == [False, False, True, True, True, False, False, False]


def test_a_wrong_checksum_of_ffv1_is_found(whole, tmp_path):
    def flip(raw):
        at = len(raw) // 2
        return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]

    found = damage_in(spoil(whole["ffv1"], tmp_path / "bad.mkv", flip))
    assert not any(found[:BAD])
    assert found[BAD].startswith("its decoder reports an error")


def jpeg():
    packets = io.BytesIO()
    with av.open(packets, "w", format="mjpeg") as file:
        stream = file.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), "rgb24")))
        file.mux(stream.encode())
    return packets.getvalue()


def test_a_jpeg_is_whole_with_its_end_marker_whatever_follows_it():
    whole = jpeg()
    assert jpeg_fault(whole) is None
    assert jpeg_fault(whole + bytes(500)) is None
    for end in (len(whole) - 1, len(whole) - 2, len(whole) // 2):
        assert jpeg_fault(whole[:end]) is not None
    thumbnail = b"\xff\xe1" + (2 + len(whole)).to_bytes(2, "big") + whole  # whole itself
    assert jpeg_fault(whole[:2] + thumbnail + whole[2:-2]) is not None
    assert jpeg_fault(b"") == "the JPEG holds no pixels"


def config_of(film, bundle):
    return Config(
        frame=FrameConfig(height_px=SPEC.height_px, width_px=SPEC.width_px),
        belt=BeltConfig(px_per_tick=SPEC.px_per_tick),
        source=VideoSourceConfig(path=str(film), paced=False, px_per_s=PX_PER_S),
        model=ModelConfig(bundle=str(bundle)),
    )


def test_half_a_jpeg_in_a_stream_is_an_event_of_its_planes_and_no_verdict(whole, tmp_path, tiny_bundle):
    bad = spoil(whole["mjpeg"], tmp_path / "bad.mkv", DAMAGE["half"])
    config, memory, metrics = config_of(bad, tiny_bundle), MemorySink(), Metrics()
    App(config, build_source(config), Options([memory], timings=False), metrics).run()
    (event,) = [event for event in memory.events if event.event == "frame_damaged"]
    assert event.seq == BAD
    cause = "the JPEG is cut off, its end marker is missing"
    assert event.detail == f"plane top is damaged: {cause}; plane bottom is damaged: {cause}"
    assert event.camera is None
    of_frames = {verdict.frame.seq for verdict in memory.verdicts}
    assert BAD not in of_frames
    assert max(of_frames) > BAD, "the next one is judged"


def test_a_camera_whose_pictures_are_all_cut_off_is_alarmed_and_nothing_is_judged(whole, tmp_path, tiny_bundle):
    bad = spoil(whole["mjpeg"], tmp_path / "bad.mkv", DAMAGE["half"], bad=range(8))
    config, memory = config_of(bad, tiny_bundle), MemorySink()
    App(config, build_source(config), Options([memory], timings=False), Metrics()).run()
    assert not memory.verdicts
    (alarm,) = [event for event in memory.events if event.event == "not_judging"]
    assert "frame_damaged 4" in alarm.detail


def test_a_damaged_picture_of_a_live_camera_is_marked_and_keeps_its_number(whole, tmp_path):
    bad = spoil(whole["mjpeg"], tmp_path / "bad.mkv", DAMAGE["half, then zeros"])
    config = UvcSourceConfig(device=str(bad), channels=("red", "blue"), frames_per_s=SPEC.frames_per_s)
    geometry = Geometry(("top", "bottom"), SPEC.height_px, SPEC.width_px, SPEC.px_per_tick)
    source = UvcSource(config, geometry, ConstantSpeed(PX_PER_S, SPEC.px_per_tick), kind="matroska")
    put = []
    source._put = lambda _, shot: put.append(shot)  # the file is read in no time: the queue would drop most
    source._read_all()
    assert [bool(shot.damage) for shot in put] == [number == BAD for number in range(8)]


def test_a_recording_leaves_damaged_pictures_out_and_counts_them(whole, tmp_path):
    bad = spoil(whole["mjpeg"], tmp_path / "bad.mkv", DAMAGE["half"])
    text = f'[frame]\nheight_px = {SPEC.height_px}\nwidth_px = {SPEC.width_px}\n[source]\nkind = "video"\n'
    (tmp_path / "board.toml").write_text(text + f'path = "{bad}"\npaced = false\npx_per_s = {PX_PER_S}\n')
    done = run_pitcore("record", tmp_path / "rec", "--config", tmp_path / "board.toml")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'rec'}: 7 frames, 1 damaged, left out\n"), done.stderr
    assert [seq for seq, *_ in frames_of(ReplaySource(tmp_path / "rec"))] == [0, 1, 2, 4, 5, 6, 7]


def test_calibrate_measures_nothing_by_a_film_of_damaged_pictures(whole, tmp_path):
    bad = spoil(whole["mjpeg"], tmp_path / "bad.mkv", DAMAGE["half"], bad=(1, 2, 3, 4, 5))
    text = f'[frame]\nheight_px = {SPEC.height_px}\nwidth_px = {SPEC.width_px}\n[source]\nkind = "video"\n'
    text += f'path = "{bad}"\npaced = false\npx_per_s = {PX_PER_S}\n[calibration]\nfile = "calibration.json"\n'
    (tmp_path / "board.toml").write_text(text)
    done = run_pitcore("calibrate", "flat", "--frames", "8", "--config", tmp_path / "board.toml", "--out", tmp_path)
    assert done.returncode == 2
    assert "4 of 4 frames are damaged (the JPEG is cut off, its end marker is missing)" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "calibration.json").exists()
