"""A belt's geometry, and the values that a belt cannot have."""

import numpy as np
import pytest

from pitcore.emulator.emulated import EmulatedSource
from pitcore.emulator.spec import BeltSpec, RealCrops
from pitcore.errors import ConfigError
from tests.camera.belts import frames_of, small_spec, write_crops


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("height_px", 63),
        ("width_px", 63),
        ("width_px", 16385),
        ("cherries_per_frame", float("nan")),
        ("pit_share", -0.01),
        ("touching_share", 1.01),
        ("foreign_share", -1.0),
        ("advance_px", 16385),
        ("px_per_tick", float("inf")),
        ("px_per_tick", -0.5),
        ("frames_per_s", float("nan")),
        ("ring", -1),
        ("ring", 4097),
        ("noise", -0.5),
        ("noise", 21.0),
    ],
)
def test_a_value_out_of_its_bounds_is_refused_with_key_value_and_bounds(key, value):
    with pytest.raises(ConfigError, match=rf"belt: {key} = {value} is outside .+\.\..+"):
        small_spec(**{key: value})


def test_a_belt_that_moves_by_part_of_a_tick_is_refused():
    with pytest.raises(ConfigError, match=r"advance_px = 121 is not a multiple of px_per_tick = 2\.0"):
        small_spec(advance_px=121, px_per_tick=2.0)
    with pytest.raises(ConfigError, match="advance_px = 1 is not a multiple of px_per_tick = 1000"):
        small_spec(advance_px=1, px_per_tick=1000.0)  # less than half a tick is no tick at all


def test_a_loop_too_short_for_a_cherry_is_refused():
    with pytest.raises(ConfigError, match="ring = 1 makes a loop under 192 px"):
        small_spec(ring=1, advance_px=120)


def test_values_on_their_bounds_are_accepted():
    spec = small_spec(height_px=64, width_px=16384, pit_share=1.0, touching_share=0.0, noise=20.0, frames=0)
    assert EmulatedSource(spec).geometry.width_px == 16384


@pytest.mark.parametrize("px_per_tick", [0.5, 0.1, 0.3333333333, 1 / 3, 40.0])
def test_a_frame_lies_a_whole_advance_further_on_after_any_number_of_frames(px_per_tick):
    spec = BeltSpec(px_per_tick=px_per_tick, advance_px=360)
    for index in (0, 1, 7, 1000, 10_000_000):
        assert spec.shift_px(spec.tick_of(index)) == 360 * index


@pytest.mark.parametrize("start_tick", [0, 1, 3, 1001, -777])
def test_the_truth_is_right_to_the_pixel_between_whole_pixels_too(tmp_path, start_tick):
    write_crops(tmp_path, 2)
    spec = small_spec(frames=None, start_tick=start_tick, seed=3, noise=0.0)  # nor hot pixels, then
    source = EmulatedSource(spec, crops=RealCrops(tmp_path))
    whole = set()
    for _, _, tick, planes in frames_of(source):
        for truth in source.truths(tick, tick):
            box = truth.box(tick, spec.px_per_tick)
            if box.y_px < 1 or box.y_px + box.height_px >= spec.height_px:
                continue
            around = np.s_[:, box.y_px - 1 : box.y_px + box.height_px + 1, box.x_px - 1 : box.x_px + box.width_px + 1]
            rows, columns = np.nonzero(planes[around].max(axis=0) >= 30)  # crops are 40 and more, the belt about 6
            assert (rows.min(), rows.max()) == (1, box.height_px)
            assert (columns.min(), columns.max()) == (1, box.width_px)
            whole.add(truth.path)
    assert len(whole) == 4
