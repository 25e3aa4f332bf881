"""The training loop, read top to bottom. Resumes after a kill with the result an unbroken run would give.

Chance in an epoch comes from (seed, epoch) alone, and a checkpoint holds everything else, so it does not
matter how often a run was broken. The model is the running average of the weights after the last epoch:
no epoch is picked by looking at the held-out fold.
"""

from __future__ import annotations

import copy
import json
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the field's name for it
from numpy.typing import NDArray
from torch import Tensor, nn

from pitcore.durable import replace_file
from pitcore.errors import DataError, first_line
from pitcore.preprocess.prepare import CropSpec
from pitcore_tools.network import ResNet18
from pitcore_tools.train.augment import augment
from pitcore_tools.train.dataset import SOURCE_SIZE_PX, CropSet, prepare, read_crops, split
from pitcore_tools.train.recipe import Recipe, recipe_yaml

CHECKPOINT, MODEL, METRICS, CONFIG = "checkpoint.pt", "model_best.pt", "metrics.json", "config.yaml"
MAX_GRADIENT_NORM = 5.0
EVALUATION_BATCH = 128

Report = Callable[[dict[str, float]], None]


@dataclass(slots=True)
class _State:
    """Everything that changes while training."""

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    epoch: int
    history: list[dict[str, float]]


def build_network(recipe: Recipe) -> ResNet18:
    """Make the recipe's network with fresh weights from its seed."""
    torch.manual_seed(recipe.seed)
    return ResNet18(len(recipe.planes), len(recipe.labels), recipe.widths)


def train(recipe: Recipe, data: Path, run: Path, report: Report) -> dict[str, Any]:
    """Train to the end of the recipe, from the last checkpoint of ``run`` if there is one.

    Args:
        recipe: what to train.
        data: folder with ``cherry_clean`` and ``cherry_pit``.
        run: where checkpoint, ``model_best.pt``, ``metrics.json`` and ``config.yaml`` go.
        report: gets the figures of each epoch.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        DataError: the data cannot be used, or ``run`` holds another recipe's checkpoint.
    """
    run.mkdir(parents=True, exist_ok=True)
    source_px = SOURCE_SIZE_PX if recipe.resize == "centre" else recipe.crop_size_px
    crops = read_crops(data)
    training, _ = split(prepare(crops, CropSpec(source_px, recipe.resize, len(recipe.planes))), *_fold(recipe))
    _, held_out = split(prepare(crops, crop_spec(recipe)), *_fold(recipe))
    state = _start(recipe, run / CHECKPOINT)
    replace_file(run / CONFIG, lambda file: file.write(recipe_yaml(recipe).encode()))
    while state.epoch < recipe.epochs:
        started = time.monotonic()
        figures = _train_epoch(state, recipe, training)
        state.epoch += 1
        figures |= _evaluate(state.average, held_out)
        figures |= {"epoch": state.epoch, "seconds": time.monotonic() - started}
        state.history.append(figures)
        _save(state, recipe, run / CHECKPOINT)
        report(figures)
    metrics = {
        "epochs": state.epoch,
        "training_crops": len(training),
        "held_out_crops": len(held_out),
        **_evaluate(state.average, held_out),
        "history": state.history,
    }
    replace_file(run / MODEL, lambda file: torch.save(state.average.state_dict(), file))
    replace_file(run / METRICS, lambda file: file.write(json.dumps(metrics, indent=1).encode()))
    return metrics


def crop_spec(recipe: Recipe) -> CropSpec:
    """Return how the recipe's network wants its crops."""
    return CropSpec(recipe.crop_size_px, recipe.resize, len(recipe.planes))


def to_input(crops: NDArray[np.uint8]) -> Tensor:
    """(N, S, S, planes) uint8 to (N, planes, S, S) float32 in 0..1, channels last in memory."""
    pixels = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).float() / 255.0
    return pixels.contiguous(memory_format=torch.channels_last)


def logits_of(network: nn.Module, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run a network over prepared crops: (N, S, S, planes) uint8 -> (N, classes) float32."""
    network.eval()
    with torch.inference_mode():
        pieces = [
            network(to_input(crops[start : start + EVALUATION_BATCH])).numpy()
            for start in range(0, len(crops), EVALUATION_BATCH)
        ]
    return np.concatenate(pieces)


def _fold(recipe: Recipe) -> tuple[int, int]:
    return recipe.folds, recipe.held_out_fold


def _start(recipe: Recipe, checkpoint: Path) -> _State:
    """Fresh state, or the checkpoint's."""
    network = build_network(recipe).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    state = _State(network, copy.deepcopy(network), optimizer, 0, [])
    if not checkpoint.exists():
        return state
    try:
        saved = torch.load(checkpoint, weights_only=True)
        if saved["recipe"] != recipe_yaml(recipe):
            raise DataError(f"{checkpoint}: belongs to another recipe; give another --out, or remove it")
        network.load_state_dict(saved["network"])
        state.average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
    except (OSError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"{checkpoint}: not a checkpoint of this recipe: {first_line(error)}; remove it") from error
    state.epoch, state.history = saved["epoch"], saved["history"]
    return state


def _save(state: _State, recipe: Recipe, checkpoint: Path) -> None:
    content = {
        "recipe": recipe_yaml(recipe),
        "network": state.network.state_dict(),
        "average": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "epoch": state.epoch,
        "history": state.history,
    }
    replace_file(checkpoint, lambda file: torch.save(content, file))


def _train_epoch(state: _State, recipe: Recipe, crops: CropSet) -> dict[str, float]:
    """One pass over the crops in an order that (seed, epoch) gives; an incomplete last batch is left out."""
    generator = torch.Generator().manual_seed(recipe.seed * 100_003 + state.epoch)
    pixels = torch.from_numpy(crops.pixels).permute(0, 3, 1, 2)  # (N, planes, S, S)
    labels = torch.from_numpy(crops.labels)
    batch = min(recipe.batch, len(crops))
    steps = len(crops) // batch
    order = torch.randperm(len(crops), generator=generator)
    state.network.train()
    loss_sum, right = 0.0, 0
    for step in range(steps):
        chosen = order[step * batch : (step + 1) * batch]
        done = state.epoch * steps + step
        for group in state.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * _schedule(done, recipe, steps)
        inputs = augment(pixels[chosen], recipe, generator).contiguous(memory_format=torch.channels_last)
        logits = state.network(inputs)
        loss = F.cross_entropy(logits, labels[chosen])
        state.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(state.network.parameters(), MAX_GRADIENT_NORM)
        state.optimizer.step()
        _follow(state, min(recipe.ema_decay, (done + 1) / (done + 20)))
        loss_sum += float(loss.detach())
        right += int((logits.argmax(1) == labels[chosen]).sum())
    return {"loss": loss_sum / steps, "training_accuracy": right / (steps * batch)}


def _schedule(done: int, recipe: Recipe, steps: int) -> float:
    """Linear warm-up, then half a cosine to zero. Source: Loshchilov, Hutter, "SGDR", 2016, without restarts."""
    warm = min(1.0, (done + 1) / max(1, recipe.warmup_epochs * steps))
    return warm * 0.5 * (1.0 + math.cos(math.pi * done / (recipe.epochs * steps)))


@torch.no_grad()
def _follow(state: _State, decay: float) -> None:
    """Let the average follow the weights; early on it follows faster."""
    for mean, value in zip(state.average.state_dict().values(), state.network.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1.0 - decay)
        else:
            mean.copy_(value)


def _evaluate(network: nn.Module, crops: CropSet) -> dict[str, float]:
    """Accuracy and pit recall at the threshold of one half."""
    predicted = logits_of(network, crops.pixels).argmax(1)
    pits = crops.labels == 1
    return {
        "held_out_accuracy": float((predicted == crops.labels).mean()),
        "held_out_pit_recall": float((predicted[pits] == 1).mean()),
    }
