"""Trains several networks in the same steps on one device.

A step is a function of tensors only, so that on a GPU it is recorded once as a CUDA graph and replayed: small nets are
limited by the launch of kernels, not by arithmetic.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

MAX_GRADIENT_NORM = 5.0


def one_cycle(total: int, peak: float, warm_share: float = 0.15) -> Tensor:
    """Return (total,) learning rates: a cosine from 4 % up to ``peak``, then a cosine down to a thousandth of it."""
    steps = torch.arange(total, dtype=torch.float64)
    warm = max(1.0, total * warm_share)
    up = 0.04 + 0.96 * (1 - torch.cos(math.pi * (steps / warm).clamp(max=1.0))) / 2
    down = 1e-3 + (1 - 1e-3) * (1 + torch.cos(math.pi * ((steps - warm) / max(1.0, total - warm)).clamp(0.0, 1.0))) / 2
    return (peak * torch.where(steps < warm, up, down)).float()


class Learner:
    """A network with its optimiser, its learning rates and the running average of its weights."""

    def __init__(
        self, network: nn.Module, device: torch.device, weight_decay: float, head_factor: float, ema: float
    ) -> None:
        self.network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.network.train()
        self.average = copy.deepcopy(self.network)
        self.average.requires_grad_(requires_grad=False)
        self.decay, self.head_factor = ema, head_factor
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, value in self.network.named_parameters():
            groups.setdefault((name.startswith("fc."), value.ndim > 1), []).append(value)
        self.rates = [(torch.zeros((), device=device), head_factor if head else 1.0) for head, _ in groups]
        gpu = device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            [
                {"params": values, "lr": rate, "weight_decay": weight_decay if matrix else 0.0}
                for ((_, matrix), values), (rate, _) in zip(groups.items(), self.rates, strict=True)
            ],
            capturable=gpu,
            fused=gpu,
        )
        self.followed = [
            (own, theirs)
            for own, theirs in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True)
            if own.is_floating_point()
        ]

    def step(self, loss: Tensor, rate: Tensor) -> None:
        """Take one optimiser step for ``loss`` with the learning rate ``rate``, a 0-dimensional tensor."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._update(rate)

    def step_sharpness_aware(self, loss_of: Callable[[], Tensor], rate: Tensor, radius: float) -> None:
        """Take one optimiser step with the gradient where the loss is highest within ``radius`` of the weights.

        Such steps lead to flat minima, in which wrong labels count less. It costs two passes. The statistics of batch
        norms are those of the first. Source: P. Foret et al., "Sharpness-aware minimization for efficiently improving
        generalization", 2021, equation 3.

        Args:
            loss_of: computes the loss with the present weights, each time of the same batch.
            rate: learning rate, a 0-dimensional tensor.
            radius: length of the step uphill, over all weights together.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss_of().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        weights = [value for value in self.network.parameters() if value.grad is not None]
        with torch.no_grad():
            here = [value.clone() for value in weights]
            statistics = [(value, value.clone()) for value in self.network.buffers()]
            gradients = [value.grad for value in weights if value.grad is not None]
            share = radius / (nn.utils.get_total_norm(gradients) + 1e-12)
            for value, gradient in zip(weights, gradients, strict=True):
                value.add_(gradient * share)
        self.optimizer.zero_grad(set_to_none=True)
        loss_of().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        with torch.no_grad():
            torch._foreach_copy_(weights, here)
            for value, first in statistics:
                value.copy_(first)
        self._update(rate)

    def _update(self, rate: Tensor) -> None:
        for own, factor in self.rates:
            own.copy_(rate * factor)
        nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM, foreach=True)
        self.optimizer.step()
        averages, weights = [pair[0] for pair in self.followed], [pair[1] for pair in self.followed]
        torch._foreach_lerp_(averages, weights, 1.0 - self.decay)

    def restart_average(self) -> None:
        """Set the running average to the present weights."""
        with torch.no_grad():
            for own, theirs in self.followed:
                own.copy_(theirs)


class Lesson:
    """A training run of some learners, with its state.

    Attributes:
        learners: the learners.
        rates: (steps,) learning rate of each step.
        at: (1,) int64 number of the next step, on the device.
        total: number of steps.
        step: takes one step; reads and increments ``at``.
    """

    step: Callable[[], None]

    def __init__(self, learners: Sequence[Learner], rates: Tensor, seed: int) -> None:
        self.learners, self.rates, self.seed, self.total = learners, rates, seed, len(rates)
        self.at = torch.zeros(1, dtype=torch.long, device=rates.device)

    def reschedule(self, rates: Tensor) -> None:
        """Start again with a shorter schedule. Writes into the same tensors, because a recorded graph reads them."""
        self.rates.zero_()
        self.rates[: len(rates)].copy_(rates)
        self.total = len(rates)
        self.at.zero_()

    def rate(self) -> Tensor:
        """Return the learning rate of the next step, on the device."""
        return self.rates.index_select(0, self.at)[0]

    def before(self, number: int) -> None:
        """Prepare step ``number``: restart the average after a third of the steps, when the weights have settled."""
        if number == self.total // 3:
            for learner in self.learners:
                learner.restart_average()

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {
            "at": int(self.at),
            "learners": [
                {
                    "network": learner.network.state_dict(),
                    "average": learner.average.state_dict(),
                    "optimizer": learner.optimizer.state_dict(),
                }
                for learner in self.learners
            ],
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Continue from the state of a checkpoint."""
        for learner, saved in zip(self.learners, state["learners"], strict=True):
            learner.network.load_state_dict(saved["network"])
            learner.average.load_state_dict(saved["average"])
            learner.optimizer.load_state_dict(saved["optimizer"])
            for group, (rate, _) in zip(learner.optimizer.param_groups, learner.rates, strict=True):
                group["lr"] = rate  # the loaded rate is another tensor, which `step` would not change
        self.at.fill_(state["at"])


def permutations(count: int, batch: int, total: int, seed: int) -> Tensor:
    """Return (total, batch) positions: concatenated shuffles of 0..count-1."""
    generator = torch.Generator().manual_seed(seed)
    rounds = -(-total * batch // count)
    flat = torch.cat([torch.randperm(count, generator=generator) for _ in range(rounds)])
    return flat[: total * batch].view(total, batch)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return True if the device has instructions that multiply bfloat16: any GPU, and CPUs with AVX512-BF16 or AMX.

    On such a CPU (EPYC, one thread) a student's step takes 0.26 s instead of 0.46 s, and a teacher's answers half the
    time. With AMX (Xeon, one thread, busy) a student's takes 0.26 s instead of 0.48 s, and a step of a teacher 0.90 s
    instead of 1.10 s (EfficientNet-Lite0) and 0.64 s instead of 0.98 s (MobileNetV2).
    """
    return device.type == "cuda" or bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def autocast(device: torch.device, *, enabled: bool) -> torch.autocast:
    """Return a context that computes in bfloat16 if ``enabled``, else in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=False)


class GraphStream:
    """Repeats a step; on a GPU as a recorded graph on a separate stream."""

    def __init__(self, step: Callable[[], None], device: torch.device, *, graphs: bool = True) -> None:
        self._step = step
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if self._stream is None or not graphs:
            return
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(3):
                step()
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=self._stream):
            step()
        torch.cuda.synchronize()

    def run(self) -> None:
        """Run the next step; on a GPU only start it."""
        if self._stream is None:
            self._step()
            return
        with torch.cuda.stream(self._stream):
            if self._graph is None:
                self._step()
            else:
                self._graph.replay()
