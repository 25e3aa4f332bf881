"""``pitcore-tools inspect`` and ``pitcore-tools denormals``."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from torch import Tensor

from pitcore.cli.parameters import InputPath, Number, OutputFile
from pitcore.cli.progress import progress
from pitcore.durable import replace_file
from pitcore.errors import DataError, first_line
from pitcore.model_card import DEFAULT_BUNDLE, load_bundle
from pitcore_tools.cli.kinds import NET
from pitcore_tools.export import subnormal
from pitcore_tools.export.denormals import measure
from pitcore_tools.networks.checkpoint import read_state, save_weights
from pitcore_tools.networks.finite import refuse_not_finite
from pitcore_tools.quantise.static import float_ops, op_histogram


@click.command()
@click.argument("model", default=DEFAULT_BUNDLE, type=InputPath())
@click.option(
    "--zero", "out", type=OutputFile(NET), help="Write the graph or checkpoint without subnormal weights to this file."
)
def inspect(model: Path, out: Path | None) -> None:
    """Print the operators of MODEL, and its subnormal weights, which only cost time.

    MODEL is a bundle, an ONNX graph (.onnx) or a checkpoint of torch (.pt, .pth). For a bundle or a graph it prints
    the operators of the optimised graph and which of them are float. A weight that is NaN or infinite is refused.

    \b
    Examples:
      pitcore-tools inspect
      pitcore-tools inspect best.pt --zero clean.pt
    """
    if model.suffix in (".pt", ".pth"):
        state = read_state(model)
        _say_tiny(model, [(name, value.numpy()) for name, value in state.items() if value.dtype == torch.float32], out)
        if out is not None:
            save_weights(out, {name: _zeroed(value) for name, value in state.items()})
        return
    if out is not None and model.suffix != ".onnx":
        raise DataError(
            f"{model}: --zero wants a graph or a checkpoint; `quantise` already cleans a bundle that it writes"
        )
    if model.suffix != ".onnx":
        opened = load_bundle(model)
        card, model = opened.card, opened.model_path
        click.echo(f"{opened.label}  {opened.sha256}")
        click.echo(f"  input       {card.dtype} {card.layout}, {card.crop_size_px} px, planes {', '.join(card.planes)}")
        click.echo(f"  thresholds  accept below {card.thresholds.accept}, reject from {card.thresholds.reject}")
    graph = _read_graph(model)
    refuse_not_finite(model, subnormal.float_tensors(graph), "export it again from finite weights")
    histogram = op_histogram(graph)
    click.echo(f"  operators   {dict(histogram.most_common())}")
    click.echo(f"  float       {', '.join(sorted(float_ops(histogram))) or 'none'}")
    _say_tiny(model, subnormal.weights_of(graph), out)
    if out is not None:
        replace_file(out, lambda file: file.write(subnormal.zeroed(graph).SerializeToString()))


@click.command()
@click.option("--share", default=0.5, show_default=True, type=Number(0.0, 1.0), help="Share of subnormal weights.")
@click.option("--rounds", default=25, show_default=True, type=click.IntRange(3, 10_000), help="Calls of each variant.")
def denormals(share: float, rounds: int) -> None:
    """Measure the cost of subnormal weights on this machine, and how much of it the guard saves.

    Builds a float ResNet18, makes a share of its weights subnormal, and times it in turns with the clean one: bare,
    under the guard that flushes them, and with them set to zero. The result depends on the processor: some take
    a hundred cycles for each, some none.

    \b
    Example:
      pitcore-tools denormals --rounds 50
    """
    with progress("rounds", rounds + 1) as bar:
        costs = measure(share, rounds, lambda: bar.update(1))
    click.echo(f"float ResNet18, 80 px, 8 crops a call, 1 thread, {share:.0%} of weights subnormal, {rounds} rounds")
    for cost in costs:
        off = "" if cost.name == "clean" else f"  logits within {cost.off_by:.1g} of the poisoned ones"
        click.echo(f"  {cost.name:22} {cost.median_ms:8.2f} ms  {cost.ratio} of clean{off}")


def _read_graph(path: Path) -> onnx.ModelProto:
    """Read an ONNX file. Raises DataError."""
    try:
        graph = onnx.load(path)
        onnx.checker.check_model(graph)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; give a bundle, a .onnx or a .pt") from error
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise DataError(f"{path}: not an ONNX graph: {first_line(error)}") from error
    return graph


def _say_tiny(model: Path, weights: list[tuple[str, NDArray[np.float32]]], out: Path | None) -> None:
    """Print which weights are too small."""
    found = subnormal.find(weights)
    click.echo(f"  subnormal   {'none' if not found else f'{sum(tiny.count for tiny in found)} weights'} in {model}")
    for tiny in found:
        click.echo(f"    {tiny}")
    if out is not None:
        click.echo(f"  written     {out}, with zeros in their place")
    elif found:
        click.echo("  fix        give --zero FILE")


def _zeroed(value: Tensor) -> Tensor:
    if value.dtype != torch.float32:
        return value
    return torch.where(torch.from_numpy(subnormal.is_tiny(value.numpy())), torch.zeros(()), value)
