"""Scales of skip connections: moved little, exact, and refused where they cannot be."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pitcore.errors import BundleError
from pitcore_tools.quantise.sums import FINEST, LARGEST, Quantisation, exact_scales, exact_sum, quantisations, sums

CODES = np.arange(256)


def of(scale, zero_point=0):
    return Quantisation(np.float32(scale), zero_point)


def graph(scales, nodes):
    """A QDQ graph of these quantised tensors: name to quantisation. Nodes name what they read by its ``_dq``."""
    quantised, constants = [], []
    for name, entry in scales.items():
        constants += [
            numpy_helper.from_array(np.asarray(entry.scale), f"{name}_s"),
            numpy_helper.from_array(np.asarray(entry.zero_point, np.uint8), f"{name}_z"),
        ]
        quantised += [
            helper.make_node("QuantizeLinear", [name, f"{name}_s", f"{name}_z"], [f"{name}_q"]),
            helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_s", f"{name}_z"], [f"{name}_dq"]),
        ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])]
    return helper.make_model(helper.make_graph([*quantised, *nodes], "g", inputs, [], constants))


def test_ratios_of_one_always_add_exactly():
    table = exact_sum(of(0.1, 10), of(0.1), of(0.1, 3))
    np.testing.assert_array_equal(table, np.clip(np.add.outer(CODES - 10, CODES) + 3, 0, 255))


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        (of(0.5), of(1), "odd codes end on a half"),
        (of(1 / 3), of(1), "not a whole number of steps"),
        (of(3 + 2**-14), of(2), "finer than 24 bits hold beside so large a ratio"),
    ],
)
def test_a_sum_that_machines_round_differently_is_not_exact(first, second, why):
    assert exact_sum(first, second, of(1)) is None, why


def test_a_half_beyond_the_range_is_harmless():
    assert exact_sum(of(0.5), of(1), of(1)) is None
    assert exact_sum(of(0.5, 255), of(1, 255), of(1)) is not None  # never above zero


def test_scales_move_by_less_than_a_thousandth_and_zero_points_not_at_all():
    rng = np.random.default_rng(5)
    for _ in range(20):
        known = {
            "a": of(rng.uniform(0.05, 0.15), int(rng.integers(90, 160))),
            "b": of(rng.uniform(0.05, 0.15), int(rng.integers(0, 2)) * 120),
            "c": of(rng.uniform(0.09, 0.15)),
        }
        moved = exact_scales(graph(known, [helper.make_node("Add", ["a_dq", "b_dq"], ["c"])]))
        assert set(moved) == {"a", "b"}
        assert exact_sum(moved["a"], moved["b"], known["c"]) is not None
        for name, entry in moved.items():
            assert entry.zero_point == known[name].zero_point
            assert abs(entry.scale / known[name].scale - 1) < 1e-3


def test_summands_far_coarser_than_the_sum_move_a_little_further():
    known = {"a": of(0.0631885752081871, 128), "b": of(0.07440731674432755), "c": of(0.03334120288491249)}  # trained
    moved = exact_scales(graph(known, [helper.make_node("Add", ["a_dq", "b_dq"], ["c"])]))
    assert exact_sum(moved["a"], moved["b"], known["c"]) is not None
    for name, entry in moved.items():
        assert abs(entry.scale / known[name].scale - 1) < 3e-3


def test_a_chain_of_sums_is_exact_from_end_to_end():
    known = {"a": of(0.07, 120), "b": of(0.05), "c": of(0.08), "d": of(0.09, 128), "e": of(0.11)}
    chain = [helper.make_node("Add", ["a_dq", "b_dq"], ["c"]), helper.make_node("Add", ["d_dq", "c_dq"], ["e"])]
    moved = known | exact_scales(graph(known, chain))
    assert moved["e"] == known["e"]
    assert exact_sum(moved["d"], moved["c"], moved["e"]) is not None
    assert exact_sum(moved["a"], moved["b"], moved["c"]) is not None


def test_behind_a_pooling_the_scale_is_that_of_what_is_pooled():
    known = {"stem": of(0.05), "pooled": of(0.05), "a": of(0.07, 120), "c": of(0.08)}
    nodes = [
        helper.make_node("MaxPool", ["stem_dq"], ["pooled"], kernel_shape=[3, 3]),
        helper.make_node("Add", ["a_dq", "pooled_dq"], ["c"]),
    ]
    assert set(exact_scales(graph(known, nodes))) == {"a", "stem"}


def test_additions_of_what_is_not_quantised_are_left_alone():
    known = {"a": of(0.07), "c": of(0.08)}
    model = graph(known, [helper.make_node("Add", ["a_dq", "x"], ["c"])])
    assert sums(model) == []
    assert exact_scales(model) == {}
    assert quantisations(model) == known


def test_a_tensor_in_two_sums_is_refused_by_name():
    known = {"a": of(0.07), "b": of(0.05), "c": of(0.08), "d": of(0.09)}
    twice = [helper.make_node("Add", ["a_dq", "b_dq"], ["c"]), helper.make_node("Add", ["a_dq", "b_dq"], ["d"])]
    with pytest.raises(BundleError, match=r"'a'.* two sums"):
        exact_scales(graph(known, twice))


def test_a_sum_that_nothing_nearby_makes_exact_is_refused():
    known = {"a": of(0.001), "b": of(0.002), "c": of(1000.0)}
    with pytest.raises(BundleError, match=r"no scales near 0\.001\S* and 0\.002"):
        exact_scales(graph(known, [helper.make_node("Add", ["a_dq", "b_dq"], ["c"])]))


def test_the_grid_leaves_room_for_float32():
    assert 255 * LARGEST < 1 << 24
    assert LARGEST >= 4 * FINEST
