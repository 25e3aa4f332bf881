"""Tests the rules of each step with numbers of known result."""

from itertools import pairwise

import numpy as np
import pytest

from pitcore.calibration import align, belt, exposure, flat
from pitcore.camera.source import Exposure, ExposureLimits
from pitcore.errors import CalibrationError

VIEWS = belt.Views(60, 2.0)
LIMITS = ExposureLimits(20.0, 4000.0, 8.0)


def histogram(levels):
    """Zones of equally many pixels, each of one level."""
    zones = np.zeros((exposure.ZONES, 256), np.int64)
    for zone, level in zip(zones, levels, strict=True):
        zone[level], zone[6] = 40_000, 500_000
    return zones


def test_dark_ends_of_the_lamp_do_not_count_for_its_brightness():
    assert exposure.brightness(histogram([80, 150, 140, 70]), 20) == exposure.Brightness(150.0, 0.0)
    assert exposure.brightness(histogram([80, 255, 140, 70]), 20).clipped == 1.0


def test_too_few_cherries_are_refused():
    with pytest.raises(CalibrationError, match=r"12000 are needed; run the belt with cherries on it"):
        exposure.brightness(np.zeros((exposure.ZONES, 256), np.int64), 20)


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        (exposure.Brightness(78.0, 0.0), Exposure(2000.0, 1.0)),
        (exposure.Brightness(19.5, 0.0), Exposure(4000.0, 2.0)),  # time is at its limit, the rest is gain
        (exposure.Brightness(255.0, 0.4), Exposure(500.0, 1.0)),  # how far above it is, a clipped picture does not say
        (exposure.Brightness(150.0, 0.1), Exposure(930.0, 1.0)),  # bright enough, but its lights clip
    ],
)
def test_the_next_exposure_goes_straight_to_the_target(seen, wanted):
    assert exposure.next_exposure(Exposure(1000.0, 1.0), seen, 156.0, LIMITS) == wanted


@pytest.mark.parametrize(
    ("levels", "reached"),
    [
        ((156.0,), True),
        ((120.0,), False),
        ((156.0, 100.0), True),  # the other cannot be brighter: they are one camera's
        ((156.0, 230.0), False),
        ((100.0, 100.0), False),
    ],
)
def test_the_brighter_plane_decides_a_shared_exposure(levels, reached):
    seen = [exposure.Brightness(level, 0.0) for level in levels]
    assert exposure.is_reached(seen, (156.0, 210.0)[: len(levels)]) == reached
    assert not exposure.is_reached([exposure.Brightness(156.0, 0.2)], (156.0,))


@pytest.mark.parametrize(("level", "fix"), [(1.0, "more light, or a wider lens"), (250.0, "dim the lamp")])
def test_an_exposure_beyond_the_limits_of_the_camera_is_refused(level, fix):
    now = Exposure(1000.0 if level < 9 else 21.0, 1.0)
    with pytest.raises(CalibrationError, match=fix):
        exposure.next_exposure(now, exposure.Brightness(level, 0.0), 156.0, LIMITS)


def cherries(width, light, count=2000, spread=0.25, seed=0):
    """Places of cherries, and their mean grey levels under a light that depends on the place."""
    random = np.random.default_rng(seed)
    x = random.uniform(20, width - 20, count)
    return x, 100.0 * light(x / width * 2 - 1) * random.normal(1.0, spread, count)


@pytest.mark.parametrize("width", [640, 2464])
@pytest.mark.parametrize("middle", [-0.3, 0.0, 0.2])
def test_the_fall_off_of_the_light_is_found_to_a_few_percent(width, middle):
    def light(at):
        return 1.0 - 0.3 * (at - middle) ** 2

    found = flat.falloff(*cherries(width, light), width, VIEWS)
    at = np.linspace(-1, 1, width)
    assert not found.is_even
    assert np.abs(found.light - light(at) / light(at).max()).max() < 0.09
    assert flat.gains(found.light) == tuple(np.rint(256 / found.light).astype(int).tolist())


@pytest.mark.parametrize("seed", range(8))
def test_even_light_gets_no_flat_field(seed):
    found = flat.falloff(*cherries(2464, np.ones_like, count=1500, seed=seed), 2464, VIEWS)
    assert found.is_even


def test_a_side_without_cherries_is_refused():
    x, means = cherries(2464, np.ones_like)
    with pytest.raises(
        CalibrationError,
        match=r"flat: 60 frames were measured: \d+ cherries are between columns 2310 and 2464",
    ):
        flat.falloff(x[x < 2350], means[x < 2350], 2464, VIEWS)


def test_light_beyond_correction_is_refused():
    with pytest.raises(CalibrationError, match=r"of the light reaches the (left|right) side; fix or move the lamp"):
        flat.falloff(*cherries(2464, lambda at: 1.0 - 0.75 * at**2, spread=0.05), 2464, VIEWS)


def test_the_profile_of_the_empty_belt_ignores_cherries():
    random = np.random.default_rng(1)
    profile, level = flat.BeltProfile(100), np.linspace(5.0, 9.0, 100)
    for _ in range(12):
        plane = np.rint(random.normal(level, 1.5, (64, 100))).clip(0, 255).astype(np.uint8)
        plane[:, 20:40][random.random((64, 20)) < 0.3] = 120
        profile.add(plane)
    assert np.abs(profile.levels() - level).max() < 0.8
    assert flat.belt_level(profile.levels()) == pytest.approx(6.9, abs=0.3)


def test_the_shift_of_the_planes_is_found_to_a_tenth_of_a_pixel():
    points = np.random.default_rng(0).normal((6.3, -2.8), 0.8, (200, 2))
    points[::9] += 30.0  # two cherries that were found as one thing
    found = align.shift_of([tuple(point) for point in points], belt.Views(20, 2.0))
    assert (found.dx_px, found.dy_px) == pytest.approx((6.3, -2.8), abs=0.2)
    assert found.whole_px == (6, -3)
    assert found.error_px < 0.15


def test_masks_of_two_things_give_no_displacement():
    assert align.displacement([(900, 10.0, 10.0), (950, 13.0, 8.0)]) == (3.0, -2.0)
    assert align.displacement([(900, 10.0, 10.0), (1900, 13.0, 8.0)]) is None
    assert align.displacement([(900, 10.0, 10.0), (0, 0.0, 0.0)]) is None


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([(1.0, 1.0)] * 59, "align: 20 frames were measured: 29 cherries are in both planes, but 30 are needed"),
        ([(float(k % 40), 0.0) for k in range(80)], "the cherries disagree by"),
        ([(70.0, 0.0)] * 80, r"\(70, 0\) px, more than 64"),
    ],
)
def test_an_alignment_that_cannot_be_measured_is_refused(points, message):
    with pytest.raises(CalibrationError, match=message):
        align.shift_of(points, belt.Views(20, 2.0))


def sights(scale, ticks, *, cherries=12, seed=0, moving=True):
    """Frames of 500 px over a belt of cherries that differ from each other."""
    random = np.random.default_rng(seed)
    places = np.cumsum(random.uniform(10, 60, cherries * 20))
    columns = random.uniform(0, 600, len(places))
    kinds = np.stack([random.uniform(900, 3000, len(places)), *random.uniform(60, 200, (2, len(places)))], axis=1)
    for tick in ticks:
        rows = (tick * scale if moving else 2000.0) - places
        seen = (rows > 30) & (rows < 470)
        noise = random.normal(0, 0.2, (seen.sum(), 2))
        yield belt.Sight(tick, np.column_stack([columns[seen] + noise[:, 0], rows[seen] + noise[:, 1], kinds[seen]]))


def moves(*arguments, **named):
    seen = list(sights(*arguments, **named))
    return [belt.moved_between(one, two) for one, two in pairwise(seen)]


def test_more_pictures_of_the_same_cherries_prove_no_more():
    x, means = cherries(2464, lambda at: 1.0 - 0.12 * at**2, count=1500)
    once = flat.falloff(x, means, 2464, belt.Views(60, 1.0))
    again = flat.falloff(np.tile(x, 30), np.tile(means, 30), 2464, belt.Views(1800, 30.0))
    assert again.error == pytest.approx(once.error, rel=1e-6)
    with pytest.raises(CalibrationError, match=r"but 20 are needed; spread cherries over the whole width"):
        flat.falloff(np.tile(x[:300], 30), np.tile(means[:300], 30), 2464, belt.Views(1800, 30.0))
    with pytest.raises(CalibrationError, match="20 cherries are in both planes, but 30 are needed"):
        align.shift_of([(1.0, 1.0)] * 600, belt.Views(20, 30.0))


@pytest.mark.parametrize(("advance", "views"), [(200, 2.5), (20, 25.0), (-20, 25.0), (600, 1.0)])
def test_a_slow_belt_shows_a_cherry_in_many_frames(advance, views):
    seen = list(sights(1.0, [4000 + number * advance for number in range(20)]))
    assert belt.views_of("flat", seen, 500).of_each == pytest.approx(views, rel=0.1 if views > 1 else 0.8)


@pytest.mark.parametrize("kept", [1, None], ids=["one cherry", "many"])
@pytest.mark.parametrize("standing", [20, 13])
def test_a_belt_that_is_stopped_in_most_frames_is_refused(kept, standing):
    seen = list(sights(0.5, [*range(4000, 4000 + 400 * (20 - standing), 400), *[8000] * standing]))
    seen = [belt.Sight(one.tick, one.points[:kept]) for one in seen]
    with pytest.raises(CalibrationError, match="flat: the belt is stopped, and the same cherries are in every frame"):
        belt.views_of("flat", seen, 500)


def test_without_cherries_nothing_is_known_of_the_belt():
    assert belt.views_of("flat", [belt.Sight(0, np.zeros((0, 5)))] * 9, 500) == belt.Views(9, 1.0)
    assert belt.views_of("flat", [], 500) == belt.Views(0, 1.0)


@pytest.mark.parametrize("scale", [0.5, 0.4987, -0.5])
def test_the_belt_scale_is_found_to_a_thousandth(scale):
    found = belt.scale_of(moves(scale, range(0, 16000, 400) if scale > 0 else range(0, -16000, -400)))
    assert found.px_per_tick == pytest.approx(scale, rel=1e-3)
    assert 0 < found.error < 1e-3 * abs(scale)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (moves(0.5, [3000] * 30), "belt: it is stopped; start the belt"),
        (moves(0.5, range(0, 16000, 400), moving=False), "the encoder counts but the cherries do not move"),
        ([belt.Moved(0, 200.0, 5)] * 30, "cherries move but the encoder gives no ticks"),
        (moves(0.5, range(0, 2000, 400)), r"cherries were matched in \d pairs of frames, but 50 in 10 are needed"),
        ([None] * 30, "belt: 31 frames were measured: 0 cherries were matched in 0 pairs"),
        ([belt.Moved(400, 200.0 if k % 2 else 260.0, 5) for k in range(30)], "the pairs of frames disagree"),
    ],
)
def test_a_belt_scale_that_cannot_be_measured_is_refused(given, message):
    with pytest.raises(CalibrationError, match=message):
        belt.scale_of(given)
