"""uint8 crops to the float input of a model."""

from __future__ import annotations

import numpy as np
import pytest

from pitcore.preprocess.prepare import aligned_batch, to_float

SCALE = (1 / 255 / 0.229, 0.0173, 1.5)
OFFSET = (-0.485 / 0.229, 0.25, 0.0)


@pytest.mark.parametrize("planes", [1, 2, 3])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_converted_values_and_their_places_equal_numpys(planes, layout):
    batch = np.random.default_rng(planes).integers(0, 256, (3, 17, 17, planes), np.uint8)
    scale, offset = SCALE[:planes], OFFSET[:planes]
    wanted = batch.astype(np.float32) * np.float32(scale) + np.float32(offset)
    if layout == "NCHW":
        wanted = wanted.transpose(0, 3, 1, 2)
    out = aligned_batch(3, wanted.shape[1:], np.float32)
    to_float(batch, layout, scale, offset, out)
    assert out.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_batch_is_aligned_and_writable(dtype, count):
    batch = aligned_batch(count, (17, 17, 3), dtype)
    assert batch.shape == (count, 17, 17, 3)
    assert batch.dtype == dtype
    assert batch.flags.c_contiguous
    assert batch.flags.writeable
    assert count == 0 or batch.ctypes.data % 64 == 0
    assert not batch.any()


BATCH = np.zeros((2, 8, 8, 1), np.uint8)
OUT = aligned_batch(2, (8, 8, 1), np.float32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": BATCH.astype(np.int16)}, "batch: expected uint8, got int16"),
        ({"batch": BATCH[0]}, r"batch: expected shape \(B, S, S, P\), got \(8, 8, 1\)"),
        ({"batch": BATCH[:, :4]}, r"batch: expected shape \(B, S, S, P\), got \(2, 4, 8, 1\)"),
        ({"batch": BATCH[::-1]}, "batch: must be C-contiguous"),
        ({"batch": np.zeros((2, 8, 8, 5), np.uint8)}, r"batch.shape\[3\]: expected 1 to 4, got 5"),
        ({"layout": "CHW"}, "layout: expected one of 'NHWC', 'NCHW', got 'CHW'"),
        ({"layout": "NCHW"}, r"out: expected shape \(2, 1, 8, 8\), got \(2, 8, 8, 1\)"),
        ({"scale": (1.0, 2.0)}, "scale: expected one number for each of the 1 planes, got 2"),
        ({"scale": ("x",)}, r"scale\[0\]: expected a number"),
        ({"offset": (float("nan"),)}, r"offset\[0\]: must be finite"),
        ({"offset": (1e300,)}, r"offset\[0\]: must be finite"),
        ({"out": OUT.astype(np.float64)}, "out: expected float32, got float64"),
        ({"out": OUT[:1]}, r"out: expected shape \(2, 8, 8, 1\), got \(1, 8, 8, 1\)"),
        (
            {"out": aligned_batch(1, (129,), np.float32)[0, 1:].reshape(OUT.shape)},
            "out: must start at a multiple of 64",
        ),
        ({"out": np.broadcast_to(OUT[:1], OUT.shape)}, "out: must be C-contiguous"),
    ],
)
def test_a_conversion_argument_of_the_wrong_kind_is_refused(changes, message):
    arguments = {"batch": BATCH, "layout": "NHWC", "scale": (1.0,), "offset": (0.0,), "out": OUT}
    with pytest.raises((TypeError, ValueError), match=message):
        to_float(**(arguments | changes))
