"""Dirt on the glass is found, and a dense flow of cherries is not taken for dirt."""

import numpy as np
import pytest

from pitcore.config import Config, EmulatedSourceConfig, FrameConfig, SegmentationConfig
from pitcore.emulator.emulated import EmulatedSource
from pitcore.emulator.spec import BeltSpec
from pitcore.line_watch.lens import ROW_STEP_PX, LensCheck
from pitcore.preprocess.prepare import CropSpec, Preparer
from pitcore.preprocess.search_rules import segment_spec, window_of

HEIGHT, WIDTH = 240, 640
BELT, FRUIT, NOISE = 20.0, 90.0, 2.0  # grey levels
CHORD_PX = 56
POOL = 40  # planes, of which each look meets another
SPOT = np.s_[80:112, 320:368]
SMALL_SPOT = np.s_[80:96, 320:336]  # two cells
PASS = HEIGHT // ROW_STEP_PX  # looks in which every row is seen once


class Glass:
    """The check, and what looks at the same planes as the line does."""

    def __init__(self, height_px=HEIGHT, width_px=WIDTH, polarity=("bright", "bright")):
        frame = FrameConfig(height_px=height_px, width_px=width_px)
        config = Config(
            frame=frame, source=EmulatedSourceConfig(advance_px=120), segmentation=SegmentationConfig(polarity=polarity)
        )
        self.check = LensCheck(config, (height_px, width_px))
        crop = CropSpec(16, "centre", 2)
        self._preparer = Preparer(height_px, width_px, segment_spec(config, window_of(config)), crop)

    def look(self, *planes):
        self.check.look(planes, self._preparer, moved=True)
        return self.check.dirty()


class Flow:
    """Planes of a belt with random cherries that cover a share of it; one plane has a spot."""

    def __init__(self, share, seed, fruit=FRUIT, spot=0.0, where=SPOT):
        self._random = np.random.default_rng(seed)
        planes = self._random.normal(BELT, NOISE, (POOL, HEIGHT, WIDTH)).astype(np.float32)
        for plane in planes:
            for row in range(0, HEIGHT, ROW_STEP_PX):
                for left in self._random.integers(-CHORD_PX, WIDTH, self._random.poisson(share * WIDTH / CHORD_PX)):
                    plane[row, max(left, 0) : left + CHORD_PX] = fruit
        self._clear = planes.clip(0, 255).astype(np.uint8)
        planes[:, *where] += spot
        self._spotted = planes.clip(0, 255).astype(np.uint8)

    def look(self, glass):
        """Look at two of them; the second one has the spot."""
        return glass.look(self._clear[self._random.integers(POOL)], self._spotted[self._random.integers(POOL)])


@pytest.mark.parametrize(("polarity", "fruit"), [("bright", FRUIT), ("dark", BELT - 15)])
def test_a_dense_flow_of_cherries_is_not_taken_for_dirt(polarity, fruit):
    glass, flow = Glass(polarity=(polarity, polarity)), Flow(0.3, 1, fruit)
    for _ in range(40 * PASS):
        assert not flow.look(glass), glass.check.describe()


@pytest.mark.parametrize(("polarity", "fruit"), [("bright", FRUIT), ("dark", BELT - 15)])
@pytest.mark.parametrize("level", [4.0, -4.0])
def test_dirt_is_found_under_a_dense_flow(level, polarity, fruit):
    glass, flow = Glass(polarity=(polarity, polarity)), Flow(0.2, 2, fruit, spot=level)
    found = [flow.look(glass) for _ in range(20 * PASS)]
    assert found[-1]
    kind = "brighter" if level > 0 else "darker"
    assert "plane bottom: something at columns 320 to 368, rows 80 to 112 does not move with the belt, " in (
        glass.check.describe()
    )
    assert f"grey levels {kind}" in glass.check.describe()


def test_a_spot_that_is_wiped_off_ends_the_alarm():
    glass = Glass()
    dirty, wiped = Flow(0.1, 3, spot=6.0), Flow(0.1, 3)
    assert any(dirty.look(glass) for _ in range(20 * PASS))
    assert [wiped.look(glass) for _ in range(20 * PASS)][-1] is False


@pytest.mark.parametrize("share", [0.2, 0.35, 0.5])
@pytest.mark.parametrize(("polarity", "fruit", "level"), [("bright", FRUIT, -12.0), ("dark", BELT - 15, 12.0)])
def test_cherries_that_cover_a_spot_do_not_end_the_alarm(polarity, fruit, level, share):
    glass, flow = Glass(polarity=(polarity, polarity)), Flow(share, 7, fruit, spot=level, where=SMALL_SPOT)
    found = [flow.look(glass) for _ in range(60 * PASS)]
    assert True in found
    each_pass = found[found.index(True) :: PASS]
    assert None in each_pass  # a cherry covered it
    assert False not in each_pass


@pytest.mark.parametrize(("polarity", "thing"), [("bright", BELT - 12), ("dark", BELT + 12)])
@pytest.mark.parametrize("passes", [2, 8])
def test_things_on_the_belt_while_the_levels_are_learned_raise_no_alarm(polarity, thing, passes):
    """They differ from the belt in the direction in which cherries do not."""
    glass = Glass(polarity=(polarity, polarity))
    leaves, bare = Flow(0.15, 5, thing), Flow(0.0, 6)
    for _ in range(passes * PASS):
        leaves.look(glass)
    for _ in range(40 * PASS):
        assert not bare.look(glass), glass.check.describe()


@pytest.mark.parametrize("share", [1.0, 0.997])
def test_belt_flights_that_meet_a_row_at_each_measurement_are_not_taken_for_dirt(share):
    """A pass later, a row may meet the next flight at the same place, or almost."""
    glass = Glass()
    bare = np.random.default_rng(4).normal(BELT, NOISE, (HEIGHT, WIDTH)).clip(0, 255).astype(np.uint8)
    advance_px = 2 * 120  # between two looks
    spacing_px = advance_px * (PASS - 1) / 47 / share
    for look in range(30 * PASS):
        is_flight = (look * advance_px - np.arange(HEIGHT)) % spacing_px < 24
        plane = bare + np.where(is_flight, 8, 0).astype(np.uint8)[:, None]
        assert not glass.look(plane, plane), glass.check.describe()


@pytest.mark.parametrize("seed", range(4))
def test_a_short_loop_of_the_emulated_belt_is_not_taken_for_dirt(seed):
    spec = BeltSpec(
        frames=7, ring=7, height_px=HEIGHT, width_px=WIDTH, advance_px=120, cherries_per_frame=4.0, seed=seed
    )
    source, loop = EmulatedSource(spec), []
    source.start()
    while (frame := source.read(1.0)) is not None:
        with frame:
            loop.append(tuple(plane.copy() for plane in frame.planes))
    glass = Glass()
    for look in range(30 * PASS):
        assert not glass.look(*loop[2 * look % len(loop)]), glass.check.describe()
