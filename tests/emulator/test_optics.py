"""Tests which parts of the emulated line a disturbance changes."""

import numpy as np
import pytest

from pitcore.camera.source import Exposure
from pitcore.config import DisturbanceConfig, SpotConfig
from pitcore.emulator.emulated import EmulatedSource
from pitcore.emulator.faults import Faults
from pitcore.errors import SourceError
from tests.camera.belts import belt_of, frames_of, small_spec


def disturbed(*, spec=None, **fields):
    return [planes for *_, planes in belt_of(spec or small_spec(), disturbance=DisturbanceConfig(**fields))]


def straight():
    return [planes for *_, planes in belt_of(small_spec())]


@pytest.mark.parametrize("ring", [0, 8])
def test_a_disturbance_changes_only_its_own_frames(ring):
    spec = small_spec(ring=ring)
    plain = [planes for *_, planes in belt_of(spec)]
    found = disturbed(spec=spec, light=(0.5, 1.0), shift_px=(3, 2), first=3, last=5)
    same = [np.array_equal(one, two) for one, two in zip(plain, found, strict=True)]
    assert same == [True] * 3 + [False] * 3 + [True] * 2


def test_a_dim_lamp_changes_only_its_own_plane():
    for plain, found in zip(straight(), disturbed(light=(0.5, 1.0)), strict=True):
        bright = plain[0] > 60
        assert found[0][bright] == pytest.approx(plain[0][bright] * 0.5, abs=1.0)
        assert np.array_equal(found[1], plain[1])


def test_a_sensor_in_the_dark_shows_noise():
    for _, bottom in disturbed(light=(1.0, 0.0)):
        assert 0.2 < bottom.mean() < 1.5
        assert bottom.max() < 15


def test_light_falls_off_at_the_edge_and_fades_over_the_frames():
    plain, found = straight()[0], disturbed(edge_light=(0.5, 1.0))[0]
    bright = plain[0] > 60
    ratio = np.divide(found[0], plain[0], where=bright, out=np.zeros(plain[0].shape))
    middle, edge = bright[:, 330:370], bright[:, :60]
    assert ratio[:, 330:370][middle] == pytest.approx(1.0, abs=0.02)
    assert ratio[:, :60][edge].mean() < 0.7
    levels = [planes[0][planes[0] > 40].mean() for planes in disturbed(light=(0.6, 1.0), dim_frames=8)]
    plains = [planes[0][planes[0] > 40].mean() for planes in straight()]
    shares = np.array(levels) / np.array(plains)
    assert shares[0] > 0.9
    assert shares[-1] < 0.75


def test_a_shift_moves_the_second_plane_by_whole_pixels():
    for plain, found in zip(straight(), disturbed(shift_px=(5, -3)), strict=True):
        things, moved = plain[1] > 60, found[1] > 60
        assert np.array_equal(moved[10:200, 45:600], things[13:203, 40:595])
        assert np.array_equal(found[0][:, 50:600] > 60, plain[0][:, 50:600] > 60)


def test_dirt_stays_in_place_in_one_plane():
    spot = SpotConfig(plane=1, x_px=350, y_px=100, radius_px=10, share=0.0, glow=90)
    for plain, found in zip(straight(), disturbed(spots=(spot,)), strict=True):
        assert (found[1][93:108, 343:358] == 90).all()
        changed = np.argwhere(found[1] != plain[1])
        assert np.hypot(changed[:, 0] - 100, changed[:, 1] - 350).max() <= 10
        assert np.array_equal(found[0], plain[0])


def test_a_stopped_belt_keeps_its_cherries_and_changes_its_noise():
    frames = disturbed(belt="stands")
    assert all(
        np.array_equal(frames[0] > 60, later > 60) or np.mean((frames[0] > 60) ^ (later > 60)) < 1e-3
        for later in frames
    )
    assert not np.array_equal(frames[0], frames[1])


def test_a_dead_encoder_keeps_its_count():
    ticks = [
        tick for _, _, tick, _ in belt_of(small_spec(), disturbance=DisturbanceConfig(encoder="dead", first=2, last=5))
    ]
    assert ticks == [0, 240, 480, 480, 480, 480, 1440, 1680]


def test_an_empty_belt_shows_no_cherries():
    assert max(planes.max() for planes in disturbed(spec=small_spec(noise=0.0), shows="nothing")) < 30


def test_frame_faults_keep_the_disturbance_of_the_line():
    source = EmulatedSource(small_spec(), faults=Faults(torn=(3,)), disturbance=DisturbanceConfig(light=(0.0, 1.0)))
    assert max(planes[0].max() for *_, planes in frames_of(source)) < 15


def test_a_new_exposure_holds_after_the_settle_frames():
    source = EmulatedSource(small_spec())
    source.start()
    means = []
    for index in range(8):
        if index == 2:
            source.set_exposures([Exposure(500.0), Exposure(1000.0, 1.0)])
        frame = source.read(1.0)
        with frame:
            means.append(float(frame.planes[0][frame.planes[0] > 40].mean()))
    assert source.settle_frames == 3
    assert min(means[:5]) > 1.4 * max(means[5:])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([Exposure(1000.0)], "1 exposures for 2 planes"),
        ([Exposure(1.0), Exposure(1000.0)], r"1 us at gain 1 is beyond 20\.\.8000 us"),
        ([Exposure(1000.0, 99.0)] * 2, "gain 99 is beyond"),
    ],
)
def test_an_impossible_exposure_is_refused(wanted, message):
    source = EmulatedSource(small_spec())
    before = source.exposures
    with pytest.raises(SourceError, match=message):
        source.set_exposures(wanted)
    assert source.exposures == before
