"""Implements the training loop. A run that was killed and resumed gives the result of an uninterrupted run.

The randomness of an epoch depends only on (seed, epoch, process), and a checkpoint contains everything else. The model
is the running average of the weights after the last epoch; no epoch is chosen by the held-out fold.

Under ``torchrun`` each process takes its share of every batch; the first one writes the files.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pitcore.durable import replace_file
from pitcore.errors import DataError, first_line
from pitcore.preprocess.prepare import CropSpec
from pitcore_tools.digest import digests
from pitcore_tools.networks.checkpoint import load_tensors, save_weights
from pitcore_tools.networks.finite import refuse_not_finite
from pitcore_tools.networks.symmetric import tie, untied
from pitcore_tools.networks.zoo import build, load_pretrained
from pitcore_tools.train.augment import augment, normalised
from pitcore_tools.train.dataset import SOURCE_SIZE_PX, CropSet, prepare, read_crops, read_relabel, relabelled, split
from pitcore_tools.train.loss import loss_of, mix, targets_of
from pitcore_tools.train.processes import Processes
from pitcore_tools.train.recipe import Recipe, load_recipe, recipe_yaml

CHECKPOINT, MODEL, METRICS, CONFIG = "checkpoint.pt", "model_best.pt", "metrics.json", "config.yaml"
SEEN = "trained_on.txt"  # hashes of the crops that influenced the weights, also through a teacher
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


@dataclass(frozen=True, slots=True)
class _Setting:
    """Everything that does not change while training."""

    recipe: Recipe
    processes: Processes
    model: nn.Module  # the network, or a wrapper that averages gradients between processes
    teachers: list[tuple[Recipe, nn.Module]]
    pixels: Tensor  # (N, planes, S, S) uint8
    labels: Tensor  # (N,) int64


def train(recipe: Recipe, data: Path, run: Path, report: Report, device: str = "cpu") -> dict[str, Any]:
    """Train to the end of the recipe, from the last checkpoint of ``run`` if there is one.

    Args:
        recipe: the recipe.
        data: folder with ``cherry_clean`` and ``cherry_pit``.
        run: folder for the checkpoint, ``model_best.pt``, ``metrics.json`` and ``config.yaml``.
        report: called with the figures of each epoch.
        device: torch's name of the device.

    Returns:
        The content of ``metrics.json``.

    Raises:
        DataError: the data or the initial weights cannot be used, or ``run`` has a checkpoint of another recipe, of
            other crops, labels or teachers.
    """
    run.mkdir(parents=True, exist_ok=True)
    training, held_out = load_split(recipe, data)
    seen = seen_before(recipe, held_out) | set(training.hashes)
    processes = Processes(device)
    learned_from = digests(training.hashes, training.labels.tolist(), [name / MODEL for name in teachers_of(recipe)])
    state = _start(recipe, run / CHECKPOINT, learned_from, processes.device)
    setting = _Setting(
        recipe,
        processes,
        processes.shared(state.network),
        [load_teacher(name, recipe, processes.device) for name in teachers_of(recipe)],
        torch.from_numpy(training.pixels).permute(0, 3, 1, 2).to(processes.device),
        torch.from_numpy(training.labels).to(processes.device),
    )
    if processes.first:
        replace_file(run / CONFIG, lambda file: file.write(recipe_yaml(recipe).encode()))
        known = seen | seen_by(run)  # never shorter: an older model may still lie in the folder
        replace_file(run / SEEN, lambda file: file.write("\n".join(sorted(known)).encode()))
    while state.epoch < recipe.epochs:
        started = time.monotonic()
        figures = _train_epoch(state, setting)
        state.epoch += 1
        learned = state.network.state_dict().items()
        refuse_not_finite(f"{run}: epoch {state.epoch}", learned, "lower learning_rate, and train into another --out")
        if processes.first:
            figures |= _evaluate(state.average, held_out, recipe)
            figures |= {"epoch": state.epoch, "seconds": time.monotonic() - started}
            state.history.append(figures)
            _save(state, recipe, learned_from, run / CHECKPOINT)
            report(figures)
        processes.meet()
    final = untied(state.average, recipe.symmetry)
    metrics = {
        "epochs": state.epoch,
        "training_crops": len(training),
        "held_out_crops": len(held_out),
        **_evaluate(final, held_out, recipe),
        "history": state.history,
    }
    if processes.first:
        weights = {name: value.cpu() for name, value in final.state_dict().items()}
        save_weights(run / MODEL, weights)
        replace_file(run / METRICS, lambda file: file.write(json.dumps(metrics, indent=1).encode()))
    processes.end()
    return metrics


def load_split(recipe: Recipe, data: Path) -> tuple[CropSet, CropSet]:
    """Return the training crops, large enough for rotation, and the held-out crops in the size of the network.

    A relabel file changes only the training crops.
    """
    source_px = SOURCE_SIZE_PX if recipe.resize == "centre" else recipe.crop_size_px
    crops = read_crops(data)
    fold = recipe.folds, recipe.held_out_fold
    training, _ = split(prepare(crops, CropSpec(source_px, recipe.resize, len(recipe.planes))), *fold)
    _, held_out = split(prepare(crops, recipe.spec), *fold)
    training, held_out = (part.with_labels(recipe.labels) for part in (training, held_out))
    if recipe.relabel is not None:
        path = Path(recipe.relabel.format(fold=recipe.held_out_fold))
        training = relabelled(training, read_relabel(path, recipe.labels, {crop.hash for crop in crops}))
    return training, held_out


def build_network(recipe: Recipe) -> nn.Module:
    """Return the recipe's network with its initial weights. Raises DataError."""
    torch.manual_seed(recipe.seed)
    network = build(recipe.architecture, recipe.input_planes, len(recipe.labels), recipe.widths, recipe.stem)
    if recipe.init is not None:
        load_pretrained(network, Path(recipe.init.format(fold=recipe.held_out_fold)))
    tie(network, recipe.symmetry)
    return network


def teachers_of(recipe: Recipe) -> list[Path]:
    """Return the folders of the recipe's teachers."""
    return [Path(name.format(fold=recipe.held_out_fold)) for name in recipe.teachers]


def seen_before(recipe: Recipe, held_out: CropSet) -> set[str]:
    """Return the hashes of the crops on which the recipe's teachers and its initial weights were trained.

    A checkpoint from elsewhere has no such list.

    Raises:
        DataError: some of them are held out here, so every figure would be too good.
    """
    start = [] if recipe.init is None else [Path(recipe.init.format(fold=recipe.held_out_fold)).parent]
    seen: set[str] = set()
    for run in start + teachers_of(recipe):
        theirs = seen_by(run)
        if leaked := theirs & set(held_out.hashes):
            raise DataError(
                f"{run}: was trained on {len(leaked)} of the {len(held_out)} crops that are held out here; "
                "write {fold} in its name, and train one for each fold"
            )
        seen |= theirs
    return seen


def seen_by(run: Path) -> set[str]:
    """Return the hashes of the crops on which a run was trained; empty for an imported net."""
    path = run / SEEN
    return set(path.read_text(encoding="utf-8").split()) if path.exists() else set()


def load_network(run: Path) -> tuple[Recipe, nn.Module]:
    """Load the recipe and the weights of a finished run. Raises ConfigError, DataError."""
    recipe = load_recipe(run / CONFIG)
    network = build(recipe.architecture, recipe.input_planes, len(recipe.labels), recipe.widths, recipe.stem)
    path = run / MODEL
    if not path.exists():
        raise DataError(f"{path}: No such file or directory; finish the training run first")
    state = load_tensors(path, ours="not the weights of this recipe: damaged; train it again")
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        raise DataError(f"{path}: not the weights of this recipe: {first_line(error)}") from error
    refuse_not_finite(path, state.items())
    network.eval()
    return recipe, network


def load_teacher(run: Path, student: Recipe, device: torch.device) -> tuple[Recipe, nn.Module]:
    """Load a finished run as a teacher. Raises DataError if it has other classes."""
    recipe, network = load_network(run)
    if recipe.labels != student.labels:
        raise DataError(f"{run}: has labels {', '.join(recipe.labels)}, the student {', '.join(student.labels)}")
    return recipe, network.to(device)


def to_input(crops: NDArray[np.uint8], recipe: Recipe) -> Tensor:
    """Convert (N, S, S, planes) uint8 to the recipe's input, (N, input planes, S, S) float32, channels last."""
    pixels = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).float() / 255.0
    return _as_input(pixels, recipe)


def logits_of(network: nn.Module, crops: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.float32]:
    """Run a network over prepared crops: (N, S, S, planes) uint8 -> (N, classes) float32."""
    network.eval()
    device = next(network.parameters()).device
    with torch.inference_mode():
        pieces = [
            network(to_input(crops[start : start + EVALUATION_BATCH], recipe).to(device)).cpu().numpy()
            for start in range(0, len(crops), EVALUATION_BATCH)
        ]
    return np.concatenate(pieces)


def _as_input(pixels: Tensor, recipe: Recipe) -> Tensor:
    seen = normalised(pixels, rgb=recipe.normalise == "rgb") if recipe.normalise else pixels
    return seen.contiguous(memory_format=torch.channels_last)


def _start(recipe: Recipe, checkpoint: Path, learned_from: dict[str, str], device: torch.device) -> _State:
    """Return the initial state, or the state of the checkpoint. Raises DataError if it is of something else."""
    network = build_network(recipe).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    optimizer = torch.optim.AdamW(_groups(network, recipe), weight_decay=recipe.weight_decay)
    state = _State(network, copy.deepcopy(network), optimizer, 0, [])
    if not checkpoint.exists():
        return state
    try:
        saved = load_tensors(checkpoint, device, "not a checkpoint of this recipe: damaged; remove it")
        if saved["recipe"] != recipe_yaml(recipe):
            raise DataError(f"{checkpoint}: belongs to another recipe; give another --out")
        if saved.get("learned_from") != learned_from:
            raise DataError(
                f"{checkpoint}: began with other crops, labels or teachers, or does not say with which; give another "
                "--out, or the data that it began with"
            )
        network.load_state_dict(saved["network"])
        state.average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
    except (RuntimeError, KeyError, TypeError) as error:
        raise DataError(f"{checkpoint}: not a checkpoint of this recipe: {first_line(error)}; remove it") from error
    state.epoch, state.history = saved["epoch"], saved["history"]
    return state


def _groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Return the trained parameters by learning rate. Raises DataError if a name in the recipe matches none."""
    groups: dict[float, list[nn.Parameter]] = {}
    used: set[str] = set()
    for name, parameter in network.named_parameters():
        prefixes = [prefix for prefix in recipe.frozen if name.startswith(prefix)]
        rates = [prefix for prefix in recipe.rates if name.startswith(prefix)]
        used |= {*prefixes, *rates}
        parameter.requires_grad_(not prefixes)
        if not prefixes:
            rate = recipe.rates[max(rates, key=len)] if rates else recipe.learning_rate
            groups.setdefault(rate, []).append(parameter)
    if unknown := {*recipe.frozen, *recipe.rates} - used:
        known = ", ".join(dict.fromkeys(name.split(".")[0] for name, _ in network.named_parameters()))
        raise DataError(f"no parameter begins with {', '.join(sorted(unknown))}; this network has {known}")
    return [{"params": parameters, "lr": rate, "peak": rate} for rate, parameters in groups.items()]


def _save(state: _State, recipe: Recipe, learned_from: dict[str, str], checkpoint: Path) -> None:
    content = {
        "recipe": recipe_yaml(recipe),
        "learned_from": learned_from,
        "network": state.network.state_dict(),
        "average": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "epoch": state.epoch,
        "history": state.history,
    }
    save_weights(checkpoint, content)


def _train_epoch(state: _State, setting: _Setting) -> dict[str, float]:
    """Train one epoch, in an order that depends on (seed, epoch); an incomplete last batch is left out."""
    recipe, processes = setting.recipe, setting.processes
    order = torch.randperm(len(setting.labels), generator=_generator(recipe, state.epoch, 0))
    generator = _generator(recipe, state.epoch, 1 + processes.rank)
    batch = min(recipe.batch, len(order))
    steps = len(order) // batch
    _train_mode(state.network, recipe)
    loss_sum, right, seen = 0.0, 0, 0
    for step in range(steps):
        chosen = processes.part(order[step * batch : (step + 1) * batch]).to(setting.labels.device)
        done = state.epoch * steps + step
        for group in state.optimizer.param_groups:
            group["lr"] = group["peak"] * _schedule(done, recipe, steps)
        inputs, target = _batch(setting, chosen, generator)
        logits = setting.model(inputs)
        loss = loss_of(logits, target, recipe)
        state.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(state.network.parameters(), MAX_GRADIENT_NORM)
        state.optimizer.step()
        _follow(state, min(recipe.ema_decay, (done + 1) / (done + 20)))
        loss_sum += float(loss.detach())
        right += int((logits.argmax(1) == setting.labels[chosen]).sum())
        seen += len(chosen)
    return {"loss": loss_sum / steps, "training_accuracy": right / seen}


def _generator(recipe: Recipe, epoch: int, stream: int) -> torch.Generator:
    """Return a generator. Stream 0 orders the crops, equally in every process; 1 and up are for augmentation."""
    return torch.Generator().manual_seed((recipe.seed * 100_003 + epoch) * 1_009 + stream)


def _batch(setting: _Setting, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return augmented inputs (B, planes, S, S) and their targets (B, classes).

    Teachers get the same view, each in its own size. Source: L. Beyer et al., "Knowledge distillation: a good
    teacher is patient and consistent", 2022.
    """
    recipe = setting.recipe
    wanted = max(recipe.crop_size_px, *(teacher.crop_size_px for teacher, _ in setting.teachers), 0)
    view = augment(setting.pixels[chosen], _of_size(recipe, wanted), generator)
    taught = None
    if setting.teachers:
        # bfloat16 is precise enough for a teacher's probabilities, and takes 0.6 of the time
        with torch.no_grad(), torch.autocast(view.device.type, torch.bfloat16):
            said = [
                torch.softmax(net(_as_input(_middle(view, taught_by.crop_size_px), taught_by)).float(), 1)
                for taught_by, net in setting.teachers
            ]
        taught = torch.stack(said).mean(0)
    target = targets_of(setting.labels[chosen], recipe, taught)
    return mix(_as_input(_middle(view, recipe.crop_size_px), recipe), target, recipe, generator)


def _of_size(recipe: Recipe, size_px: int) -> Recipe:
    return recipe if recipe.crop_size_px == size_px else msgspec.structs.replace(recipe, crop_size_px=size_px)


def _middle(view: Tensor, size_px: int) -> Tensor:
    """Return the middle of a batch: (B, planes, N, N) -> (B, planes, S, S)."""
    start = (view.shape[-1] - size_px) // 2
    return view[:, :, start : start + size_px, start : start + size_px]


def _train_mode(network: nn.Module, recipe: Recipe) -> None:
    """Set training mode, except for batch norms of frozen parameters, which keep their statistics."""
    network.train()
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d) and any(name.startswith(prefix) for prefix in recipe.frozen):
            module.eval()


def _schedule(done: int, recipe: Recipe, steps: int) -> float:
    """Return the factor of the learning rate: linear warm-up, then half a cosine to zero or a constant.

    Source: I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", 2016, without restarts.
    """
    warm = min(1.0, (done + 1) / max(1, recipe.warmup_epochs * steps))
    if recipe.schedule == "constant":
        return warm
    return warm * 0.5 * (1.0 + math.cos(math.pi * done / (recipe.epochs * steps)))


@torch.no_grad()
def _follow(state: _State, decay: float) -> None:
    """Update the running average of the weights; at the beginning with a smaller decay."""
    for mean, value in zip(state.average.state_dict().values(), state.network.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1.0 - decay)
        else:
            mean.copy_(value)


def _evaluate(network: nn.Module, crops: CropSet, recipe: Recipe) -> dict[str, float]:
    """Return accuracy and pit recall by the most likely label."""
    predicted = logits_of(network, crops.pixels, recipe).argmax(1)
    pits = crops.labels == recipe.labels.index("pit")
    return {
        "held_out_accuracy": float((predicted == crops.labels).mean()),
        "held_out_pit_recall": float((predicted[pits] == crops.labels[pits]).mean()),
    }
