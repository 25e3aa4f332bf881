"""Builds networks by name, and loads weights with torchvision's names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from pitcore.errors import DataError
from pitcore_tools.networks.checkpoint import read_state
from pitcore_tools.networks.inverted import efficientnet_b0, mobilenet_v3_large
from pitcore_tools.networks.resnet import BasicBlock, Bottleneck, ResNet, Shape

Architecture = Literal["resnet18", "resnet50", "mobilenet_v3_large", "efficientnet_b0"]
Stem = Literal["pooled", "fine"]
RESNETS: dict[str, tuple[type[BasicBlock | Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}
GREEN = 1  # index of the green plane of a picture, which is zero in every crop


def build(
    architecture: Architecture, planes: int, classes: int, widths: Sequence[int] = (), stem: Stem = "pooled"
) -> nn.Module:
    """Return a network with random weights from torch's generator.

    Args:
        architecture: name of the architecture.
        planes: number of planes of its input.
        classes: number of logits.
        widths: channels of the four stages of a ResNet; as published if empty.
        stem: stem of a ResNet; ``fine`` has no max-pooling.
    """
    if architecture == "mobilenet_v3_large":
        return mobilenet_v3_large(planes, classes)
    if architecture == "efficientnet_b0":
        return efficientnet_b0(planes, classes)
    block, depths = RESNETS[architecture]
    shape = Shape(block, depths, pooled=stem == "pooled")
    if widths:
        shape = Shape(block, depths, tuple(widths), stem == "pooled")
    return ResNet(planes, classes, shape)


def load_pretrained(network: nn.Module, path: Path) -> list[str]:
    """Load weights of another task: everything except the last layer must fit.

    A checkpoint with three planes can be used for a network with two: its green weights are left out, which changes
    nothing for crops whose green is zero.

    Returns:
        Names of the tensors that keep their random weights, because their shape depends on the number of classes.

    Raises:
        DataError: the file is not a checkpoint, or of another network; the message names the first tensors that are
            missing, surplus or of another shape.
    """
    given, own = read_state(path), network.state_dict()
    given = {name: _planes_as(value, own.get(name)) for name, value in given.items()}
    missing = sorted(own.keys() - given.keys() - {name for name in own if name.endswith("num_batches_tracked")})
    strange = sorted(given.keys() - own.keys())
    if missing or strange:
        said = "; ".join(
            f"{word} {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
            for word, names in (("lacks", missing), ("has besides", strange))
            if names
        )
        raise DataError(f"{path}: not weights of this network: {said}; give a checkpoint with torchvision's names")
    last = _last_layer(network)
    fresh = sorted(name for name in given if name.startswith(last) and given[name].shape != own[name].shape)
    for name in own:
        if name in given and name not in fresh and given[name].shape != own[name].shape:
            raise DataError(
                f"{path}: {name} is {tuple(given[name].shape)}, this network wants {tuple(own[name].shape)}; "
                "give the checkpoint's own architecture and widths"
            )
    network.load_state_dict({name: value for name, value in given.items() if name not in fresh}, strict=False)
    return fresh


def _planes_as(value: Tensor, own: Tensor | None) -> Tensor:
    """Remove green from a first convolution with three planes if the network has two."""
    if own is not None and own.dim() == 4 and value.dim() == 4 and (value.shape[1], own.shape[1]) == (3, 2):
        return value[:, [plane for plane in range(3) if plane != GREEN]]
    return value


def _last_layer(network: nn.Module) -> str:
    """Return the name of the last linear layer, with a dot."""
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    return f"{names[-1]}."
