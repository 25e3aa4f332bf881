import hashlib
import json

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from pitcore.camera.crops import fold_of
from pitcore.emulator.single import render_crop
from pitcore.errors import BundleError, DataError
from pitcore.inference.session import Session
from pitcore.model_card import DEFAULT_BUNDLE, load_bundle
from pitcore.preprocess.prepare import CropSpec, crop_from_image
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.evaluate.logits import read_logits
from pitcore_tools.export.graph import float_graph
from pitcore_tools.export.subnormal import SMALLEST_WEIGHT
from pitcore_tools.networks.resnet import ResNet, Shape
from pitcore_tools.quantise import static
from pitcore_tools.quantise.bundle import GOLDEN_SEED
from pitcore_tools.quantise.graph import check_export, load_run
from pitcore_tools.quantise.static import float_ops, op_histogram, quantise, run, session_for, to_nchw
from pitcore_tools.train.dataset import read_crops
from pitcore_tools.train.loop import MODEL, load_network, logits_of, train
from tests.camera.belts import write_crop
from tests.tools.conftest import TINY, changed


@pytest.fixture(scope="module")
def resnet():
    """The real network, but narrow, with random weights, whose batch norms have seen some crops."""
    torch.manual_seed(0)
    network = ResNet(shape=Shape(widths=(8, 8, 16, 32)))
    network.train()
    for _ in range(3):
        network(torch.rand(8, 2, 80, 80))
    return network.eval()


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 255, (64, 80, 80, 2), np.uint8)


@pytest.fixture(scope="module")
def int8(resnet, crops):
    return quantise(float_graph(resnet, 80)[0], crops, "minmax")


def test_the_exported_graph_computes_what_the_network_does(resnet, crops):
    model, _ = float_graph(resnet, 80)
    reference = logits_of(resnet, crops, TINY)
    assert check_export(model, crops, reference) < 1e-5
    with pytest.raises(BundleError, match="the export is wrong"):
        check_export(model, crops, reference + 1)


def test_exporting_leaves_the_network_as_it_was(resnet):
    before = resnet.conv1.weight.clone()
    float_graph(resnet, 80)
    assert torch.equal(before, resnet.conv1.weight)


def test_every_convolution_is_an_integer_kernel(int8):
    histogram = op_histogram(int8)
    assert histogram["QLinearConv"] == 20
    assert histogram["QLinearAdd"] == 8
    assert histogram["QGemm"] == 1
    assert float_ops(histogram) == set()


def test_the_int8_graph_takes_the_crops_bytes_and_gives_float_logits(int8):
    (value,) = int8.graph.input
    assert value.name == "crops"
    assert value.type.tensor_type.elem_type == 2  # uint8
    assert [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:] == [80, 80, 2]
    assert int8.graph.output[0].type.tensor_type.elem_type == 1  # float32


def test_quantised_logits_follow_the_float_ones(resnet, int8, crops):
    found, reference = run(session_for(int8), crops), logits_of(resnet, crops, TINY)
    spread = np.abs(reference - reference.mean(axis=0)).max()
    assert np.abs(found - reference).max() < 0.3 * max(spread, 0.05)


def first_kernel(model):
    (first, *_) = (node for node in model.graph.node if node.op_type == "Conv")
    return next(list(attribute.ints) for attribute in first.attribute if attribute.name == "kernel_shape")


def test_gathering_blocks_of_pixels_changes_no_logit(resnet, int8, crops, monkeypatch):
    monkeypatch.setattr(static, "_blocks_as_channels", lambda model: model)
    plain = quantise(float_graph(resnet, 80)[0], crops, "minmax")
    assert (first_kernel(plain), first_kernel(int8)) == ([7, 7], [4, 4])
    np.testing.assert_array_equal(run(session_for(int8), crops), run(session_for(plain), crops))


def test_odd_crops_keep_the_convolution_as_it_was(crops):
    torch.manual_seed(0)
    small = ResNet(shape=Shape(widths=(16, 16, 16, 16))).eval()
    model = quantise(float_graph(small, 79)[0], np.ascontiguousarray(crops[:, :79, :79]), "minmax")
    assert first_kernel(model) == [7, 7]
    assert run(session_for(model), crops[:, :79, :79]).shape == (len(crops), 2)


def test_subnormal_weights_are_zeroed_and_counted(crops):
    torch.manual_seed(1)
    network = ResNet(shape=Shape(widths=[8, 8, 8, 8])).eval()
    with torch.no_grad():
        network.layer1[0].conv1.weight[0, 0] = 1e-39
        network.fc.weight[0, :3] = -1e-40
    model, zeroed = float_graph(network, 80)
    assert zeroed == 12
    for tensor in model.graph.initializer:
        values = np.frombuffer(tensor.raw_data, np.float32) if tensor.data_type == 1 else np.zeros(1, np.float32)
        assert not ((values != 0) & (np.abs(values) < SMALLEST_WEIGHT)).any()
    assert run(session_for(model), to_nchw(crops[:2])).shape == (2, 2)


def test_too_few_crops_to_calibrate_are_refused(resnet, crops):
    with pytest.raises(DataError, match="too few to calibrate"):
        quantise(float_graph(resnet, 80)[0], crops[:5], "minmax")


def test_a_graph_gives_the_same_bytes_on_one_core_and_on_several(monkeypatch):
    side = load_bundle(DEFAULT_BUNDLE).card.crop_size_px
    crops = np.random.default_rng(5).integers(0, 256, (100, side, side, 2), dtype=np.uint8)  # three pieces and a rest
    session = session_for(onnx.load(DEFAULT_BUNDLE / "model.onnx"))
    found = set()
    for cores in (1, 2, 3, 4):
        monkeypatch.setattr(static, "usable_cores", lambda cores=cores: cores)
        logits = run(session, crops)
        assert logits.shape == (100, 2)
        found.add(logits.tobytes())
    assert len(found) == 1


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, procedural_crops):
    """A whole bundle from a tiny run, made by the command a user would give."""
    folder = tmp_path_factory.mktemp("quantise")
    torch.set_num_threads(1)
    learnt = changed(TINY, epochs=24, learning_rate=0.005)  # thresholds are refused to a net that knows nothing
    train(learnt, procedural_crops, folder / "run", lambda _: None)
    command = ["quantise", str(folder / "run"), "--data", str(procedural_crops), "--out", str(folder / "bundle")]
    for _ in range(2):  # the second time replaces the first
        result = CliRunner().invoke(pitcore_tools, [*command, "--logits", str(folder / "logits.csv")])
        assert result.exit_code == 0, result.output
    return folder


def test_the_bundle_is_whole_and_the_board_can_run_it(bundle):
    opened = load_bundle(bundle / "bundle")
    session = Session(opened, capacity=8)
    assert session.run(8).shape == (8, 2)
    assert opened.card.crop_size_px == 48
    assert sorted(path.name for path in bundle.iterdir()) == ["bundle", "logits.csv", "run"]


def test_the_card_tells_the_board_what_the_held_out_crops_are_like(bundle, procedural_crops):
    card = load_bundle(bundle / "bundle").card
    held_out = [crop for crop in read_crops(procedural_crops) if fold_of(crop.hash, TINY.folds) == TINY.held_out_fold]
    pits = sum(crop.label for crop in held_out)
    assert (
        card.reference.how == f"crops of fold {TINY.held_out_fold} of {TINY.folds}: {len(held_out)}, {pits} with a pit"
    )
    for name in ("pit_probability", "area_px", "mean_top", "mean_bottom"):
        figure = card.reference.figures[name]
        assert (sum(figure.clean), sum(figure.pit)) == (len(held_out) - pits, pits)
    trained = load_run(bundle / "run", procedural_crops)  # each probability is counted with the label of its own crop
    assert [crop.hash for crop in trained.pictures] == trained.held_out.hashes
    dark = min(crop.pixels[..., 0].sum() / (crop.pixels > 0).any(axis=2).sum() for crop in held_out)
    edges = card.reference.figures["mean_top"].edges
    assert dark < edges[0] < edges[-1] < 255


def test_golden_vectors_are_procedural_and_no_crop_of_a_real_cherry(bundle):
    for folder in (bundle / "bundle", DEFAULT_BUNDLE):
        card = load_bundle(folder).card
        spec = CropSpec(card.crop_size_px, card.resize, len(card.planes))
        with np.load(folder / "golden.npz") as golden:
            for index, crop in enumerate(golden["crops"]):
                np.testing.assert_array_equal(crop, crop_from_image(render_crop(GOLDEN_SEED, index)[0], spec))
            assert len(golden["crops"]) == 32


def test_the_logits_are_of_held_out_crops_only_and_equal_the_boards(bundle, procedural_crops):
    held_out = read_logits(bundle / "logits.csv")
    assert set(held_out.folds.tolist()) == {1}
    result = CliRunner().invoke(
        pitcore_tools,
        [
            "evaluate",
            "--logits",
            str(bundle / "logits.csv"),
            "--data",
            str(procedural_crops),
            "--bundle",
            str(bundle / "bundle"),
            "--json",
        ],
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["crops"] == len(held_out.hashes)
    assert found["int8_margins_off_by"] < 1e-4  # the CSV has five places


def test_metrics_say_which_fold_was_held_out(bundle):
    metrics = json.loads((bundle / "bundle" / "metrics.json").read_text())
    assert metrics["split"] == {"by": "crop_hash", "folds": 3, "held_out_fold": 1}


def test_inspect_names_the_operators(bundle):
    result = CliRunner().invoke(pitcore_tools, ["inspect", str(bundle / "bundle")])
    assert "'QLinearConv': 20" in result.output
    assert "float       none" in result.output


def test_export_writes_a_float_graph(bundle, tmp_path):
    result = CliRunner().invoke(pitcore_tools, ["export", str(bundle / "run"), "--out", str(tmp_path / "float.onnx")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "float.onnx").stat().st_size > 10_000


def test_an_unfinished_run_cannot_be_exported(tmp_path, bundle):
    (tmp_path / "config.yaml").write_bytes((bundle / "run" / "config.yaml").read_bytes())
    with pytest.raises(DataError, match="finish the training run first"):
        load_network(tmp_path)
    (tmp_path / MODEL).write_bytes(b"")
    with pytest.raises(DataError, match="not the weights of this recipe"):
        load_network(tmp_path)


def test_the_card_holds_the_hash_of_every_file(bundle):
    folder = bundle / "bundle"
    card = json.loads((folder / "card.json").read_text())
    for name, digest in card["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("name", ["notes.txt", "run"])
def test_a_folder_that_is_no_bundle_is_never_replaced(bundle, procedural_crops, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("dear to somebody")
    command = ["quantise", str(bundle / "run"), "--data", str(procedural_crops), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(pitcore_tools, command)
    assert isinstance(result.exception, DataError)
    assert f"holds {name}, so it is no bundle" in str(result.exception)
    assert (tmp_path / "out" / name).read_text() == "dear to somebody"


def test_margins_of_another_net_are_refused(bundle, procedural_crops):
    command = ["evaluate", "--data", str(procedural_crops), "--logits", str(bundle / "logits.csv")]
    result = CliRunner().invoke(pitcore_tools, command)  # the bundled model: not this run's
    assert isinstance(result.exception, DataError)
    assert "of another net, give its --bundle" in str(result.exception)


def test_a_folder_without_the_held_out_crops_is_one_clear_line(bundle, tmp_path):
    for folder in ("cherry_clean", "cherry_pit"):
        write_crop(tmp_path / folder / "a.png", np.full((20, 20, 2), 90 + len(folder), np.uint8))
    command = ["evaluate", "--data", str(tmp_path), "--logits", str(bundle / "logits.csv")]
    result = CliRunner().invoke(pitcore_tools, command)
    assert isinstance(result.exception, DataError)
    assert "held-out crops are not there" in str(result.exception)
