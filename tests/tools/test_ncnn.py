import numpy as np
import pytest

from pitcore_tools.export.graph import INPUT
from pitcore_tools.peers.ncnn_model import largest_inputs, ncnn_model
from pitcore_tools.quantise.static import to_nchw

COUNT, PX = 12, 128


@pytest.fixture(scope="module")
def nets():
    pytest.importorskip("ncnn", reason="the peers are an extra: make peers")
    from pitcore_tools.peers import nets  # noqa: PLC0415

    return nets


def crops():
    """Discs of many sizes and brightnesses, for which a network with any weights gives different outputs."""
    chance = np.random.default_rng(5)
    rows, columns = np.mgrid[:PX, :PX]
    pixels = np.zeros((COUNT, PX, PX, 2), np.uint8)
    for number in range(COUNT):
        for plane in range(2):
            y, x, radius = chance.integers(30, PX - 30), chance.integers(30, PX - 30), chance.integers(8, 60)
            pixels[number, (rows - y) ** 2 + (columns - x) ** 2 < radius**2, plane] = chance.integers(60, 256)
    return pixels


def margins(logits):
    """Return the difference of the two logits, from which the verdict follows."""
    return logits[:, 1] - logits[:, 0]


@pytest.fixture(scope="module")
def answers(nets):
    """Logits of torch, of ncnn in float and of ncnn in int8: one network, the same crops."""
    graph = nets.resnet18()
    return (
        nets.torch_eager("resnet18", 2, 1)(crops()),
        nets.ncnn_net(ncnn_model(graph), 1)(crops()),
        nets.ncnn_int8(1, crops())(crops()),
    )


def test_ncnn_computes_the_very_network_that_torch_does(answers):
    torch_logits, float_logits, _ = answers
    assert margins(torch_logits).std() > 0.05  # the crops are distinguished, so that what follows says something
    np.testing.assert_allclose(float_logits, torch_logits, atol=2e-3)


def test_ncnn_int8_orders_the_crops_as_the_float_network_does(answers):
    torch_logits, _, int8_logits = answers
    wanted, found = margins(torch_logits), margins(int8_logits)
    assert np.corrcoef(wanted, found)[0, 1] > 0.99
    middle = np.median(wanted)
    clear = np.abs(wanted - middle) > 0.2 * wanted.std()  # by the least of quantisation either answer would be right
    assert clear.sum() >= COUNT // 2
    np.testing.assert_array_equal((found > middle)[clear], (wanted > middle)[clear])


@pytest.mark.parametrize("count", [1, 5])
def test_ncnn_gives_the_same_with_every_number_of_threads(nets, answers, count):
    two = nets.ncnn_int8(2, crops())
    np.testing.assert_array_equal(two(crops()[:count]), answers[2][:count])


def test_ncnn_hands_int8_from_convolution_to_convolution_and_float_to_sums(nets, tmp_path):
    import ncnn  # noqa: PLC0415  skipped where it is not installed

    graph, pixels = nets.resnet18(), to_nchw(crops())
    model = ncnn_model(graph, largest_inputs(graph, pixels))
    (tmp_path / "bin").write_bytes(model.weights)
    net = ncnn.Net()
    assert net.load_param_mem(model.param) == 0
    assert net.load_model(str(tmp_path / "bin")) == 0
    bits = {}
    for node in graph.graph.node:
        if node.op_type == "Relu":
            extractor = net.create_extractor()
            extractor.input(INPUT, ncnn.Mat(pixels[0]))
            _, blob = extractor.extract(node.output[0], 1)  # 1: as the layer left it
            bits[node.output[0]] = blob.elembits()
    inside = {name for name in bits if name.endswith(".relu1")}
    assert len(inside) == 8
    assert {name for name in bits if bits[name] == 8} == inside
    assert {bits[name] for name in bits.keys() - inside} == {32}
