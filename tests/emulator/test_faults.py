import numpy as np
import pytest

from pitcore.emulator.emulated import EmulatedSource
from pitcore.emulator.faults import Faults, Injected
from pitcore.errors import ConfigError
from tests.camera.belts import belt_of, frames_of, small_spec

SPEC = small_spec(frames=6, start_tick=1000)


@pytest.fixture(scope="module")
def sound():
    return belt_of(SPEC)


def faulty(**faults):
    source = EmulatedSource(SPEC, faults=Faults(**faults))
    return frames_of(source), source.injected


def same_frame(first, second):
    return first[:3] == second[:3] and np.array_equal(first[3], second[3])


def test_a_dropped_frame_is_a_gap_in_the_numbers(sound):
    frames, injected = faulty(dropped=(2, 3))
    assert [frame[0] for frame in frames] == [0, 1, 4, 5]
    assert all(same_frame(frame, sound[frame[0]]) for frame in frames)
    assert injected == [Injected(2, "dropped"), Injected(3, "dropped")]


def test_a_duplicated_frame_comes_twice_with_the_same_stamps(sound):
    frames, injected = faulty(duplicated=(2,))
    assert [frame[0] for frame in frames] == [0, 1, 2, 2, 3, 4, 5]
    assert same_frame(frames[2], sound[2])
    assert same_frame(frames[3], sound[2])
    assert injected == [Injected(2, "duplicated")]


@pytest.mark.parametrize(("kind", "level"), [("black", 0), ("white", 255)])
def test_a_black_or_white_frame_has_the_right_stamps_and_no_picture(sound, kind, level):
    frames, injected = faulty(**{kind: (1,)})
    assert frames[1][:3] == sound[1][:3]
    assert (frames[1][3] == level).all()
    assert all(same_frame(frames[k], sound[k]) for k in (0, 2, 3, 4, 5))
    assert injected == [Injected(1, kind)]


def test_a_stuck_frame_shows_the_one_before_with_new_stamps(sound):
    frames, injected = faulty(stuck=(3,))
    assert frames[3][:3] == sound[3][:3]
    assert np.array_equal(frames[3][3], sound[2][3])
    assert not np.array_equal(frames[3][3], sound[3][3])
    assert injected == [Injected(3, "stuck")]


def test_a_camera_that_stays_stuck_shows_one_picture_all_along(sound):
    frames, injected = faulty(stuck=(2, 3, 4))
    assert [frame[:3] for frame in frames] == [frame[:3] for frame in sound]
    assert all(np.array_equal(frames[k][3], sound[1][3]) for k in (2, 3, 4))
    assert np.array_equal(frames[5][3], sound[5][3])
    assert injected == [Injected(k, "stuck") for k in (2, 3, 4)]


def test_a_stuck_frame_shows_what_was_delivered_and_not_what_was_dropped(sound):
    frames, _ = faulty(dropped=(2,), stuck=(3,))
    assert [frame[0] for frame in frames] == [0, 1, 3, 4, 5]
    assert np.array_equal(frames[2][3], sound[1][3])


def test_the_first_frame_cannot_be_stuck_and_is_not_reported_so(sound):
    frames, injected = faulty(stuck=(0,))
    assert same_frame(frames[0], sound[0])
    assert injected == []


def test_a_torn_frame_has_its_upper_rows_from_the_next(sound):
    frames, injected = faulty(torn=(3,))
    assert injected == [Injected(3, "torn")]
    torn = frames[3][3]
    assert frames[3][:3] == sound[3][:3]
    cut = 240 * 2 // 5
    assert np.array_equal(torn[:, :cut], sound[4][3][:, :cut])
    assert np.array_equal(torn[:, cut:], sound[3][3][:, cut:])


def test_jitter_moves_the_stamps_and_not_the_pixels(sound):
    frames, injected = faulty(jitter=(1, 2, 4))
    assert [seq for seq, _ in injected] == [1, 2, 4]
    for number, (frame, true) in enumerate(zip(frames, sound, strict=True)):
        assert np.array_equal(frame[3], true[3])
        assert (frame[1:3] != true[1:3]) == (number in {1, 2, 4})
        assert abs(frame[1] - true[1]) <= 2_000_000
        assert abs(frame[2] - true[2]) <= 12


def test_the_report_lists_every_fault_of_a_mixed_run_in_order_and_nothing_else():
    faults = Faults(dropped=0.1, duplicated=0.1, black=0.1, white=0.1, torn=0.1, jitter=0.1, seed=5)
    source = EmulatedSource(small_spec(frames=60, ring=2), faults=faults)
    frames = frames_of(source)
    due = [(seq, faults.of(seq)) for seq in range(60) if faults.of(seq)]
    assert source.injected == due
    assert {kind for _, kind in due} == {"dropped", "duplicated", "black", "white", "torn", "jitter"}
    kinds = [kind for _, kind in due]
    assert len(frames) == 60 - kinds.count("dropped") + kinds.count("duplicated")
    assert frames_of(source)[7][:3] == frames[7][:3]
    assert source.injected == due  # restarted, it reports again


def test_faults_in_a_ring_do_not_spoil_the_ring():
    spec = small_spec(ring=3, frames=6)
    source = EmulatedSource(spec, faults=Faults(black=(0,), torn=(1,)))
    frames, clean = frames_of(source), belt_of(spec)
    assert (frames[0][3] == 0).all()
    assert all(same_frame(frames[k], clean[k]) for k in (2, 3, 4, 5))


def test_a_share_hits_about_that_many_frames_and_the_same_ones_each_time():
    faults = Faults(dropped=0.2, black=0.1, seed=3)
    kinds = [faults.of(seq) for seq in range(2000)]
    assert kinds == [Faults(dropped=0.2, black=0.1, seed=3).of(seq) for seq in range(2000)]
    assert kinds.count("dropped") == pytest.approx(400, abs=70)
    assert kinds.count("black") == pytest.approx(160, abs=50)
    assert Faults().none
    assert not faults.none


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_an_impossible_share_is_refused_by_name(share):
    with pytest.raises(ConfigError, match=r"faults: stuck = .* is outside 0\.\.1"):
        Faults(stuck=share)
