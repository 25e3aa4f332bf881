"""Steps of the training: a sharpness-aware step takes the gradient uphill, and leaves nothing else behind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pitcore_tools.distil.fit import Learner


def learner_of(network: nn.Module) -> Learner:
    return Learner(network, torch.device("cpu"), weight_decay=0.0, head_factor=1.0, ema=0.9)


def test_the_gradient_is_that_of_the_weights_moved_uphill_by_the_radius() -> None:
    class Bowl(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.at = nn.Parameter(torch.tensor([3.0, 4.0]))

    learner = learner_of(Bowl())
    at = learner.network.at
    assert isinstance(at, Tensor)
    learner.step_sharpness_aware(lambda: 0.1 * at.square().sum(), torch.tensor(0.0), radius=0.5)
    assert at.grad is not None
    assert at.grad.tolist() == pytest.approx([0.2 * 3.3, 0.2 * 4.4])  # uphill of (3, 4) is (0.6, 0.8)
    assert at.tolist() == [3.0, 4.0]


def test_the_statistics_of_batch_norms_are_those_of_the_first_pass() -> None:
    def after(steps: str) -> tuple[Tensor, dict[str, Tensor]]:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        learner, inputs = learner_of(network), torch.randn(8, 3)

        def loss() -> Tensor:
            result: Tensor = learner.network(inputs).square().mean()
            return result

        if steps == "plain":
            learner.step(loss(), torch.tensor(0.0))
        else:
            learner.step_sharpness_aware(loss, torch.tensor(0.0), radius=0.2)
        gradient = next(learner.network.parameters()).grad
        assert gradient is not None
        return gradient, learner.network.state_dict()

    (plain, one), (sharp, other) = after("plain"), after("sharpness-aware")
    assert not torch.equal(plain, sharp)
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
