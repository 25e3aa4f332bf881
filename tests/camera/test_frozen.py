import numpy as np
import pytest

from pitcore.camera.frozen import FrozenCheck, sample_of
from pitcore.config import DisturbanceConfig
from pitcore.emulator.emulated import EmulatedSource
from pitcore.emulator.spec import BeltSpec
from pitcore.frame import Frame
from tests.scene import HEIGHT, PIT, WIDTH, planes_with

EMPTY = [planes_with(seed=seed) for seed in range(8)]
FULL = [planes_with((50, 50, PIT), seed=seed) for seed in range(8)]


def look(check, frame):
    return check.find(frame, [sample_of(plane) for plane in frame.planes])


def found(pairs, noise="sensor"):
    """Return the finding in each frame of (top, bottom) planes; frames are a tenth of a second apart."""
    check = FrozenCheck(2, noise)
    return [look(check, Frame(seq, seq * 100_000_000, 0, pair)) for seq, pair in enumerate(pairs)]


def frozen(pairs, planes, at=3):
    """The same with planes that show picture ``at`` from there on."""
    return [
        tuple(pairs[min(seq, at) if plane in planes else seq][plane].copy() for plane in (0, 1))
        for seq in range(len(pairs))
    ]


@pytest.mark.parametrize("pairs", [EMPTY, FULL], ids=["empty belt", "cherries"])
@pytest.mark.parametrize("planes", [(0,), (1,), (0, 1)])
def test_the_first_frame_that_repeats_a_picture_is_found_with_its_plane_and_since_when(pairs, planes):
    said = found(frozen(pairs, planes))
    assert said[:4] == [None] * 4
    assert said[4:] == [(planes[0], pytest.approx(0.1 * times)) for times in (0, 1, 2, 3)]


def test_one_repeated_picture_after_a_long_stop_of_the_belt_is_not_a_long_freeze():
    check = FrozenCheck(2, "sensor")
    look(check, Frame(0, 0, 0, EMPTY[0]))
    assert look(check, Frame(1, 600_000_000_000, 1, EMPTY[0])) == (0, 0.0)


def test_a_camera_that_sends_new_pictures_again_is_no_longer_frozen():
    pairs = [*frozen(EMPTY[:6], (1,)), *EMPTY[6:]]
    assert [one is not None for one in found(pairs)] == [False] * 4 + [True] * 2 + [False] * 2


def test_a_picture_that_is_equal_in_the_sample_only_is_not_a_repeat():
    planes = [[top.copy(), bottom.copy()] for top, bottom in EMPTY]
    for _, bottom in planes:
        bottom[:] = 0
    for number, (_, bottom) in enumerate(planes):
        bottom[0, number] = 7  # as dark as a sensor gets: nothing in the middle trembles
    assert found([tuple(pair) for pair in planes]) == [None] * 8


def test_a_sensor_with_constant_pixels_in_the_middle_only_is_not_frozen():
    pairs = [(top.copy(), bottom) for top, bottom in EMPTY]
    for number, (top, _) in enumerate(pairs):
        top[:] = EMPTY[0][0]
        top[:, :20] = number + 1
    assert [one is not None for one in found(pairs)] == [False, True, *[False] * 6]  # one frame, then it is known


def test_a_dark_picture_that_repeats_is_found_once_it_was_compared_whole():
    dark = np.zeros((HEIGHT, WIDTH), np.uint8)
    dark[0, ::40] = 5
    said = found([(top, dark.copy()) for top, _ in EMPTY])
    assert [one is not None for one in said] == [False, False, *[True] * 6]
    assert said[3] == (1, pytest.approx(0.1))


@pytest.mark.parametrize("level", [0, 255])
def test_an_all_black_or_all_white_plane_is_not_frozen(level):
    clipped = np.full((HEIGHT, WIDTH), level, np.uint8)
    assert found([(top, clipped.copy()) for top, _ in EMPTY]) == [None] * 8


def test_pictures_that_compression_made_equal_in_the_sample_are_frozen_only_if_they_are_equal_as_a_whole():
    flat = [np.full((HEIGHT, WIDTH), 6, np.uint8) for _ in range(8)]
    for number, plane in enumerate(flat[:5]):
        plane[0, number] = 7
    said = found([(top, plane) for (top, _), plane in zip(EMPTY, flat, strict=True)], noise="compressed")
    assert [one is not None for one in said] == [False] * 6 + [True] * 2


def test_a_film_may_repeat_its_pictures():
    assert found([EMPTY[0]] * 8, noise="none") == [None] * 8


def test_a_repeated_picture_with_padded_rows_is_recognised():
    padded = np.zeros((HEIGHT, WIDTH + 32), np.uint8)
    padded[:, :WIDTH] = EMPTY[0][0]
    other = np.full_like(padded, 99)
    other[:, :WIDTH] = EMPTY[0][0]
    check = FrozenCheck(1, "sensor")
    views = [padded[:, :WIDTH], other[:, :WIDTH]]
    assert [look(check, Frame(seq, 0, 0, (view,))) is not None for seq, view in enumerate(views)] == [False, True]


@pytest.mark.parametrize(
    "disturbance",
    [{}, {"shows": "nothing"}, {"light": (0.0, 1.0)}, {"light": (0.0, 0.0)}, {"belt": "stands", "encoder": "dead"}],
    ids=["ordinary", "empty", "one lamp out", "dark", "standing"],
)
def test_an_emulated_belt_never_looks_frozen(disturbance):
    spec = BeltSpec(height_px=120, width_px=320, advance_px=60, cherries_per_frame=2.0, frames=400, seed=9)
    source, check = EmulatedSource(spec, disturbance=DisturbanceConfig(**disturbance)), FrozenCheck(2, "sensor")
    source.start()
    while (frame := source.read(1.0)) is not None:
        with frame:
            assert look(check, frame) is None, frame.seq
    source.close()
