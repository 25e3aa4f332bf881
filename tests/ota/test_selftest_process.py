"""The self-test as the update starts it: a process of its own."""

import sys

import pytest
from onnx import TensorProto

from pitcore.errors import Refusal, UpdateError
from pitcore.ota.selftest_process import SelfTest, SelfTestLimits
from tests.conftest import SIZE, tiny_network
from tests.ota.networks import with_memory, with_nan, with_work
from tests.ota.stores import bundle_of

CHILD = [sys.executable, "-m", "pitcore.inference.selftest", "-"]
PATIENT = SelfTestLimits(timeout_s=120.0, latency_ratio=1000.0)


@pytest.fixture
def good(tmp_path):
    return bundle_of(tmp_path / "good", "1.0.0")


def fails(bundle, reference, command=CHILD, limits=PATIENT, refusal=Refusal.SELF_TEST):
    with pytest.raises(UpdateError) as caught:
        SelfTest(command, limits)(bundle, reference)
    assert caught.value.refusal is refusal
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_good_model_passes_and_its_latency_is_measured_beside_the_running_one(tmp_path, good):
    report = SelfTest(CHILD, PATIENT)(bundle_of(tmp_path / "new", "2.0.0"), good)
    assert report.latency_ms > 0
    assert report.ratio > 0
    assert 20 < report.peak_mb < 1024


def test_a_running_model_that_is_broken_does_not_stop_its_replacement(tmp_path, good):
    (good / "model.onnx").write_bytes(b"rot")
    assert SelfTest(CHILD, PATIENT)(bundle_of(tmp_path / "new", "2.0.0"), good).ratio is None


def test_nan_results_are_found_beyond_the_golden_vectors(tmp_path, good):
    bundle = bundle_of(tmp_path / "nan", "2.0.0", network=with_nan())
    assert "black crops give logits that are no numbers" in fails(bundle, good)


def test_golden_vectors_that_are_off_fail(tmp_path, good):
    assert "golden vectors are off by" in fails(bundle_of(tmp_path / "off", "2.0.0", golden_shift=0.5), good)


def test_a_network_with_another_input_than_its_card_says_fails(tmp_path, good):
    network = tiny_network(dtype=TensorProto.FLOAT, side=SIZE // 2)
    assert "but its card promises" in fails(bundle_of(tmp_path / "contract", "2.0.0", network=network), good)


def test_a_latency_regression_fails_and_names_both_figures(tmp_path, good):
    heavy = bundle_of(tmp_path / "heavy", "2.0.0", network=with_work(4))
    message = fails(heavy, good, limits=SelfTestLimits(latency_ratio=1.5))
    assert "times the running model's" in message
    assert "at most 1.5 times is allowed" in message


def test_a_model_that_wants_more_memory_than_it_may_fails(tmp_path, good):
    heavy = bundle_of(tmp_path / "large", "2.0.0", network=with_memory(1024))  # 16 x 1024 x 62 x 62 floats
    message = fails(heavy, good, limits=SelfTestLimits(latency_ratio=1000.0, memory_mb=128))
    assert "it does not run within 128 MB of memory" in message


def program(text):
    begin = """import sys, os, time\nprint('{"step": "loading the network"}', flush=True)\n"""
    return [sys.executable, "-c", begin + text]


def test_a_model_that_hangs_is_ended_and_the_step_is_named(good):
    message = fails(good, good, program("time.sleep(600)"), SelfTestLimits(timeout_s=2.0))
    assert "it did not end within 2 s, while: loading the network" in message


def test_a_model_that_crashes_its_process_is_reported_with_signal_and_step(good):
    message = fails(good, good, program("os.kill(os.getpid(), 11)"))
    assert "its process was killed by SIGSEGV, while: loading the network" in message


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (program("sys.exit(7)"), "its process ended with 7"),
        (program("os.kill(os.getpid(), 15)"), "was stopped by SIGTERM: start the update again"),
        (program("pass"), "no report"),
        (program("import pitcore.nothing"), "No module named 'pitcore.nothing'"),
        (["/does/not/exist"], "No such file"),
    ],
    ids=["exit code", "was stopped by", "no report", "broken installation", "no program"],
)
def test_a_self_test_that_could_not_be_run_is_no_success_and_blames_no_model(good, command, said):
    with pytest.raises(UpdateError) as caught:
        SelfTest(command, PATIENT)(good, good)
    assert caught.value.refusal is Refusal.NOT_SET_UP
    assert said in str(caught.value)


def test_a_self_test_that_the_kernel_killed_for_memory_blames_no_model(good):
    message = fails(good, good, program("os.kill(os.getpid(), 9)"), refusal=Refusal.UNJUDGED)
    assert "was killed while: loading the network: most likely the board ran out of memory" in message


@pytest.mark.parametrize("name", ["card.json", "model.onnx", "golden.npz"])
def test_an_unreadable_bundle_is_not_blamed_on_the_model(tmp_path, good, name):
    bundle = bundle_of(tmp_path / "new", "2.0.0")
    (bundle / name).unlink()
    (bundle / name).symlink_to("/proc/self/mem")  # reading its first byte is an I/O error
    message = fails(bundle, good, refusal=Refusal.UNJUDGED)
    assert f"{name}: Input/output error; `dmesg` says why; replace a failing card" in message


def test_a_bundle_without_a_file_of_its_card_is_blamed_on_the_model(tmp_path, good):
    bundle = bundle_of(tmp_path / "new", "2.0.0")
    (bundle / "golden.npz").unlink()
    assert "golden.npz: No such file or directory; the bundle is incomplete" in fails(bundle, good)
