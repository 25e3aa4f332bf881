"""Tied networks: a turned cherry is the same cherry, in training and in the plain network that ships."""

import copy

import pytest
import torch

from pitcore.errors import ConfigError
from pitcore_tools.networks.symmetric import tie, untied
from pitcore_tools.networks.zoo import build
from pitcore_tools.train.loop import MODEL, load_network, train
from tests.tools.conftest import TINY, changed

SIZE_PX = {"fine": 33, "pooled": 65}  # every stride meets an odd number of pixels


def network(symmetry, stem="fine", architecture="resnet18"):
    torch.manual_seed(0)
    made = build(architecture, 2, 2, [8, 16, 16, 24], stem)
    tie(made, symmetry)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0.0, 0.1)
    return untied(made, symmetry).eval()  # which ties the statistics as well


@pytest.mark.parametrize("stem", ["fine", "pooled"])
@pytest.mark.parametrize("architecture", ["resnet18", "resnet50"])
@pytest.mark.parametrize("symmetry", ["turns", "mirrors"])
def test_a_turned_cherry_gets_the_same_logits(symmetry, stem, architecture):
    made = network(symmetry, stem, architecture)
    crops = torch.rand(3, 2, SIZE_PX[stem], SIZE_PX[stem])
    with torch.no_grad():
        logits = made(crops)
        for turns in range(1, 4):
            torch.testing.assert_close(made(torch.rot90(crops, turns, (2, 3))), logits, rtol=1e-4, atol=1e-5)
        mirrored = torch.allclose(made(crops.flip(3)), logits, rtol=1e-4, atol=1e-5)
    assert mirrored == (symmetry == "mirrors")


def test_an_untied_network_distinguishes_turned_cherries():
    made, crops = network("none"), torch.rand(3, 2, 33, 33)
    with torch.no_grad():
        assert not torch.allclose(made(torch.rot90(crops, 1, (2, 3))), made(crops), atol=1e-3)


def test_a_tied_network_learns_fewer_weights_and_ships_with_plain_names():
    torch.manual_seed(0)
    free = build("resnet18", 2, 2, [8, 16, 16, 24], "fine")
    tied = copy.deepcopy(free)
    tie(tied, "mirrors")
    learnt = sum(weight.numel() for weight in tied.parameters())
    assert learnt < sum(weight.numel() for weight in free.parameters()) / 7
    plain = untied(tied, "mirrors")
    assert {name: value.shape for name, value in plain.state_dict().items()} == {
        name: value.shape for name, value in free.state_dict().items()
    }


def test_tying_a_tied_network_again_changes_nothing():
    made, crops = network("mirrors"), torch.rand(3, 2, 33, 33)
    again = copy.deepcopy(made)
    tie(again, "mirrors")
    with torch.no_grad():
        torch.testing.assert_close(again(crops), made(crops))


def test_widths_that_no_orientation_divides_are_refused():
    with pytest.raises(ConfigError, match="multiples of 8"):
        tie(build("resnet18", 2, 2, [12, 16, 16, 16], "fine"), "mirrors")
    with pytest.raises(ConfigError, match="wants a ResNet"):
        tie(build("mobilenet_v3_large", 2, 2), "turns")


def test_a_tied_run_trains_resumes_and_loads_as_a_plain_one(procedural_crops, tmp_path):
    recipe = changed(TINY, symmetry="turns", widths=[8, 8, 16, 16])
    whole = train(recipe, procedural_crops, tmp_path / "whole", lambda _: None)

    def stop(figures):
        if figures["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, procedural_crops, tmp_path / "broken", stop)
    broken = train(recipe, procedural_crops, tmp_path / "broken", lambda _: None)
    assert broken["held_out_accuracy"] == whole["held_out_accuracy"]
    first, second = (torch.load(tmp_path / name / MODEL, weights_only=True) for name in ("whole", "broken"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0)
    load_network(tmp_path / "whole")
