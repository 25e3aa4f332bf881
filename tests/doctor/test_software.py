import os
import subprocess

import msgspec
import onnx
import pytest
from onnx import TensorProto, helper

from pitcore.config import Config, ModelConfig
from pitcore.doctor import software
from tests.conftest import write_tiny_bundle


def test_the_network_that_doctor_carries_multiplies_by_one_and_is_made_as_said():
    node = helper.make_node("Mul", ["x", "one"], ["y"])
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [n]) for name, n in (("x", "n"), ("one", 1))]
    graph = helper.make_graph([node], "mul", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10, producer_name="")
    assert onnx.ModelProto.FromString(software.MULTIPLY) == made


def test_workers_that_flush_are_seen_to_flush(monkeypatch):
    monkeypatch.setattr(software, "TRIES", 2000)  # however busy the machine is, in one of them a worker takes part
    check = software.check_flush_to_zero()
    assert check.status == "ok" or len(os.sched_getaffinity(0)) == 1


def test_workers_that_do_not_flush_are_told_of(monkeypatch):
    class Nothing:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(software, "FlushToZero", Nothing)
    monkeypatch.setattr(software, "session_options", lambda _: software.ort.SessionOptions())
    monkeypatch.setattr(software.os, "sched_getaffinity", lambda _: {0, 1})
    check = software.check_flush_to_zero()
    assert check.status == "warn"
    assert "inspect --zero" in check.fix


def test_a_bad_configuration_fails_with_its_own_words(tmp_path):
    (tmp_path / "board.toml").write_text("[decision]\nreject = 7\n")
    check, config = software.check_config(tmp_path / "board.toml")
    assert (check.status, config) == ("fail", None)
    assert "[decision] reject" in check.found
    assert "pitcore config check" in check.fix


def test_an_emulated_belt_on_a_board_is_told_of(tmp_path):
    (tmp_path / "board.toml").write_text('[source]\nkind = "emulated"\n')
    check, config = software.check_config(tmp_path / "board.toml")
    assert (check.status, config) == ("warn", Config())
    assert "no camera is checked" in check.found
    assert software.check_config(None)[0].status == "ok"


def with_bundle(bundle):
    return msgspec.structs.replace(Config(), model=ModelConfig(bundle=str(bundle)))


def test_a_good_model_says_that_its_golden_vectors_were_reproduced(tiny_bundle):
    check = software.check_model(with_bundle(tiny_bundle))
    assert check.status == "ok"
    assert "tiny@1.2.3, 5 files as its card says, golden vectors reproduced" in check.found


def test_an_altered_model_and_one_that_computes_something_else_fail(tmp_path, tiny_bundle):
    (tiny_bundle / "model.onnx").write_bytes(b"torn")
    assert "model.onnx" in software.check_model(with_bundle(tiny_bundle)).found
    shifted = write_tiny_bundle(tmp_path / "shifted", golden_shift=0.5)
    check = software.check_model(with_bundle(shifted))
    assert check.status == "fail"
    assert "golden vectors are off" in check.found
    assert "rollback" in check.fix


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("ModuleNotFoundError: No module named 'libcamera'", "--system-site-packages"),
        ("ValueError: numpy.dtype size changed, may indicate binary incompatibility", "numpy<2"),
        ("ImportError: libcamera.so.0.5: cannot open shared object file", "--reinstall"),
    ],
)
def test_each_way_in_which_picamera2_does_not_load_has_its_mend(said, fix):
    def failing(code):
        return subprocess.CompletedProcess([], 1, "", f"Traceback ...\n{said}\n")

    check = software.check_picamera2(failing, wanted=True)
    assert (check.status, check.found) == ("fail", said)
    assert fix in check.fix
    assert software.check_picamera2(failing, wanted=False).status == "skip"


def test_modules_are_tried_in_a_process_that_sees_what_we_see():
    done = software.run_python("import pitcore, numpy; print('there')")
    assert (done.returncode, done.stdout.strip()) == (0, "there")
    loads = software.check_picamera2(lambda _: subprocess.CompletedProcess([], 0, "1.26.4\n", ""), wanted=True)
    assert loads.found == "loads beside numpy 1.26.4"
