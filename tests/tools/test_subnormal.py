import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from pitcore.errors import DataError
from pitcore.preprocess._core import FlushToZero
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.export.denormals import measure, poisoned
from pitcore_tools.export.graph import float_graph
from pitcore_tools.export.subnormal import find, is_tiny, weights_of, zeroed
from pitcore_tools.networks.resnet import ResNet, Shape

VALUES = np.array([0.0, -0.0, 1e-45, -3e-39, 1.2e-38, -9e-36, 1.1e-35, 1.0, np.nan, -np.inf], np.float32)


@pytest.fixture(scope="module")
def graph():
    torch.manual_seed(1)
    return float_graph(ResNet(shape=Shape(widths=[8, 8, 8, 8])), 48)[0]


def command(*words):
    result = CliRunner().invoke(pitcore_tools, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_what_is_too_small_is_found_even_where_the_thread_flushes():
    wanted = [False, False, True, True, True, True, False, False, False, False]
    assert is_tiny(VALUES).tolist() == wanted
    with FlushToZero():
        assert is_tiny(VALUES).tolist() == wanted
        (tiny,) = find([("v", VALUES), ("w", np.ones(3, np.float32))])
    assert (tiny.tensor, tiny.count, tiny.subnormal, tiny.of) == ("v", 4, 2, 10)


def test_a_graph_gets_the_requested_share_of_subnormal_weights_and_can_be_cleaned(graph):
    assert find(weights_of(graph)) == []
    found = find(weights_of(poisoned(graph, 0.25)))
    total = sum(tiny.of for tiny in found)
    assert sum(tiny.subnormal for tiny in found) / total == pytest.approx(0.25, abs=0.02)
    assert len(found) == 20  # every convolution
    assert find(weights_of(zeroed(poisoned(graph, 0.25)))) == []


def test_inspect_names_the_tensor_and_writes_a_graph_without_it(graph, tmp_path):
    onnx.save(poisoned(graph, 0.1), tmp_path / "bad.onnx")
    said = command("inspect", tmp_path / "bad.onnx", "--zero", tmp_path / "good.onnx")
    assert "conv1.weight: " in said
    assert "of 784 below 1e-35" in said
    assert "subnormal   none" in command("inspect", tmp_path / "good.onnx")


def test_inspect_cleans_a_checkpoint_and_leaves_the_rest_as_it_was(tmp_path):
    state = ResNet(shape=Shape(widths=[8, 8, 8, 8])).state_dict()
    before = state["conv1.weight"].clone()
    state["conv1.weight"][0, 0, 0, :3] = torch.tensor([1e-40, -1e-36, 1e-30])
    torch.save(state, tmp_path / "bad.pt")
    said = command("inspect", tmp_path / "bad.pt", "--zero", tmp_path / "good.pt")
    assert "conv1.weight: 2 of 784 below 1e-35, 1 of them subnormal" in said
    clean = torch.load(tmp_path / "good.pt", weights_only=True)
    assert clean["conv1.weight"][0, 0, 0, :3].tolist() == [0.0, 0.0, pytest.approx(1e-30)]
    assert torch.equal(clean["conv1.weight"][1:], before[1:])
    assert clean["bn1.num_batches_tracked"].dtype == torch.int64


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("no.onnx", None, "cannot be read"),
        ("text.onnx", b"\x07\x07no", "not an ONNX graph"),
        ("no.pt", None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_model_is_one_line(name, content, said, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        command("inspect", tmp_path / name)


def test_a_bundle_is_not_rewritten_behind_its_hashes(tmp_path):
    with pytest.raises(DataError, match="`quantise` already cleans a bundle"):
        command("inspect", "--zero", tmp_path / "out")


def test_the_bundled_model_has_no_subnormal_weights():
    assert "subnormal   none" in command("inspect")


def test_guard_and_zeroing_change_no_answer():
    clean, bare, guarded, cleaned = measure(0.5, 3)
    assert [cost.name for cost in (clean, bare, guarded, cleaned)] == [
        "clean",
        "poisoned",
        "poisoned, guarded",
        "poisoned, then zeroed",
    ]
    assert bare.off_by == 0
    assert guarded.off_by < 1e-5
    assert cleaned.off_by < 1e-5
    assert clean.off_by > 1e-3  # half of its weights are others


def test_the_demonstration_prints_every_variant():
    said = command("denormals", "--rounds", "3")
    assert "50% of weights subnormal" in said
    assert said.count("of clean") == 4
