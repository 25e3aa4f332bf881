"""Segmentation against a flood fill written here."""

from __future__ import annotations

import numpy as np
import pytest

from pitcore.errors import FrameError, SegmentationError
from pitcore.preprocess import _core
from pitcore.preprocess.prepare import CropSpec, Preparer, SegmentSpec


def spec(**changes):
    fields = {"background": (0,), "threshold": (1,), "polarity": ("bright",), "combine": "any", "min_area_px": 1}
    return SegmentSpec(**(fields | changes))


def preparer(shape, **changes):
    segment = spec(**changes)
    return Preparer(*shape, segment, CropSpec(16, "centre", len(segment.background)))


def flood(mask):
    """Lists of (y, x) of each 8-connected component, ordered by first pixel."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    components = []
    for start in sorted(left):
        if start not in left:
            continue
        left.remove(start)
        stack, members = [start], []
        while stack:
            y, x = stack.pop()
            members.append((y, x))
            around = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= around
            stack.extend(around)
        components.append(members)
    return components


def expected(members, planes):
    """The component as the core reports it, from its pixels."""
    ys, xs = (np.array(side, np.int64) for side in zip(*members, strict=True))
    height, width = planes[0].shape
    border = (xs.min() == 0) | (xs.max() == width - 1) << 1 | (ys.min() == 0) << 2 | (ys.max() == height - 1) << 3
    sums = [int(plane[ys, xs].sum(dtype=np.int64)) for plane in planes]
    box = (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)
    moments = (xs.sum(), ys.sum(), (xs * xs).sum(), (xs * ys).sum(), (ys * ys).sum())
    return (*map(int, box), len(xs), int(border), *map(int, moments), sums + [0] * (4 - len(sums)))


def assert_matches(found, mask, planes):
    wanted = [expected(members, planes) for members in flood(mask)]
    assert [(*list(row)[:11], row["plane_sum"].tolist()) for row in found] == wanted
    for row, members in zip(found, flood(mask), strict=True):
        assert (row["elongation"], row["ellipse_fill"]) == pytest.approx(ellipse(members), rel=1e-6)


def ellipse(members):
    """Ratio of the axes, and area over that of the ellipse with the same second moments, by NumPy."""
    covariance = np.cov(np.array(members, float).T, bias=True).reshape(2, 2) + np.eye(2) / 12
    minor, major = np.linalg.eigvalsh(covariance)
    return np.sqrt(major / minor), len(members) / (4 * np.pi * np.sqrt(major * minor))


def spiral(side):
    mask = np.zeros((side, side), bool)
    y, x, dy, dx = 0, 0, 0, 1
    mask[0, 0] = True
    for length in [side - 1] + [n for n in range(side - 1, 1, -2) for _ in (0, 1)]:
        for _ in range(length):
            y, x = y + dy, x + dx
            mask[y, x] = True
        dy, dx = dx, -dy
    return mask


def u_shape():
    mask = np.zeros((9, 131), bool)
    mask[:, [2, 70, 129]] = True
    mask[8, 2:130] = True
    return mask


SHAPES = {
    "spiral": spiral(33),
    "spiral mirrored": spiral(33)[::-1, ::-1],
    "u": u_shape(),
    "u upside down": u_shape()[::-1],
    "checkerboard": np.indices((17, 67)).sum(0) % 2 == 0,
    "white": np.ones((5, 129), bool),
    "empty": np.zeros((5, 129), bool),
    "one pixel": np.ones((1, 1), bool),
    "one row": np.arange(200)[None] % 3 == 0,
    "one column": np.arange(200)[:, None] % 3 == 0,
    "corners touch": np.eye(40, dtype=bool),
    "corners touch backwards": np.eye(40, dtype=bool)[::-1],
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_one_component(name):
    mask = SHAPES[name]
    plane = np.ascontiguousarray(mask) * np.uint8(200)
    with_room = preparer(mask.shape)
    assert_matches(with_room.segment((plane,)), mask, (plane,))
    assert with_room.foreground_px == mask.sum()


@pytest.mark.parametrize("width", [1, 2, 7, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 191])
@pytest.mark.parametrize("combine", ["any", "all"])
@pytest.mark.parametrize("kernel", _core.kernels())
def test_each_kernel_agrees_with_flood_fill_on_two_planes(width, combine, kernel):
    random = np.random.default_rng(width)
    height = 23
    wide = random.integers(0, 256, (2, height, width + 9), np.uint8)
    planes = (wide[0, :, 3 : 3 + width], wide[1, :, 5 : 5 + width])
    background = random.integers(0, 256, (height, width + 5), np.uint8)[:, 1 : 1 + width]
    bright = planes[0].astype(int) - background >= 60
    dark = 180 - planes[1].astype(int) >= 100
    mask = bright | dark if combine == "any" else bright & dark
    searching = preparer(
        (height, width), background=(background, 180), threshold=(60, 100), polarity=("bright", "dark"), combine=combine
    )
    _core.force_kernel(kernel)
    try:
        assert_matches(searching.segment(planes), mask, planes)
    finally:
        _core.force_kernel("auto")


@pytest.mark.parametrize("width", [1, 15, 33, 64, 100, 129, 191])
@pytest.mark.parametrize("kernel", _core.kernels())
def test_a_profile_across_the_belt_equals_the_same_image(width, kernel):
    random = np.random.default_rng(width)
    plane = random.integers(0, 256, (23, width), np.uint8)
    profile = random.integers(0, 256, width, np.uint8)
    gain = random.integers(256, 900, width, np.uint16)
    image = np.ascontiguousarray(np.broadcast_to(profile, plane.shape))
    rules = {"threshold": (40,), "min_area_px": 2}
    _core.force_kernel(kernel)
    try:
        found = preparer(plane.shape, background=(profile,), **rules).segment((plane,))
        assert found.tobytes() == preparer(plane.shape, background=(image,), **rules).segment((plane,)).tobytes()
        flat = preparer(plane.shape, background=(profile,), gain=(gain,), **rules).segment((plane,))
    finally:
        _core.force_kernel("auto")
    bright = np.minimum((plane.astype(np.uint32) * gain + 128) >> 8, 255)
    mask = plane.astype(int) - profile >= 40
    wanted = [sum(int(bright[y, x]) for y, x in members) for members in flood(mask) if len(members) > 1]
    assert flat["plane_sum"][:, 0].tolist() == wanted
    assert flat["area"].tolist() == found["area"].tolist()


@pytest.mark.parametrize("kernel", _core.kernels())
@pytest.mark.parametrize(("width", "cell_px"), [(1, 1), (37, 5), (256, 256), (2464, 16), (2465, 16)])
def test_belt_levels_and_cell_sums_equal_numpys(kernel, width, cell_px):
    planes = tuple(np.random.default_rng(width).integers(0, 256, (2, 9, width), np.uint8))
    searching = preparer((9, width), background=(0, 0), threshold=(1, 1), polarity=("bright",) * 2)
    sums = np.zeros((2, width // cell_px), np.uint16)
    _core.force_kernel(kernel)
    try:
        levels = searching.belt_levels(planes, 7, cell_px, sums)
    finally:
        _core.force_kernel("auto")
    wanted = [plane[7, : width // cell_px * cell_px].reshape(-1, cell_px).sum(1, dtype=np.uint16) for plane in planes]
    assert np.array_equal(sums, wanted)
    assert levels == [np.sort(row)[len(row) // 2] / cell_px for row in wanted]


@pytest.mark.parametrize("kernel", _core.kernels())
@pytest.mark.parametrize("width", [5, 64, 130])
def test_the_mask_centre_of_each_plane_equals_numpys(kernel, width):
    random = np.random.default_rng(width)
    top, bottom = random.integers(0, 60, (2, 30, width + 9), np.uint8)
    top[4:20, 3 : width + 2], bottom[7:25, 5 : width + 4] = 90, 200
    planes = (top, bottom)
    searching = preparer(
        top.shape,
        background=(random.integers(0, 9, width + 9, np.uint8), 5),
        threshold=(70, 70),
        polarity=("bright",) * 2,
    )
    _core.force_kernel(kernel)
    try:
        assert len(searching.segment(planes)) == 1
        found = searching.mask_centres(planes, 0)
    finally:
        _core.force_kernel("auto")
    for plane, (area, x, y), box in zip(planes, found, ((4, 20, 3, width + 2), (7, 25, 5, width + 4)), strict=True):
        ys, xs = np.mgrid[box[0] : box[1], box[2] : box[3]]
        assert area == xs.size, plane.shape
        assert (x, y) == pytest.approx((xs.mean(), ys.mean()), abs=1e-9)


@pytest.mark.parametrize(
    ("row", "cell_px", "shape", "message"),
    [
        (8, 8, (1, 5), "row: expected 0 to 7, got 8"),
        (-1, 8, (1, 5), "row: expected 0 to 7, got -1"),
        (0, 0, (1, 5), "cell_px: expected 1 to 40, got 0"),
        (0, 8, (1, 6), r"sums: expected shape \(1, 5\), got \(1, 6\)"),
    ],
)
def test_belt_levels_refuses_arguments_out_of_bounds(row, cell_px, shape, message):
    with pytest.raises(ValueError, match=message):
        preparer(BASE.shape).belt_levels((BASE,), row, cell_px, np.zeros(shape, np.uint16))


def test_the_mask_centre_of_a_missing_component_is_refused():
    with pytest.raises(ValueError, match="index: expected 0 to -1, got 0"):
        preparer(BASE.shape).mask_centres((BASE,), 0)


def test_the_threshold_is_inclusive():
    plane = np.array([[9, 10, 11, 0, 99, 100, 101]], np.uint8)
    assert preparer((1, 7), threshold=(10,)).segment((plane,))["x"].tolist() == [1, 4]
    dark = preparer((1, 7), background=(110,), threshold=(10,), polarity=("dark",)).segment((plane,))
    assert [(int(c["x"]), int(c["w"])) for c in dark] == [(0, 6)]


def test_an_extreme_background_does_not_overflow_the_threshold():
    plane = np.array([[255, 0, 128]], np.uint8)
    assert len(preparer((1, 3), background=(250,), threshold=(10,)).segment((plane,))) == 0
    assert len(preparer((1, 3), background=(5,), threshold=(10,), polarity=("dark",)).segment((plane,))) == 0


def test_specks_are_counted_and_not_reported():
    plane = np.zeros((9, 30), np.uint8)
    plane[1, 1] = plane[3, 5:7] = plane[5:8, 10:13] = 50
    searching = preparer(plane.shape, min_area_px=3)
    assert searching.segment((plane,))["area"].tolist() == [9]
    assert (searching.specks, searching.foreground_px) == (2, 12)


def test_results_of_one_frame_do_not_leak_into_the_next():
    searching = preparer((8, 70))
    white = np.full((8, 70), 255, np.uint8)
    assert len(searching.segment((white,))) == 1
    assert len(searching.segment((np.zeros_like(white),))) == 0
    assert (searching.foreground_px, searching.specks) == (0, 0)
    assert searching.segment((white,))["area"].tolist() == [560]


def test_a_noisy_frame_raises_an_error_and_the_next_is_searched():
    noise = np.tile(np.array([255, 0], np.uint8), (2, 300))
    searching = preparer(noise.shape)
    with pytest.raises(SegmentationError, match=r"more than 256 runs .* threshold \(1,\)"):
        searching.segment((noise,))
    assert len(searching.segment((np.zeros_like(noise),))) == 0


def test_too_many_components_raise_an_error():
    dots = np.zeros((5, 50), np.uint8)
    dots[::2, ::2] = 9
    searching = preparer(dots.shape, max_components=74)
    with pytest.raises(SegmentationError, match="more than 74 components of 1 pixels or more"):
        searching.segment((dots,))
    assert searching.foreground_px == 75
    dots[0, 0] = 0
    assert len(searching.segment((dots,))) == 74


def test_components_are_read_only_views():
    searching = preparer((8, 70))
    white = np.full((8, 70), 255, np.uint8)
    found = searching.segment((white,))
    with pytest.raises(ValueError, match="read-only"):
        found["x"] = 1
    address = found.ctypes.data
    assert searching.segment((white,)).ctypes.data == address


def test_components_outlive_their_preparer():
    found = preparer((8, 70)).segment((np.full((8, 70), 255, np.uint8),))
    assert found["area"].tolist() == [560]


BASE = np.zeros((8, 40), np.uint8)


@pytest.mark.parametrize(
    ("planes", "message"),
    [
        ((BASE.astype(np.float32),), r"planes\[0\]: expected uint8, got float32"),
        ((BASE.astype(bool),), r"planes\[0\]: expected uint8, got bool"),
        ((BASE.astype(np.int8),), r"planes\[0\]: expected uint8, got int8"),
        ((BASE[0],), r"planes\[0\]: expected shape \(8, 40\), got \(40,\)"),
        ((BASE[:7],), r"planes\[0\]: expected shape \(8, 40\), got \(7, 40\)"),
        ((BASE.tolist(),), r"planes\[0\]: expected a NumPy array of uint8, got list"),
        ((np.zeros((8, 80), np.uint8)[:, ::2],), r"planes\[0\]: pixels of a row must be adjacent .* got stride 2"),
        ((BASE[:, ::-1],), r"planes\[0\]: .* got stride -1"),
        ((BASE[::-1],), r"planes\[0\]: rows must not overlap or run backwards .* got row stride -40"),
        ((np.broadcast_to(BASE[:1], (8, 40)),), r"planes\[0\]: rows must not overlap .* got row stride 0"),
        ((BASE, BASE), "planes: expected 1, got 2"),
        ((), "planes: expected 1, got 0"),
        (BASE, "planes: expected a tuple or list"),
    ],
)
def test_a_plane_of_the_wrong_kind_is_refused(planes, message):
    with pytest.raises(FrameError, match=message):
        preparer(BASE.shape).segment(planes)


def test_a_plane_of_one_row_or_column_is_accepted_with_any_stride():
    column = np.zeros((8, 6), np.uint8)[:, 2:3]
    row = np.zeros((6, 8), np.uint8)[::-3][:1]
    assert len(preparer((8, 1)).segment((column,))) == 0
    assert len(preparer((1, 8)).segment((row,))) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": (0,)}, r"rules\[0\] threshold: expected 1 to 255, got 0"),
        ({"threshold": (256,)}, r"rules\[0\] threshold: expected 1 to 255, got 256"),
        ({"threshold": (1.5,)}, r"rules\[0\] threshold: expected an int"),
        ({"background": (-1,)}, r"rules\[0\] background: expected 0 to 255, got -1"),
        ({"background": (BASE[:, :5],)}, r"rules\[0\] background: expected shape \(8, 40\), got \(8, 5\)"),
        ({"background": (BASE[0, :5],)}, r"rules\[0\] background: expected shape \(40,\), got \(5,\)"),
        ({"gain": (BASE[0],)}, r"rules\[0\] gain: expected uint16, got uint8"),
        ({"gain": (np.ones(5, np.uint16),)}, r"rules\[0\] gain: expected shape \(40,\), got \(5,\)"),
        ({"gain": (None, None)}, r"gain \(2\)"),
        ({"background": (0.5,)}, r"rules\[0\] background: expected a NumPy array of uint8, got float"),
        ({"polarity": ("light",)}, r"rules\[0\] polarity: expected one of 'bright', 'dark', got 'light'"),
        ({"polarity": (1,)}, r"rules\[0\] polarity: expected a str"),
        ({"combine": "or"}, "combine: expected one of 'any', 'all', got 'or'"),
        ({"min_area_px": 0}, "min_area_px: expected 1 to"),
        ({"max_components": 0}, "max_components: expected 1 to"),
        ({"threshold": (1, 2)}, r"planes: background \(1\), threshold \(2\)"),
        ({"background": (0,) * 5, "threshold": (1,) * 5, "polarity": ("bright",) * 5}, "expected 1 to 4, got 5"),
    ],
)
def test_a_rule_out_of_bounds_is_refused(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        preparer(BASE.shape, **changes)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (8193, 5), (5, 8193)])
def test_a_frame_too_large_for_its_sums_is_refused(shape):
    with pytest.raises(ValueError, match=r"shape\[[01]\]: expected 1 to 8192"):
        preparer(shape)


def test_a_background_image_is_kept_while_in_use():
    searching = preparer((64, 64), background=(np.full((64, 64), 90, np.uint8),), threshold=(20,))
    scribble = [np.full((64, 64), 255, np.uint8) for _ in range(8)]
    assert searching.segment((np.full((64, 64), 110, np.uint8),))["area"].tolist() == [4096]
    assert len(scribble) == 8
