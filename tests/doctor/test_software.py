import os
import re
import subprocess
import tomllib

import msgspec
import onnx
import pytest
from onnx import TensorProto, helper

from pitcore.config import Config, DecisionConfig, ModelConfig, decode_config, load_config
from pitcore.doctor import software
from pitcore.errors import BundleError
from tests.conftest import ROOT, write_tiny_bundle


def test_the_network_that_doctor_carries_multiplies_by_one_and_is_made_as_said():
    node = helper.make_node("Mul", ["x", "one"], ["y"])
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [n]) for name, n in (("x", "n"), ("one", 1))]
    graph = helper.make_graph([node], "mul", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10, producer_name="")
    assert onnx.ModelProto.FromString(software.MULTIPLY) == made


def test_workers_that_flush_pass(monkeypatch):
    monkeypatch.setattr(software, "TRIES", 2000)  # however busy the machine is, in one of them a worker takes part
    check = software.check_flush_to_zero()
    assert check.status == "ok" or len(os.sched_getaffinity(0)) == 1


def test_workers_that_do_not_flush_are_reported(monkeypatch):
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


def test_an_emulated_belt_on_a_board_is_reported(tmp_path):
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


@pytest.mark.parametrize(
    ("model", "fix"),
    [
        (ModelConfig(store="/s"), "pitcore update rollback, or"),
        (ModelConfig(bundle="/b"), "copy this bundle again"),
        (ModelConfig(), "reinstall pitcore"),
    ],
)
def test_only_a_model_of_an_update_is_to_be_rolled_back(monkeypatch, model, fix):
    def damaged(_):
        raise BundleError("damaged")

    monkeypatch.setattr(software, "open_bundle", damaged)
    check = software.check_model(msgspec.structs.replace(Config(), model=model))
    assert (check.status, check.found) == ("fail", "damaged")
    assert check.fix.startswith(fix)


def test_thresholds_that_the_model_does_not_allow_fail(tiny_bundle):
    config = msgspec.structs.replace(with_bundle(tiny_bundle), decision=DecisionConfig(accept=0.9))
    check = software.check_model(config)
    assert (check.status, "[decision] accept = 0.9" in check.found) == ("fail", True)
    assert "rollback" not in check.fix


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("ModuleNotFoundError: No module named 'libcamera'", "--system-site-packages"),
        ("ValueError: numpy.dtype size changed, may indicate binary incompatibility", "numpy<2"),
        ("ImportError: libcamera.so.0.5: cannot open shared object file", "--reinstall"),
    ],
)
def test_each_way_in_which_picamera2_does_not_load_has_its_fix(said, fix):
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


PAGE_AND_MORE = """
[page]
enabled = true
[metrics]
enabled = true
[mqtt]
enabled = true
"""


def test_each_package_that_the_configuration_needs_and_is_missing_is_named_with_one_fix():
    config = decode_config(PAGE_AND_MORE, "board.toml")
    check = software.check_extras(config, lambda module: module not in {"starlette", "paho"})
    assert check.status == "warn"
    assert check.found == ("[page] needs starlette; [mqtt] needs paho-mqtt: not installed; the service runs without it")
    assert check.fix == "pip install 'pitcore[page,mqtt]'"
    assert software.check_extras(config, software.has_module).status == "ok"  # here all are installed
    assert software.check_extras(Config(), lambda _: False).found == "none is needed"


def test_a_board_whose_camera_needs_a_missing_package_must_not_go_to_the_line():
    config = load_config(ROOT / "firmware_configs" / "boards" / "webcam.toml")
    check = software.check_extras(config, lambda _: False)
    assert check.status == "fail"
    assert check.found == "[source] needs av: not installed"
    assert check.fix == "pip install 'pitcore[video]'"


def test_doctor_knows_every_package_of_the_extras_that_a_configuration_may_need():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra, modules in software.EXTRAS.items():
        packages = {re.match(r"[A-Za-z0-9_-]+", wanted).group() for wanted in project[extra]}
        assert packages == set(modules.values()), extra
    workstation = {"dev", "docs", "contract", "wheels", "modbus"}  # modbus needs nothing
    assert set(project) - workstation == set(software.EXTRAS) == set(software.WANTED_BY)
