"""The zoo: torchvision's sizes and names, and weights of other people."""

import numpy as np
import onnx
import pytest
import torch

from pitcore.errors import BundleError, DataError
from pitcore_tools.export.graph import float_graph
from pitcore_tools.networks.resnet import Bottleneck, ResNet, Shape
from pitcore_tools.networks.zoo import build, load_pretrained
from pitcore_tools.quantise.static import float_ops, op_histogram, quantise, run, session_for, to_nchw
from pitcore_tools.train.loop import logits_of
from tests.tools.conftest import TINY, changed

NARROW = [8, 8, 16, 16]
# Parameters with three planes and 1,000 classes, as torchvision.models documents them.
SIZES = {
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "mobilenet_v3_large": 5_483_032,
    "efficientnet_b0": 5_288_548,
}
NAMES = {
    "resnet18": ["conv1.weight", "layer1.0.conv1.weight", "layer4.1.bn2.weight", "layer2.0.downsample.0.weight"],
    "resnet50": ["layer1.0.downsample.1.bias", "layer3.5.conv3.weight", "layer4.2.bn3.running_var", "fc.bias"],
    "mobilenet_v3_large": [
        "features.0.0.weight",
        "features.1.block.0.0.weight",
        "features.4.block.2.fc1.bias",
        "features.15.block.3.1.weight",
        "features.16.1.bias",
        "classifier.3.weight",
    ],
    "efficientnet_b0": [
        "features.1.0.block.1.fc2.weight",
        "features.6.3.block.3.0.weight",
        "features.7.0.block.2.fc1.weight",
        "features.8.0.weight",
        "classifier.1.weight",
    ],
}


@pytest.fixture(scope="module")
def crops():
    pixels = np.random.default_rng(0).integers(1, 255, (64, 48, 48, 2), np.uint8)
    pixels[:, :9] = pixels[:, :, 40:] = 0
    return pixels


def seen(network):
    """Give the batch norms statistics of their own."""
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(8, 2, 48, 48))
    return network.eval()


@pytest.mark.parametrize("architecture", SIZES)
def test_a_network_has_torchvisions_size_and_names(architecture):
    network = build(architecture, 3, 1000)
    assert sum(value.numel() for value in network.parameters()) == SIZES[architecture]
    assert set(NAMES[architecture]) <= network.state_dict().keys()


@pytest.mark.parametrize("architecture", SIZES)
def test_a_network_takes_two_planes_and_trains(architecture):
    torch.manual_seed(0)
    network = build(architecture, 2, 3, NARROW if architecture.startswith("resnet") else [])
    logits = network(torch.rand(4, 2, 48, 48))
    logits.square().sum().backward()
    assert logits.shape == (4, 3)
    assert all(value.grad is not None for value in network.parameters())


def test_without_pooling_every_stage_is_twice_as_fine():
    sizes = []
    for stem in ("pooled", "fine"):
        network = build("resnet18", 2, 2, NARROW, stem)
        network.layer1.register_forward_hook(lambda *call: sizes.append(call[2].shape[-1]))
        network(torch.rand(2, 2, 64, 64))
    assert sizes == [16, 32]


@pytest.mark.parametrize("architecture", SIZES)
def test_weights_of_three_planes_give_the_same_answer_for_two(architecture, tmp_path):
    widths = NARROW if architecture.startswith("resnet") else []
    torch.manual_seed(1)
    theirs = build(architecture, 3, 2, widths).eval()
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in theirs.state_dict().items()}}, tmp_path / "c.pt"
    )
    ours = build(architecture, 2, 2, widths)
    assert load_pretrained(ours, tmp_path / "c.pt") == []
    pixels = torch.rand(2, 3, 48, 48)
    pixels[:, 1] = 0  # green
    with torch.no_grad():
        assert torch.allclose(ours.eval()(pixels[:, ::2]), theirs(pixels), atol=1e-5)


def test_a_last_layer_of_other_classes_stays_fresh(tmp_path):
    torch.save(build("resnet18", 3, 1000, NARROW).state_dict(), tmp_path / "imagenet.pt")
    network = build("resnet18", 2, 2, NARROW)
    before = network.fc.weight.clone()
    assert load_pretrained(network, tmp_path / "imagenet.pt") == ["fc.bias", "fc.weight"]
    assert torch.equal(network.fc.weight, before)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: build("mobilenet_v3_large", 3, 2).state_dict(), "lacks bn1.bias, .* has besides classifier.0.bias"),
        (
            lambda: build("resnet18", 3, 2, [8, 8, 16, 32]).state_dict(),
            r"layer4.0.conv1.weight is \(32, 16, 3, 3\), this network wants \(16, 16, 3, 3\)",
        ),
        (lambda: {"weights": [1, 2]}, "no state dict of tensors"),
        (dict, "no state dict of tensors"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_the_names(content, said, tmp_path):
    torch.save(content(), tmp_path / "c.pt")
    with pytest.raises(DataError, match=said):
        load_pretrained(build("resnet18", 2, 2, NARROW), tmp_path / "c.pt")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "c.pt").write_bytes(b"PK no")
    for name, said in (("c.pt", "not a checkpoint of torch"), ("missing.pt", "cannot be read")):
        with pytest.raises(DataError, match=said):
            load_pretrained(build("resnet18", 2, 2, NARROW), tmp_path / name)


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("shape", [Shape(widths=NARROW, pooled=False), Shape(Bottleneck, (1, 2, 1, 1), NARROW)])
def test_the_exported_graph_computes_what_the_network_does(shape, normalised, crops):
    torch.manual_seed(2)
    network = seen(ResNet(shape=shape))
    model, _ = float_graph(network, 48, normalised=normalised)
    recipe = changed(TINY, normalise=normalised)
    np.testing.assert_allclose(run(session_for(model), to_nchw(crops)), logits_of(network, crops, recipe), atol=2e-5)


def test_a_resnet_of_bottlenecks_becomes_integer_kernels_alone(crops):
    torch.manual_seed(3)
    network = seen(ResNet(shape=Shape(Bottleneck, (1, 2, 1, 1), NARROW)))
    histogram = op_histogram(quantise(float_graph(network, 48)[0], crops, "minmax"))
    assert float_ops(histogram) == set()
    assert histogram["QLinearConv"] == 1 + 5 * 3 + 4
    assert histogram["QLinearAdd"] == 5


def test_a_network_without_an_export_says_which_have_one():
    with pytest.raises(BundleError, match="bundles hold resnet18 or resnet50"):
        float_graph(build("efficientnet_b0", 2, 2), 48)


def test_the_map_of_means_knows_where_the_padding_lies(crops):
    torch.manual_seed(4)
    model, _ = float_graph(seen(ResNet(shape=Shape(widths=NARROW))), 48, normalised=True)
    (means,) = (onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == "mean")
    assert means.shape == (1, 8, 24, 24)
    assert np.ptp(means[0, :, 3:-3, 3:-3], axis=(1, 2)).max() < 1e-5
    assert np.ptp(means, axis=(2, 3)).max() > 0.1
