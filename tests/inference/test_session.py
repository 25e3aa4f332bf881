import os
import platform
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from pitcore.errors import BundleError
from pitcore.inference.session import Session, session_options
from pitcore.model_card import load_bundle
from pitcore.preprocess import _core
from pitcore.preprocess._core import int8_products_saturate
from tests.conftest import MIDDLE, tiny_card, tiny_network, write_card, write_tiny_bundle


def filled(session, values):
    for index, value in enumerate(values):
        session.batch[index] = value


@pytest.mark.parametrize("sub_batch", [1, 3, 7, 16])
def test_each_crop_gets_its_own_logits_whatever_the_pieces(tiny_bundle, sub_batch):
    session = Session(load_bundle(tiny_bundle), capacity=10, sub_batch=sub_batch)
    values = list(range(90, 100))
    filled(session, values)
    for count in (10, 1, 7, 0, 10):
        logits = session.run(count)
        assert logits.shape == (count, 2)
        np.testing.assert_allclose(logits[:, 1], (np.array(values[:count]) - MIDDLE) / 4, atol=1e-5)


def test_no_memory_is_taken_after_the_first_calls(tiny_bundle):
    session = Session(load_bundle(tiny_bundle), capacity=4, sub_batch=2)
    first = session.run(4)
    assert session.run(4).ctypes.data == first.ctypes.data


def test_wrong_golden_vectors_are_refused(tmp_path):
    bundle = load_bundle(write_tiny_bundle(tmp_path / "b", golden_shift=0.01))
    with pytest.raises(BundleError, match=r"golden vectors are off by 0\.01"):
        Session(bundle, capacity=4)


def test_golden_vectors_that_are_nan_are_refused(tmp_path):
    bundle = load_bundle(write_tiny_bundle(tmp_path / "b", golden_shift=np.nan))
    with pytest.raises(BundleError, match="golden vectors are off by"):
        Session(bundle, capacity=4)


def test_a_bundle_without_golden_vectors_is_refused(tiny_bundle):
    (tiny_bundle / "golden.npz").write_bytes(b"PK")
    write_card(tiny_bundle, tiny_card(tiny_bundle))
    with pytest.raises(BundleError, match="no golden vectors"):
        Session(load_bundle(tiny_bundle), capacity=4)


@pytest.mark.parametrize(
    "network",
    [tiny_network(dtype=TensorProto.FLOAT), tiny_network(side=32), tiny_network(name="images")],
    ids=["float input", "wrong size", "wrong name"],
)
def test_a_network_that_does_not_fit_its_card_is_refused(tmp_path, network):
    bundle = load_bundle(write_tiny_bundle(tmp_path / "b", network=network))
    with pytest.raises(BundleError, match="but its card promises"):
        Session(bundle, capacity=4)


def test_a_network_with_room_for_a_fixed_number_of_crops_is_refused_with_the_fix(tmp_path):
    bundle = load_bundle(write_tiny_bundle(tmp_path / "b", network=tiny_network(batch=4)))
    with pytest.raises(BundleError, match=r"room for exactly 4 crops.*free batch axis"):
        Session(bundle, capacity=4)


def test_bytes_that_are_no_network_are_refused(tmp_path):
    bundle = load_bundle(write_tiny_bundle(tmp_path / "b", network=b"not an onnx file"))
    with pytest.raises(BundleError, match="does not load"):
        Session(bundle, capacity=4)


def test_the_callers_floating_point_mode_comes_back(tiny_bundle):
    before = _core.read_mode()
    Session(load_bundle(tiny_bundle), capacity=4).run(4)
    assert _core.read_mode() == before
    assert not _core.flushes_subnormals()


def test_only_a_processor_without_vnni_pays_for_exact_int8_products():
    flags = Path("/proc/cpuinfo").read_text().split()  # under an emulator for x86 those of the real processor
    has_vnni = ("avx512_vnni" in flags or "avx_vnni" in flags) and "PITCORE_TEST_WITHOUT_VNNI" not in os.environ
    assert int8_products_saturate() == (platform.machine() == "x86_64" and not has_vnni)
    options = session_options(threads=1)
    if int8_products_saturate():
        assert options.get_session_config_entry("session.x64quantprecision") == "1"
    else:
        with pytest.raises(RuntimeError, match="x64quantprecision"):  # never set
            options.get_session_config_entry("session.x64quantprecision")


def test_a_model_that_wants_a_newer_runtime_is_refused_before_it_is_loaded(tiny_bundle):
    card = tiny_card(tiny_bundle)
    write_card(tiny_bundle, card | {"runtime": card["runtime"] | {"onnxruntime_min": "99.0"}})
    with pytest.raises(BundleError, match=r"its card wants onnxruntime 99\.0 or newer, this machine has \d"):
        Session(load_bundle(tiny_bundle), capacity=1)
