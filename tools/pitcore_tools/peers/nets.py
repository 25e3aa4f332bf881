"""Runs the same kind of network in other libraries. Some weights are random, because time does not depend on them.

Random weights come from torch's initialisation, so none is subnormal.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pitcore.errors import BundleError
from pitcore.inference.session import open_network, session_options
from pitcore_tools.export.graph import INPUT, OUTPUT, float_graph
from pitcore_tools.networks.resnet import ResNet
from pitcore_tools.networks.zoo import build
from pitcore_tools.peers.ncnn_model import NcnnModel, largest_inputs, ncnn_model
from pitcore_tools.quantise.static import quantise, to_nchw

SEED = 20260101
PEER_PX = 128  # size used in production and in the published figures

Crops = NDArray[np.uint8]
Net = Callable[[Crops], NDArray[np.float32]]


def torch_eager(architecture: str, planes: int, threads: int) -> Net:
    """Return torch's eager float network; with three planes green is inserted, as in production."""
    torch.manual_seed(SEED)
    network = build(architecture, planes, 2).eval()  # type: ignore[arg-type]  # one of its names

    def run(crops: Crops) -> NDArray[np.float32]:
        torch.set_num_threads(threads)
        pixels = np.zeros((len(crops), planes, *crops.shape[1:3]), np.float32)
        pixels[:, :: planes - 1] = crops.transpose(0, 3, 1, 2)
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(pixels) / 255.0).numpy())

    return run


def onnxruntime_float(threads: int) -> Net:
    """Return a float ResNet18 of 128 px in ONNX Runtime."""
    options = session_options(threads)
    session = open_network(resnet18().SerializeToString(), options)
    return lambda crops: np.asarray(session.run([OUTPUT], {INPUT: to_nchw(crops)})[0])


def onnxruntime_int8(threads: int, calibration: Crops) -> Net:
    """Return the quantised ResNet18 of 128 px in ONNX Runtime; the gain of smaller crops is measured against it."""
    options = session_options(threads)
    graph = quantise(resnet18(), calibration, "minmax")
    session = open_network(graph.SerializeToString(), options)
    return lambda crops: np.asarray(session.run([OUTPUT], {INPUT: crops})[0])


def openvino_int8(threads: int, calibration: Crops) -> Net:
    """Return the same quantised ResNet18 in OpenVINO, which reads QDQ graphs.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    import openvino  # noqa: PLC0415  a peer that need not be there

    core: Any = openvino.Core()
    model = core.read_model(quantise(resnet18(), calibration, "minmax").SerializeToString())
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda crops: np.asarray(next(iter(request.infer({0: crops}).values())))


def ncnn_int8(threads: int, calibration: Crops) -> Net:
    """Return a ResNet18 of 128 px in ncnn, quantised like by ncnn's tools.

    Raises:
        ImportError: ncnn is not installed.
    """
    model = resnet18()
    return ncnn_net(ncnn_model(model, largest_inputs(model, to_nchw(calibration))), threads)


def ncnn_net(model: NcnnModel, threads: int) -> Net:
    """Return a model in ncnn. Threads share the batch, because ncnn's OpenMP threads synchronise at every layer.

    Raises:
        BundleError: ncnn does not load the model.
        ImportError: ncnn is not installed.
    """
    import ncnn  # noqa: PLC0415  a peer that need not be there

    net: Any = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_winograd_convolution = False  # with VNNI the plain int8 form takes about half the time
    with tempfile.TemporaryDirectory() as folder:
        (weights := Path(folder) / "bin").write_bytes(model.weights)
        if net.load_param_mem(model.param) or net.load_model(str(weights)):
            raise BundleError("ncnn did not load what ncnn_model wrote; its own message stands above")
    pool = ThreadPoolExecutor(threads)

    def share(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        extractor = net.create_extractor()
        extractor.input(INPUT, ncnn.Mat(pixels, batch_index=0))
        _, logits = extractor.extract(OUTPUT)
        return np.array(logits.numpy(batch_index=0))  # copies: ncnn owns the memory

    def run(crops: Crops) -> NDArray[np.float32]:
        shares = np.array_split(to_nchw(crops), min(threads, len(crops)))
        return np.concatenate(list(pool.map(share, shares)))

    return run


def resnet18() -> Any:  # noqa: ANN401  onnx's model
    """Return the ResNet18 of 128 px and two planes that every peer but production runs, as a float graph."""
    torch.manual_seed(SEED)
    return float_graph(ResNet().eval(), PEER_PX)[0]
