"""Extraction against slow exact arithmetic written here."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from pitcore.errors import ImageError
from pitcore.preprocess import _core
from pitcore.preprocess.prepare import CropSpec, Preparer, SegmentSpec, aligned_batch, crop_from_image

POLICIES = ("centre", "shrink", "fit")


def preparer(shape, crop):
    count = crop.planes
    return Preparer(*shape, SegmentSpec((0,) * count, (1,) * count, ("bright",) * count, "any", 1), crop)


def crops_of(planes, crop):
    """All components of the frame as a (N, S, S, P) batch."""
    searching = preparer(planes[0].shape, crop)
    count = len(searching.segment(planes))
    out = aligned_batch(count, (crop.size_px, crop.size_px, crop.planes), np.uint8)
    out[:] = 77
    searching.extract(planes, np.arange(count, dtype=np.int32), out)
    return out


def weights(source, target, *, triangle):
    """(target, source) exact weights, each row summing to 1."""
    rows = []
    for t in range(target):
        scale = Fraction(source, target)
        if triangle:
            centre, half = (t + Fraction(1, 2)) * scale, max(scale, Fraction(1))
            row = [max(Fraction(0), 1 - abs(s + Fraction(1, 2) - centre) / half) for s in range(source)]
        else:
            row = [max(Fraction(0), min(s + 1, (t + 1) * scale) - max(s, t * scale)) for s in range(source)]
        rows.append([value / sum(row) for value in row])
    return np.array(rows, object)


def slow(box, size, policy):
    """One (h, w) box, background already zero, as a (size, size) crop."""
    h, w = box.shape
    longer = max(h, w)
    if policy == "fit" or (policy == "shrink" and longer > size):
        new_h, new_w = (max(1, int(Fraction(side * size, longer) + Fraction(1, 2))) for side in (h, w))
        triangle = policy == "fit"
        exact = weights(h, new_h, triangle=triangle) @ box.astype(object) @ weights(w, new_w, triangle=triangle).T
        box = np.array([[int(value + Fraction(1, 2)) for value in row] for row in exact], np.uint8)
        h, w = box.shape
    top, left = max(0, h - size) // 2, max(0, w - size) // 2
    box = box[top : top + size, left : left + size]
    h, w = box.shape
    out = np.zeros((size, size), np.uint8)
    out[(size - h) // 2 :, (size - w) // 2 :][:h, :w] = box
    return out


def corrected(plane, gain):
    """The plane under an even light, (H, W) uint8, by NumPy."""
    return np.minimum((plane.astype(np.uint32) * gain + 128) >> 8, 255).astype(np.uint8)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("planes", [1, 2])
def test_a_flat_field_corrects_the_pixels_of_a_crop(policy, planes):
    random = np.random.default_rng(planes)
    height, width, count = 41, 131, planes
    frame = tuple(random.integers(0, 256, (height, width), np.uint8) for _ in range(count))
    for plane in frame:
        plane[:, ::37] = plane[::11] = 0
    gain = tuple(random.integers(256, 1024, width, np.uint16) if p == 0 else None for p in range(count))
    crop = CropSpec(24, policy, count)
    rules = ((0,) * count, (1,) * count, ("bright",) * count)
    flat = Preparer(height, width, SegmentSpec(*rules, "any", 1, gain=gain), crop)
    plain = Preparer(height, width, SegmentSpec(*rules, "any", 1), crop)
    batches = []
    for searching in (flat, plain):
        found = searching.segment(frame)
        batches.append(aligned_batch(len(found), (24, 24, count), np.uint8))
    indices = np.arange(len(batches[0]), dtype=np.int32)
    flat.extract(frame, indices, batches[0])
    plain.extract((corrected(frame[0], gain[0]), *frame[1:]), indices, batches[1])
    assert len(indices) > 10
    assert np.array_equal(*batches)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "box", [(1, 1), (5, 9), (16, 16), (17, 16), (15, 17), (40, 3), (3, 40), (31, 37), (50, 50), (1, 99)]
)
def test_a_box_is_placed_and_scaled_as_by_exact_arithmetic(policy, box):
    h, w = box
    planes = tuple(np.zeros((60, 120), np.uint8) for _ in range(2))
    random = np.random.default_rng(h * w)
    for plane in planes:
        plane[4 : 4 + h, 7 : 7 + w] = random.integers(1, 256, box)
    out = crops_of(planes, CropSpec(16, policy, 2))
    assert out.shape[0] == 1
    for p, plane in enumerate(planes):
        np.testing.assert_array_equal(out[0, :, :, p], slow(plane[4 : 4 + h, 7 : 7 + w], 16, policy))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_neighbour_inside_the_box_is_masked(policy):
    plane = np.zeros((30, 40), np.uint8)
    plane[5:25, 5] = plane[24, 5:25] = 100  # an L
    plane[8:12, 12:16] = 200  # inside its box
    out = crops_of((plane,), CropSpec(24, policy, 1))
    assert out.shape[0] == 2
    own = plane[5:25, 5:25].copy()
    own[own == 200] = 0
    np.testing.assert_array_equal(out[0, :, :, 0], slow(own, 24, policy))
    np.testing.assert_array_equal(out[1, :, :, 0], slow(plane[8:12, 12:16], 24, policy))


@pytest.mark.parametrize("policy", ["centre", "shrink"])
@pytest.mark.parametrize("planes", [1, 2, 3, 4])
def test_a_cherry_that_fits_is_copied_unchanged(policy, planes):
    random = np.random.default_rng(planes)
    frame = tuple(np.zeros((70, 71), np.uint8) for _ in range(planes))
    inside = np.hypot(*(np.indices((63, 63)) - 31)) < 31
    for plane in frame:
        plane[3:66, 4:67] = random.integers(1, 256, (63, 63)) * inside
    boxes = np.argwhere(inside)
    (top, left), (bottom, right) = boxes.min(0), boxes.max(0) + 1
    out = crops_of(frame, CropSpec(64, policy, planes))
    y, x = (64 - (bottom - top)) // 2, (64 - (right - left)) // 2
    wanted = np.stack(frame, -1)[3 + top : 3 + bottom, 4 + left : 4 + right]
    np.testing.assert_array_equal(out[0, y : y + bottom - top, x : x + right - left], wanted)
    assert out.sum() == wanted.sum()


def test_fit_differs_by_at_most_one_from_pillows_bilinear():
    image = np.random.default_rng(4).integers(1, 256, (90, 61), np.uint8)
    ours = crop_from_image(image[:, :, None], CropSpec(64, "fit", 1))[:, :, 0]
    width = int(Fraction(61 * 64, 90) + Fraction(1, 2))
    theirs = np.asarray(Image.fromarray(image).resize((width, 64), Image.Resampling.BILINEAR))
    left = (64 - width) // 2
    assert np.abs(ours[:, left : left + width].astype(int) - theirs).max() <= 1


@pytest.mark.parametrize(
    ("policy", "sha256"),
    [
        ("centre", "a4352de85bc397151eeebdb5acf908376f2a203251b2462bbc307803d1547ed4"),
        ("shrink", "9d8aaca020c0ded912ee9307a95f08a377c09417aa8e0fbaabff15feb7ca8e23"),
        ("fit", "dff0fb3bb1bf7f879b34b938a2e2613390d38064ec2e9c60be24a0ac13d9b049"),
    ],
)
def test_the_bytes_of_a_crop_have_the_known_hash(policy, sha256):
    y, x = np.indices((120, 150))
    disc = (y - 60) ** 2 + (x - 70) ** 2 < 50**2
    planes = tuple(((y * k + x * 7) % 255 + 1).astype(np.uint8) * disc for k in (3, 5))
    assert hashlib.sha256(crops_of(planes, CropSpec(64, policy, 2)).tobytes()).hexdigest() == sha256


def test_crops_are_written_in_the_requested_order():
    plane = np.zeros((20, 90), np.uint8)
    for i in range(4):
        plane[2:6, 5 + 20 * i : 9 + 20 * i] = 10 + i
    searching = preparer(plane.shape, CropSpec(16, "centre", 1))
    searching.segment((plane,))
    out = aligned_batch(5, (16, 16, 1), np.uint8)
    searching.extract((plane,), np.array([3, 0, 0, 2, 1], np.int32), out)
    assert out.max(axis=(1, 2, 3)).tolist() == [13, 10, 10, 12, 11]


def test_an_empty_choice_is_accepted():
    searching = preparer((20, 20), CropSpec(16, "centre", 1))
    planes = (np.zeros((20, 20), np.uint8),)
    searching.segment(planes)
    searching.extract(planes, np.zeros(0, np.int32), aligned_batch(0, (16, 16, 1), np.uint8))


def aligned(shape=(1, 16, 16, 1), dtype=np.uint8):
    return aligned_batch(shape[0], shape[1:], dtype)


def read_only():
    out = aligned()
    out.flags.writeable = False
    return out


INDICES = np.zeros(1, np.int32)


@pytest.mark.parametrize(
    ("indices", "out", "message"),
    [
        (np.zeros(1, np.int64), aligned(), "indices: expected int32, got int64"),
        ([0], aligned(), "indices: expected a NumPy array of int32, got list"),
        (np.zeros((1, 1), np.int32), aligned(), "indices: expected 1 dimension, got 2"),
        (np.zeros(4, np.int32)[::2], aligned((2, 16, 16, 1)), "indices: must be C-contiguous"),
        (np.array([1], np.int32), aligned(), r"indices\[0\]: 1 is not one of the 1 components"),
        (np.array([-1], np.int32), aligned(), r"indices\[0\]: -1 is not one of the 1 components"),
        (INDICES, aligned(dtype=np.float32), "out: expected uint8, got float32"),
        (INDICES, aligned((2, 16, 16, 1)), r"out: expected shape \(1, 16, 16, 1\), got \(2, 16, 16, 1\)"),
        (INDICES, aligned((1, 16, 17, 1)), r"out: expected shape \(1, 16, 16, 1\), got \(1, 16, 17, 1\)"),
        (INDICES, aligned((1, 16, 16, 2)), r"out: expected shape"),
        (INDICES, aligned((1, 16, 16, 2))[..., :1], "out: must be C-contiguous"),
        (INDICES, read_only(), "out: must be writable"),
        (INDICES, aligned((1, 257, 1, 1)).reshape(-1)[1:].reshape(1, 16, 16, 1), "out: must start at a multiple of 64"),
        (INDICES, None, "out: expected a NumPy array of uint8, got NoneType"),
    ],
)
def test_an_extract_argument_of_the_wrong_kind_is_refused(indices, out, message):
    searching = preparer((20, 20), CropSpec(16, "centre", 1))
    planes = (np.full((20, 20), 9, np.uint8),)
    searching.segment(planes)
    with pytest.raises((TypeError, ValueError), match=message):
        searching.extract(planes, indices, out)


def test_extracting_a_missing_component_is_refused():
    searching = preparer((20, 20), CropSpec(16, "centre", 1))
    with pytest.raises(ValueError, match=r"indices\[0\]: 0 is not one of the 0 components"):
        searching.extract((np.zeros((20, 20), np.uint8),), INDICES, aligned())


def test_an_extractor_for_small_frames_refuses_a_large_one():
    planes = (np.full((20, 21), 9, np.uint8),)
    segmenter = _core.Segmenter((20, 21), ((0, 1, "bright", None),), "any", 1, (100, 10))
    segmenter.segment(planes)
    with pytest.raises(ValueError, match="segmenter: longest side: expected 1 to 20, got 21"):
        _core.Extractor(16, "fit", 20).extract(segmenter, planes, INDICES, aligned())


@pytest.mark.parametrize(
    ("size", "resize", "message"),
    [(15, "fit", "size_px: expected 16 to 1024, got 15"), (16, "crop", "resize: expected one of 'centre', 'shrink'")],
)
def test_an_impossible_crop_is_refused(size, resize, message):
    with pytest.raises(ValueError, match=message):
        _core.Extractor(size, resize, 20)


@pytest.mark.parametrize("policy", POLICIES)
def test_training_sees_the_bytes_of_the_board(policy):
    planes = tuple(np.zeros((200, 300), np.uint8) for _ in range(2))
    disc = np.hypot(*(np.indices((81, 81)) - 40)) < 40
    for k, plane in enumerate(planes):
        plane[20:101, 30:111] = np.random.default_rng(k).integers(1, 256, (81, 81)) * disc
    spec = CropSpec(64, policy, 2)
    image = np.stack([plane[10:120, 25:130] for plane in planes], -1)
    np.testing.assert_array_equal(crop_from_image(image, spec), crops_of(planes, spec)[0])


@pytest.mark.parametrize("policy", POLICIES)
def test_all_pieces_of_a_crop_image_are_kept(policy):
    image = np.zeros((60, 70, 2), np.uint8)
    image[10:20, 12:20, 0] = 50
    image[30:33, 40:50, 1] = 60
    crop = crop_from_image(image, CropSpec(32, policy, 2))
    box = image[10:33, 12:50]
    for p in range(2):
        np.testing.assert_array_equal(crop[:, :, p], slow(box[:, :, p], 32, policy))


def test_a_crop_image_with_other_strides_is_read_correctly():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    spec = CropSpec(32, "fit", 3)
    np.testing.assert_array_equal(
        crop_from_image(image[::-1, ::2], spec), crop_from_image(image[::-1, ::2].copy(), spec)
    )


def test_a_given_output_is_used():
    out = aligned((1, 16, 16, 1))
    image = np.full((4, 4, 1), 7, np.uint8)
    result = crop_from_image(image, CropSpec(16, "centre", 1), out[0])
    assert np.shares_memory(result, out)
    assert out.sum() == 7 * 16


@pytest.mark.parametrize("side", [1, 4096])
def test_the_smallest_and_largest_crop_images_are_accepted(side):
    assert crop_from_image(np.full((side, 1, 1), 9, np.uint8), CropSpec(16, "fit", 1)).max() == 9
    assert crop_from_image(np.full((1, side, 1), 9, np.uint8), CropSpec(16, "shrink", 1)).max() == 9


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((5, 5, 2), np.uint8), "every pixel is zero"),
        (np.ones((5, 5, 3), np.uint8), "the model looks at 2 planes"),
        (np.ones((5, 5), np.uint8), "the model looks at 2 planes"),
        (np.ones((5, 5, 2), np.uint16), "got .* of uint16"),
        (np.ones((0, 5, 2), np.uint8), "a 0x5 image is not a crop"),
        (np.ones((4097, 1, 2), np.uint8), "a 4097x1 image is not a crop"),
    ],
)
def test_an_image_that_is_no_crop_is_refused(image, message):
    with pytest.raises(ImageError, match=message):
        crop_from_image(image, CropSpec(16, "centre", 2))
