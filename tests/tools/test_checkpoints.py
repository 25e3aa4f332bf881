"""Checkpoints as other programs leave them: read, or refused with the line that saves them right."""

import argparse

import numpy as np
import pytest
import torch

from pitcore.errors import DataError
from pitcore_tools.networks.checkpoint import HOW_TO_SAVE, read_state
from pitcore_tools.networks.zoo import build


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return build("resnet18", 3, 2, [8, 8, 8, 8]).state_dict()


def prefixed(prefix, state):
    return {prefix + name: value for name, value in state.items()}


WRAPPED = {
    "bare": lambda state: state,
    "DataParallel": lambda state: prefixed("module.", state),
    "DataParallel twice": lambda state: prefixed("module.module.", state),
    "torch.compile": lambda state: prefixed("_orig_mod.", state),
    "compiled in DDP": lambda state: prefixed("module._orig_mod.", state),
    "DDP compiled": lambda state: prefixed("_orig_mod.module.", state),
    "Lightning": lambda state: {"state_dict": prefixed("model.", state), "epoch": 3, "hyper_parameters": {"lr": 0.1}},
    "Lightning, net": lambda state: {"state_dict": prefixed("net.", state)},
    "torchvision": lambda state: {"model": state, "optimizer": {}, "epoch": 1, "args": None},
    "under net": lambda state: {"net": state, "acc": 91.0},
    "SWA": lambda state: {"n_averaged": torch.tensor(5)} | prefixed("module.", state),
    "average": lambda state: {"model_ema": {"n_averaged": torch.tensor(1)} | prefixed("module.", state)},
}


@pytest.mark.parametrize("what", WRAPPED)
def test_the_weights_are_found_in_every_wrapper(tmp_path, state, what):
    torch.save(WRAPPED[what](state), tmp_path / "best.pt")
    found = read_state(tmp_path / "best.pt")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())


REFUSED = {
    "NumPy's number": lambda state: {"state_dict": state, "best_acc": np.float64(0.91)},
    "options": lambda state: {"state_dict": state, "args": argparse.Namespace(lr=0.1)},
    "whole model": lambda _: torch.nn.Linear(2, 2),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_holds_more_than_tensors_is_refused_with_the_line_that_saves_it_right(tmp_path, state, what):
    torch.save(REFUSED[what](state), tmp_path / "best.pt")
    with pytest.raises(DataError, match="contains more than tensors and numbers") as caught:
        read_state(tmp_path / "best.pt")
    said = str(caught.value)
    assert said.endswith(HOW_TO_SAVE)
    assert "weights_only" not in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html>login</html>", "best.pt: not a checkpoint of torch; save it"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "only a pointer of git LFS"),
        (b"", "not a checkpoint of torch; save it"),
        (b"PK\x03\x04 and no more", "not a checkpoint of torch: .*; copy it again"),
    ],
)
def test_an_invalid_checkpoint_is_a_one_line_error(tmp_path, content, said):
    (tmp_path / "best.pt").write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_state(tmp_path / "best.pt")
    assert "weights_only" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_networks_in_one_file_are_not_mixed(tmp_path, state):
    torch.save(prefixed("model.", state) | prefixed("net.", state), tmp_path / "best.pt")
    with pytest.raises(DataError, match=r"contains several networks \(model\.conv1\.weight, net\.conv1\.weight\)"):
        read_state(tmp_path / "best.pt")
