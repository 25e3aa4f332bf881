import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pitcore.camera.crops import find_crops, read_crop
from pitcore.emulator.emulated import Delivery, EmulatedSource
from pitcore.emulator.layout import cherries_in
from pitcore.emulator.single import render_crop
from pitcore.emulator.spec import BeltSpec
from pitcore.errors import ConfigError, SourceError
from pitcore.preprocess.prepare import CropSpec, Preparer, SegmentSpec
from tests.camera.belts import LEVEL, THRESHOLD, belt_of, frames_of, small_spec

ROOT = Path(__file__).parents[2]


def same(first, second):
    return len(first) == len(second) and all(
        a[:3] == b[:3] and np.array_equal(a[3], b[3]) for a, b in zip(first, second, strict=True)
    )


def test_equal_seeds_give_equal_frames_and_other_seeds_others():
    spec = small_spec(seed=4, frames=3)
    assert same(belt_of(spec), belt_of(spec))
    assert not same(belt_of(spec), belt_of(small_spec(seed=5, frames=3)))
    source, other = EmulatedSource(spec), EmulatedSource(small_spec(seed=5, frames=3))
    assert source.all_truths() == EmulatedSource(spec).all_truths() != other.all_truths()


def test_another_process_draws_the_same_bytes():
    script = (
        "import hashlib; from tests.camera.belts import belt_of, small_spec;"
        "print(hashlib.sha256(b''.join(f[3].tobytes() for f in belt_of(small_spec(seed=9, frames=3)))).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True, cwd=ROOT).stdout
    here = b"".join(frame[3].tobytes() for frame in belt_of(small_spec(seed=9, frames=3)))
    assert there.strip() == hashlib.sha256(here).hexdigest()


def test_a_source_that_is_started_again_begins_at_its_first_frame():
    source = EmulatedSource(small_spec(frames=3))
    assert same(frames_of(source), frames_of(source))


def test_overlapping_frames_show_the_same_belt_but_for_the_noise():
    first, second = belt_of(small_spec(frames=2, noise=0.0, start_tick=2000))
    assert np.array_equal(first[3][:, :120], second[3][:, 120:])  # 120 px further on
    noisy = belt_of(small_spec(frames=2, start_tick=2000))
    difference = noisy[0][3][:, :120].astype(int) - noisy[1][3][:, 120:]
    assert 0.5 < np.abs(difference).mean() < 6


def whole_in(truth, tick, spec, margin=3):
    box = truth.box(tick, spec.px_per_tick)
    inside = box.x_px >= margin and box.x_px + box.width_px <= spec.width_px - margin
    return inside and box.y_px >= margin and box.y_px + box.height_px <= spec.height_px - margin


def segment(spec, planes):
    background, threshold = (LEVEL, LEVEL), (THRESHOLD, THRESHOLD)
    rule = SegmentSpec(background, threshold, polarity=("bright", "bright"), combine="any", min_area_px=200)
    return Preparer(spec.height_px, spec.width_px, rule, CropSpec(80, "centre", 2)).segment(tuple(planes))


@pytest.mark.parametrize("seed", [1, 2])
def test_the_truth_is_where_the_pixels_are(seed):
    spec = small_spec(seed=seed, frames=24, touching_share=0.0, foreign_share=0.0)
    source = EmulatedSource(spec)
    off = []
    for _, _, tick, planes in frames_of(source):
        truths = source.truths(tick, tick)
        for thing in segment(spec, planes):
            x, y, width, height = (int(thing[key]) for key in ("x", "y", "w", "h"))
            middles = [
                truth
                for truth in truths
                if abs(truth.x_px - x - width / 2) <= width / 2 + 4
                and abs(truth.row_px(tick, spec.px_per_tick) - y - height / 2) <= truth.height_px
            ]
            assert middles, f"nothing of the truth at {x}, {y} of tick {tick}"
            if thing["border"] == 0:
                box = middles[0].box(tick, spec.px_per_tick)
                assert np.allclose((x, y, width, height), (box.x_px, box.y_px, box.width_px, box.height_px), atol=5)
                off.append(
                    (x + width / 2 - middles[0].x_px, y + height / 2 - middles[0].row_px(tick, spec.px_per_tick))
                )
        seen = {(int(thing["x"]) // 2, int(thing["y"]) // 2) for thing in segment(spec, planes)}
        assert len(seen) >= sum(whole_in(truth, tick, spec) for truth in truths)
    assert len(off) > 40
    assert np.abs(np.mean(off, axis=0)).max() < 0.5  # not off to one side


def test_the_reference_belt_carries_the_reference_load():
    spec = BeltSpec(frames=20)
    truths = EmulatedSource(spec).all_truths()
    cherries = [truth for truth in truths if truth.kind == "cherry"]
    belt_px = spec.advance_px * (spec.frames - 1) + spec.height_px
    per_frame = len(cherries) * spec.height_px / belt_px
    assert per_frame == pytest.approx(24, rel=0.2)
    share = np.mean([truth.label == "pit" for truth in cherries])
    assert share == pytest.approx(spec.pit_share, abs=0.05)
    assert any(truth.touching is not None for truth in cherries)
    assert any(truth.cut_lateral for truth in cherries)
    assert any(truth.kind == "foreign" for truth in truths)
    assert any(truth.label == "pit" and truth.pit_visibility < 0.2 for truth in cherries)  # pits that hardly show
    assert len({truth.id for truth in truths}) == len(truths)


def test_the_belt_has_stretches_with_nothing_on_it():
    counts = [cherries_in(BeltSpec(), section) for section in range(400)]
    assert np.mean(counts) == pytest.approx(12, rel=0.06)  # 24 to a frame of 500 px, and a section is half of one
    assert min(counts) <= 2
    assert 2 < counts.count(min(counts)) + sum(count <= 3 for count in counts) < 60


def test_a_pit_is_bright_on_top_and_dark_below():
    crops = [render_crop(3, index) for index in range(600)]
    heart = np.s_[52:76, 52:76]
    top = np.array([pixels[..., 0][heart].mean() / pixels[..., 0][pixels[..., 0] > 0].mean() for pixels, _ in crops])
    below = np.array([pixels[..., 1][heart].mean() / pixels[..., 1][pixels[..., 1] > 0].mean() for pixels, _ in crops])
    pit = np.array([label == 1 for _, label in crops])
    assert top[pit].mean() > top[~pit].mean() + 0.03
    assert below[pit].mean() < below[~pit].mean() - 0.05


@pytest.mark.real_crops
def test_single_crops_are_about_as_bright_as_real_ones(real_crops):
    files = find_crops(real_crops)
    real = [read_crop(files[k]) for k in np.random.default_rng(0).permutation(len(files))[:200]]
    drawn = [render_crop(3, index)[0] for index in range(200)]
    levels = [np.mean([p[p.max(axis=2) >= 40].mean(axis=0) for p in crops], axis=0) for crops in (real, drawn)]
    assert levels[1] == pytest.approx(levels[0], rel=0.25)


def test_single_crops_are_masked_centred_and_repeatable():
    pixels, label = render_crop(1, 7)
    again, _ = render_crop(1, 7)
    assert (pixels.shape, pixels.dtype, label) == ((128, 128, 2), np.uint8, 1)
    assert np.array_equal(pixels, again)
    rows, columns = np.nonzero(pixels.any(axis=2))
    assert abs(rows.min() + rows.max() - 127) <= 2
    assert abs(columns.min() + columns.max() - 127) <= 2


def test_a_ring_repeats_as_a_belt_loop_with_its_truth():
    spec = small_spec(ring=5, frames=12)
    source = EmulatedSource(spec)
    seen = frames_of(source)
    assert [frame[0] for frame in seen] == list(range(12))
    for lap in (5, 10):
        assert np.array_equal(seen[lap][3], seen[0][3])
    first, second = source.truths(seen[0][2], seen[0][2]), source.truths(seen[5][2], seen[5][2])
    assert [t.box(seen[0][2], 0.5) for t in first] == [t.box(seen[5][2], 0.5) for t in second]
    assert not {t.id for t in first} & {t.id for t in second}


def test_a_ring_is_lent_without_a_copy_and_cannot_be_altered():
    source = EmulatedSource(small_spec(ring=3, frames=9))
    source.start()
    frames = [source.read(1.0) for _ in range(6)]
    assert frames[0].planes[0] is frames[3].planes[0]
    with pytest.raises(ValueError, match="read-only"):
        frames[0].planes[0][0, 0] = 1


def test_a_released_frame_is_poisoned_so_that_a_late_reader_shows():
    source = EmulatedSource(small_spec(frames=2), Delivery(poison=True))
    source.start()
    with source.read(1.0) as frame:
        kept = frame.planes[0]
        assert kept.std() > 0
    assert (kept == 0xAA).all()


def test_a_held_frame_keeps_its_pixels_while_others_come_and_go():
    source = EmulatedSource(small_spec(frames=8), Delivery(buffers=2))
    source.start()
    held = source.read(1.0)
    before = np.stack(held.planes)
    for _ in range(5):
        source.read(1.0).release()
    assert np.array_equal(np.stack(held.planes), before)


def test_a_reader_that_never_releases_gets_an_error():
    source = EmulatedSource(small_spec(frames=8), Delivery(buffers=2))
    source.start()
    _held = [source.read(1.0), source.read(1.0)]
    with pytest.raises(SourceError, match="all 2 buffers are lent; release frames"):
        source.read(0.05)


def test_releasing_twice_does_not_lend_one_buffer_to_two():
    source = EmulatedSource(small_spec(frames=8), Delivery(buffers=2))
    source.start()
    first = source.read(1.0)
    first.release()
    first.release()
    second, third = source.read(1.0), source.read(1.0)
    assert second.planes[0] is not third.planes[0]


def test_a_paced_belt_does_not_wait_for_a_slow_reader():
    source = EmulatedSource(small_spec(ring=4, frames=None, frames_per_s=1000.0), Delivery(paced=True, buffers=2))
    assert source.live
    source.start()
    source._start_ns -= 10_000_000_000  # as if the reader had slept for ten seconds
    with source.read(1.0) as frame:
        assert frame.seq >= 9_998
    assert source.lost == frame.seq


def test_a_paced_belt_reports_a_timeout_that_is_too_short():
    source = EmulatedSource(small_spec(ring=2, frames=None, frames_per_s=0.01), Delivery(paced=True))
    source.start()
    source.read(1.0).release()
    with pytest.raises(SourceError, match="no frame within the time allowed"):
        source.read(0.01)


def test_a_source_that_is_not_started_says_so():
    with pytest.raises(SourceError, match="call start first"):
        EmulatedSource(small_spec()).read(1.0)


def test_the_truth_of_an_endless_belt_cannot_be_listed():
    with pytest.raises(SourceError, match="endless"):
        EmulatedSource(small_spec(frames=None)).all_truths()
    assert EmulatedSource(small_spec(frames=0)).all_truths() == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("height_px", 3),
        ("cherries_per_frame", -1.0),
        ("cherries_per_frame", 4000.0),
        ("pit_share", 1.5),
        ("pit_share", float("nan")),
        ("px_per_tick", 0.0),
        ("advance_px", 0),
        ("frames", -1),
        ("frames_per_s", 0.0),
    ],
)
def test_an_impossible_belt_is_refused_with_its_key(key, value):
    with pytest.raises(ConfigError, match=key):
        small_spec(**{key: value})


def test_a_source_without_buffers_is_refused():
    with pytest.raises(ConfigError, match="buffers = 0"):
        EmulatedSource(small_spec(), Delivery(buffers=0))
