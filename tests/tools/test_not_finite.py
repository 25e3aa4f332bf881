"""NaN and infinity, in weights and in logits: named and refused, or counted, by every command that meets them."""

import json
import math

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from onnx import numpy_helper

from pitcore.errors import DataError
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.evaluate.logits import HeldOut, write_logits
from pitcore_tools.networks.finite import refuse_not_finite
from pitcore_tools.networks.zoo import build
from pitcore_tools.train.loop import MODEL, train
from tests.conftest import tiny_network, write_tiny_bundle
from tests.tools.conftest import TINY, changed

WIDTHS = [8, 8, 16, 16]


def command(*words):
    result = CliRunner().invoke(pitcore_tools, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def checkpoint(path, **changes):
    state = build("resnet18", 3, 2, WIDTHS).state_dict()
    torch.save(state | {name: torch.full_like(state[name], value) for name, value in changes.items()}, path)
    return path


def test_the_tensors_are_named_and_counted():
    values = [("good", np.ones(3)), ("bad", np.array([1.0, math.nan, math.inf])), ("whole numbers", np.arange(3))]
    with pytest.raises(DataError, match=r"^net\.pt: NaN or infinity in bad \(2 of 3\); train it again$"):
        refuse_not_finite("net.pt", values)
    many = [(f"layer{number}", torch.full((2,), math.nan, dtype=torch.bfloat16)) for number in range(5)]
    with pytest.raises(DataError, match=r"layer2 \(2 of 2\) and 2 more tensors"):
        refuse_not_finite("net.pt", many)
    with pytest.raises(DataError, match="too large"):
        refuse_not_finite("net.pt", [("too large", np.array([1e39]))])  # for float32
    refuse_not_finite("net.pt", values[::2])


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["layer1.0.conv1.weight", "bn1.running_var"])
def test_import_and_inspect_refuse_a_checkpoint_by_the_name_of_its_tensor(tmp_path, name, value):
    path = checkpoint(tmp_path / "best.pt", **{name: value})
    for words in (("import", path, "--out", tmp_path / "run"), ("inspect", path)):
        with pytest.raises(DataError, match=rf"best\.pt: NaN or infinity in {name} \("):
            command(*words)
    assert not (tmp_path / "run").exists()


def test_export_refuses_what_only_its_batch_norm_makes_infinite(tmp_path):
    command(
        "import", checkpoint(tmp_path / "a.pt", **{"bn1.running_var": -1.0}), "--size", 48, "--out", tmp_path / "run"
    )
    with pytest.raises(DataError, match=r"the network, batch norms folded: NaN or infinity in conv1\.weight"):
        command("export", tmp_path / "run", "--out", tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.parametrize("words", [("export", "--out", "a.onnx"), ("quantise", "--data", "DATA", "--out", "bundle")])
def test_quantise_refuses_a_run_with_weights_that_are_not_finite(tmp_path, procedural_crops, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command("import", checkpoint(tmp_path / "best.pt"), "--size", 48, "--out", "run")
    weights = torch.load(tmp_path / "run" / MODEL)
    weights["fc.bias"][0] = math.nan
    torch.save(weights, tmp_path / "run" / MODEL)
    name, *rest = (str(procedural_crops) if word == "DATA" else word for word in words)
    with pytest.raises(DataError, match=r"model_best\.pt: NaN or infinity in fc\.bias \(1 of 2\)"):
        command(name, "run", *rest)


@pytest.mark.parametrize("where", ["weights", "constant"])
def test_inspect_refuses_a_graph_by_the_name_of_its_tensor(tmp_path, where):
    model = onnx.load_from_string(tiny_network())
    bad = numpy_helper.from_array(np.full((2, 2), np.nan, np.float16 if where == "constant" else np.float32), where)
    if where == "constant":
        model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["constant"], value=bad))
    else:
        model.graph.initializer[0].CopyFrom(bad)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match=rf"a\.onnx: NaN or infinity in {where} \(4 of 4\)"):
        command("inspect", tmp_path / "a.onnx")


def test_training_that_diverges_stops_at_its_epoch(tmp_path, procedural_crops, monkeypatch):
    def diverged(logits, target, _):
        return (logits - target).sum() * math.nan

    monkeypatch.setattr("pitcore_tools.train.loop.loss_of", diverged)
    with pytest.raises(DataError, match=r"epoch 1: NaN or infinity in .*; lower learning_rate"):
        train(changed(TINY, epochs=1), procedural_crops, tmp_path / "run", lambda _: None)
    assert not (tmp_path / "run" / MODEL).exists()


def test_score_counts_logits_that_are_no_numbers_as_the_board_judges_them(tmp_path, procedural_crops):
    bundle = write_tiny_bundle(tmp_path / "nan", tiny_network(nan_below=124.0))  # most crops are darker than that
    found = json.loads(command("score", bundle, "--data", procedural_crops, "--json"))
    unknown = found["not_finite"]
    assert unknown > 100
    assert found["accuracy"]["of"] == 120
    assert found["accuracy"]["hits"] <= 120 - unknown
    assert found["pit_recall"]["of"] == found["pits_that_pass"]["of"] == 60
    assert found["pit_recall"]["hits"] + found["pits_that_pass"]["hits"] <= 120 - unknown
    assert found["review"]["hits"] >= unknown
    said = command("score", bundle, "--data", procedural_crops)
    assert f"{unknown} of them got NaN or infinity: the board says maybe, and no figure counts them as right" in said


def test_a_table_of_logits_without_numbers_is_not_written(tmp_path):
    margins = np.array([1.0, math.nan])
    held_out = HeldOut(["0" * 16, "1" * 16], np.zeros(2, np.int64), np.array([0, 1]), np.ones(2), margins)
    with pytest.raises(DataError, match=r"logits\.csv: NaN or infinity in int8 margins \(1 of 2\)"):
        write_logits(tmp_path / "logits.csv", held_out)
    assert not (tmp_path / "logits.csv").exists()
