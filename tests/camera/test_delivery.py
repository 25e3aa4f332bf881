"""Tests that the way of delivery does not change the content of frames."""

import numpy as np
import pytest

from pitcore.emulator.emulated import Delivery, EmulatedSource
from pitcore.emulator.faults import Faults, Injected
from pitcore.errors import ConfigError
from tests.camera.belts import belt_of, frames_of, small_spec

PATIENT = Delivery(paced=True, buffers=200)  # ten seconds of frames wait; a busy machine loses none of them


def shown(frames):
    return {seq: planes.tobytes() for seq, _, _, planes in frames}


@pytest.mark.parametrize("ring", [0, 3])
@pytest.mark.parametrize("delivery", [PATIENT, Delivery(poison=True), Delivery(buffers=1)], ids=str)
def test_a_frame_shows_the_same_however_it_is_delivered(ring, delivery):
    spec = small_spec(frames=4, ring=ring, frames_per_s=20.0)
    assert shown(belt_of(spec, delivery=delivery)) == shown(belt_of(spec))


def test_a_frame_does_not_depend_on_those_read_before_it():
    whole = belt_of(small_spec(frames=4))
    spec = small_spec(frames=4)
    source = EmulatedSource(spec, faults=Faults(dropped=(0, 1, 2)))
    assert shown(frames_of(source)) == {3: whole[3][3].tobytes()}
    alone = EmulatedSource(spec)
    assert alone.truths(spec.tick_of(3), spec.tick_of(3)) == source.truths(spec.tick_of(3), spec.tick_of(3))


@pytest.mark.parametrize("sections", [range(20), reversed(range(20))], ids=["forwards", "backwards"])
def test_the_truth_does_not_depend_on_the_order_in_which_it_is_asked(sections):
    spec = small_spec(frames=20, seed=6)
    source = EmulatedSource(spec)
    asked = {truth.id: truth for k in sections for truth in source.truths(spec.tick_of(k), spec.tick_of(k))}
    assert sorted(asked.values(), key=lambda truth: truth.id) == EmulatedSource(spec).all_truths()


def test_every_exposure_has_different_noise():
    spec = small_spec(frames=5, cherries_per_frame=0.0)  # the grain of the belt repeats after four frames
    noisy, still = belt_of(spec), belt_of(small_spec(frames=5, cherries_per_frame=0.0, noise=0.0))
    assert np.array_equal(still[0][3], still[4][3])
    assert (noisy[0][3] != noisy[4][3]).mean() > 0.5


def test_things_that_touch_are_named_as_one_group_in_every_lap():
    spec = small_spec(ring=6, frames=18, touching_share=1.0, cherries_per_frame=6.0)
    truths = EmulatedSource(spec).all_truths()
    groups = {}
    for truth in truths:
        if truth.touching is not None:
            groups.setdefault(truth.touching, []).append(truth)
    assert len(groups) > 9
    pairs = [group for group in groups.values() if len(group) > 1]
    assert len(pairs) >= len(groups) - 4  # at either end of the belt one of a pair may be out of sight
    for pair in pairs:
        assert len(pair) == 2
        assert pair[0].touching == min(truth.id for truth in pair)
        reach = sum(max(truth.width_px, truth.height_px) for truth in pair) / 2
        assert np.hypot(pair[0].x_px - pair[1].x_px, pair[0].belt_px - pair[1].belt_px) < 1.2 * reach


def test_a_paced_belt_stamps_frames_at_their_own_rate():
    stamps = [(seq, t_ns) for seq, t_ns, _, _ in belt_of(small_spec(frames=4, frames_per_s=20.0), delivery=PATIENT)]
    assert [(seq - stamps[0][0], t_ns - stamps[0][1]) for seq, t_ns in stamps] == [
        (k, 50_000_000 * k) for k in range(4)
    ]


def test_a_belt_that_ended_while_the_reader_slept_gives_its_last_frame_with_the_number_of_lost_ones():
    source = EmulatedSource(small_spec(frames=4), Delivery(paced=True, buffers=1))
    source.start()
    source._start_ns -= 10_000_000_000  # as if the reader had slept for ten seconds
    with source.read(1.0) as frame:
        assert frame.seq == 3
    assert source.read(1.0) is None
    assert source.lost == 3


def test_a_buffer_is_reused_with_new_pixels():
    source = EmulatedSource(small_spec(frames=6), Delivery(buffers=2))
    source.start()
    buffers, pictures = [], set()
    for _ in range(6):
        with source.read(1.0) as frame:
            buffers.append(frame.planes[0].ctypes.data)
            pictures.add(frame.planes[0].tobytes())
    assert buffers == buffers[:2] * 3
    assert len(set(buffers)) == 2
    assert len(pictures) == 6


def test_frames_that_are_held_survive_the_end_of_the_source():
    source = EmulatedSource(small_spec(frames=3), Delivery(buffers=3, poison=True))
    source.start()
    held = [source.read(1.0) for _ in range(3)]
    before = [np.stack(frame.planes) for frame in held]
    source.close()
    source.close()
    held[0].release()
    assert all(np.array_equal(np.stack(frame.planes), kept) for frame, kept in zip(held[1:], before[1:], strict=True))
    assert (held[0].planes[1] == 0xAA).all()


def test_a_refused_read_loses_neither_frame_nor_fault():
    source = EmulatedSource(small_spec(frames=3), Delivery(buffers=1), Faults(black=(1,)))
    source.start()
    first = source.read(1.0)
    with pytest.raises(Exception, match="all 1 buffers are lent"):
        source.read(0.0)
    assert source.injected == []
    first.release()
    with source.read(1.0) as second:
        assert second.seq == 1
        assert not second.planes[0].any()
    assert source.injected == [Injected(1, "black")]


def test_an_endless_belt_that_drops_every_frame_is_refused():
    with pytest.raises(ConfigError, match=r"faults: dropped = 1\.0"):
        EmulatedSource(small_spec(frames=None), faults=Faults(dropped=1.0))
    assert belt_of(small_spec(frames=4), faults=Faults(dropped=1.0)) == []
