"""Writes a ResNet as an ONNX graph, node by node.

Batch norm and the scale of the input (1/255) are folded into the convolutions, so the graph has only convolutions,
ReLU, sums, a pooling at each end and one matrix. The sixty nodes are written directly and not traced, because the
quantiser needs exactly these patterns, and another version of a tracer may give others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from pitcore.errors import BundleError
from pitcore_tools.export.subnormal import is_tiny
from pitcore_tools.networks.finite import refuse_not_finite
from pitcore_tools.networks.resnet import BasicBlock, Bottleneck, ResNet
from pitcore_tools.train.augment import CROP_PLANES, statistics

INPUT, OUTPUT = "crops", "logits"
OPSET, IR_VERSION = 17, 9  # old enough for every supported runtime, new enough for per-channel QDQ
LARGEST_PIXEL = 255.0


class GraphWriter:
    """Collects nodes and weights. ``zeroed`` counts the weights that were too small to keep."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.zeroed = 0

    def weight(self, name: str, value: NDArray[np.float32]) -> str:
        """Add an initialiser with subnormals set to 0. Raises DataError if it is not finite."""
        refuse_not_finite("the network, batch norms folded", [(name, value)])
        tiny = is_tiny(value)
        self.zeroed += int(tiny.sum())
        self.weights.append(numpy_helper.from_array(np.where(tiny, np.float32(0), value), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:  # noqa: ANN401  onnx takes numbers, lists and strings
        """Add a node named after its output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{output}/{kind}", **attributes))
        return output

    def convolution(self, name: str, x: str, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> str:
        """Add a convolution with its batch norm folded in."""
        kernel, bias = fold(conv, norm)
        top, left = (int(value) for value in conv.padding)
        return self.node(
            "Conv",
            [x, self.weight(f"{name}.weight", kernel), self.weight(f"{name}.bias", bias)],
            name,
            kernel_shape=list(conv.kernel_size),
            strides=list(conv.stride),
            pads=[top, left, top, left],
        )

    def block(self, name: str, x: str, block: BasicBlock | Bottleneck) -> str:
        """Add a residual block."""
        layers = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
        if isinstance(block, Bottleneck):
            layers.append((block.conv3, block.bn3))
        inner = x
        for index, (conv, norm) in enumerate(layers, start=1):
            inner = self.convolution(f"{name}.conv{index}", inner, conv, norm)
            if index < len(layers):
                inner = self.node("Relu", [inner], f"{name}.relu{index}")
        if block.downsample is not None:
            shortcut, shortcut_norm = block.downsample
            assert isinstance(shortcut, nn.Conv2d)  # noqa: S101  narrows the type of an untyped container
            assert isinstance(shortcut_norm, nn.BatchNorm2d)  # noqa: S101
            x = self.convolution(f"{name}.downsample", x, shortcut, shortcut_norm)
        return self.node("Relu", [self.node("Add", [inner, x], f"{name}.sum")], f"{name}.relu{len(layers)}")


def fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return kernel (out, in, h, w) and bias (out,) of a convolution that includes the batch norm.

    y = gamma * (conv(x) - mean) / sqrt(var + eps) + beta, computed in double precision.
    """
    assert norm.running_mean is not None  # noqa: S101  narrows the type; we never switch the statistics off
    assert norm.running_var is not None  # noqa: S101
    gamma, beta, mean, var = (
        tensor.detach().double().numpy() for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    with np.errstate(invalid="ignore"):  # a negative variance gives NaN, which ``weight`` refuses with its name
        factor = gamma / np.sqrt(var + norm.eps)
    kernel = conv.weight.detach().double().numpy() * factor[:, None, None, None]
    return kernel.astype(np.float32), (beta - mean * factor).astype(np.float32)


def float_graph(network: nn.Module, size_px: int, *, normalised: bool = False) -> tuple[onnx.ModelProto, int]:
    """Write a network as a float graph: ``crops`` (n, planes, S, S) in 0..255 -> ``logits`` (n, classes).

    Args:
        network: a ResNet. If it is normalised and has three planes, the graph has two, because green is zero in every
            crop; the contribution of green's mean is in the map of means.
        size_px: side S of a crop.
        normalised: True if it was trained on crops normalised by ImageNet's mean and deviation. The deviation is folded
            into the first convolution. The mean cannot be folded into its bias, because the padding is zero *after* the
            normalisation, so it becomes a map that is added.

    Returns:
        The checked model, and the number of weights that were set to 0 because they were too small.

    Raises:
        BundleError: the network is not a ResNet.
        DataError: a weight is NaN or infinite, or becomes so by its batch norm.
    """
    if not isinstance(network, ResNet):
        raise BundleError(f"{type(network).__name__} cannot be exported; bundles hold resnet18 or resnet50")
    network.eval()
    writer = GraphWriter()
    kernel = network.conv1.weight.data / LARGEST_PIXEL
    if normalised:
        kernel = kernel / torch.tensor(_statistics(network)[1]).view(1, -1, 1, 1)
        kernel = kernel[:, CROP_PLANES] if kernel.shape[1] == 3 else kernel
    planes = kernel.shape[1]
    stem = nn.Conv2d(planes, len(kernel), 7, 2, 3, bias=False)  # a copy: the network stays as it is
    stem.weight.data = kernel
    x = writer.convolution("conv1", INPUT, stem, network.bn1)
    if normalised:
        x = writer.node("Add", [x, writer.weight("mean", _mean_map(network, size_px))], "centred")
    x = writer.node("Relu", [x], "relu")
    if isinstance(network.maxpool, nn.MaxPool2d):
        x = writer.node("MaxPool", [x], "maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for number, stage in enumerate(network.stages, start=1):
        for index, block in enumerate(stage):
            assert isinstance(block, BasicBlock | Bottleneck)  # noqa: S101  narrows the type of an untyped container
            x = writer.block(f"layer{number}.{index}", x, block)
    x = writer.node("Flatten", [writer.node("GlobalAveragePool", [x], "avgpool")], "features")
    weight, bias = (tensor.detach().numpy() for tensor in (network.fc.weight, network.fc.bias))
    writer.node("Gemm", [x, writer.weight("fc.weight", weight), writer.weight("fc.bias", bias)], OUTPUT, transB=1)
    shape_in: list[str | int | None] = ["n", planes, size_px, size_px]
    graph = helper.make_graph(
        writer.nodes,
        "pitcore",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape_in)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", network.fc.out_features])],
        writer.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model, writer.zeroed


def _mean_map(network: ResNet, size_px: int) -> NDArray[np.float32]:
    """Return the first layer's response to a crop of zeros after normalisation and batch norm, without its bias."""
    mean, deviation = (torch.tensor(values) for values in _statistics(network))
    level = -mean / deviation
    with torch.inference_mode():
        blank = level.view(1, -1, 1, 1).expand(1, -1, size_px, size_px)
        answer = network.bn1(network.conv1(blank)) - network.bn1(torch.zeros(1, network.conv1.out_channels, 1, 1))
    return np.ascontiguousarray(answer.numpy())


def _statistics(network: ResNet) -> tuple[list[float], list[float]]:
    """Return ImageNet's mean and deviation of the planes of a normalised network."""
    return statistics(rgb=network.conv1.in_channels == 3)
