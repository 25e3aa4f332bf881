import functools
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression

from pitcore.emulator.single import render_crop
from pitcore.errors import BundleError, ConfigError, DataError
from pitcore.loop.classifier import Classifier
from pitcore.model_card import load_bundle
from pitcore.preprocess.prepare import CropSpec, crop_from_image
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.networks.zoo import build
from pitcore_tools.train.augment import DEVIATION, MEAN
from pitcore_tools.train.dataset import read_crops
from pitcore_tools.train.imported import Stated, import_checkpoint
from pitcore_tools.train.loop import load_network, logits_of
from tests.camera.belts import write_crop

NARROW = [8, 8, 16, 16]


def stated(**values):
    return Stated(
        **(
            {
                "name": "theirs",
                "version": "0.0.1",
                "crop_size_px": 64,
                "normalised": False,
                "labels": [],
                "stem": "pooled",
            }
            | values
        )
    )


def checkpoint_of(folder, architecture, classes, *, normalised=False):
    """Write a net as another program would store it, and return it. Tests must not change it."""
    network = fitted(architecture, classes, normalised)
    torch.save({"model_state_dict": network.state_dict()}, folder / "best.pt")
    return network


@functools.cache
def fitted(architecture, classes, normalised):
    """A net of random features, with a last layer fitted to the procedural crops."""
    torch.manual_seed(5)
    network = build(architecture, 3, classes, NARROW)
    drawn = [render_crop(7, index) for index in range(120)]
    seen = as_picture(at_size(picture for picture, _ in drawn), normalised=normalised)
    pit = [label for _, label in drawn]
    network.train()
    with torch.no_grad():
        for _ in range(20):
            network(seen)
        last, network.fc = network.eval().fc, torch.nn.Identity()
        found = LogisticRegression(max_iter=2000).fit(network(seen).numpy(), pit)
        network.fc = last
        last.weight.mul_(0.01)
        last.weight[-1] = torch.from_numpy(found.coef_[0])
        last.bias[:] = torch.tensor([0.0, -2.0][: classes - 1] + found.intercept_.tolist())
    return network


def pictures(count, seed=11):
    """(N, 64, 64, 2) uint8 of procedural cherries."""
    return at_size(render_crop(seed, index)[0] for index in range(count))


def at_size(images):
    return np.stack([crop_from_image(image, CropSpec(64, "centre", 2)) for image in images])


def as_picture(crops, *, normalised):
    """The input of another program's net: (N, 3, S, S) float, green zero, perhaps normalised."""
    rgb = torch.zeros(len(crops), 3, *crops.shape[1:3])
    rgb[:, ::2] = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    if normalised:
        rgb = (rgb - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(DEVIATION).view(1, 3, 1, 1)
    return rgb


def their_answer(network, crops, *, normalised):
    with torch.no_grad():
        return network(as_picture(crops, normalised=normalised)).numpy()


@pytest.mark.parametrize(
    ("architecture", "normalised"),
    [
        ("resnet18", False),
        ("resnet50", True),
        pytest.param("resnet18", True, marks=pytest.mark.full),
        pytest.param("resnet50", False, marks=pytest.mark.full),
    ],
)
def test_an_imported_net_gives_the_outputs_of_its_training_framework(architecture, normalised, tmp_path):
    theirs = checkpoint_of(tmp_path, architecture, 2, normalised=normalised)
    import_checkpoint(tmp_path / "best.pt", stated(normalised=normalised), tmp_path / "run")
    recipe, ours = load_network(tmp_path / "run")
    assert recipe.architecture == architecture
    assert recipe.widths == NARROW
    crops = pictures(6)
    np.testing.assert_allclose(
        logits_of(ours, crops, recipe), their_answer(theirs, crops, normalised=normalised), atol=1e-4
    )


def test_labels_in_another_order_are_reordered(tmp_path):
    theirs = checkpoint_of(tmp_path, "resnet18", 3)
    import_checkpoint(tmp_path / "best.pt", stated(labels=["pit", "clean", "maybe"]), tmp_path / "run")
    recipe, ours = load_network(tmp_path / "run")
    assert recipe.labels == ["clean", "maybe", "pit"]
    crops = pictures(4)
    wanted = their_answer(theirs, crops, normalised=False)[:, [1, 2, 0]]
    np.testing.assert_allclose(logits_of(ours, crops, recipe), wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("net", "labels", "said"),
    [
        (("mobilenet_v3_large", 3, 2), [], "not a resnet18 or a resnet50 .*'conv1.weight' is not there.*classifier.0"),
        (("resnet18", 3, 4, NARROW), [], "takes 3 planes and tells 4 classes apart"),
        (("resnet18", 4, 2, NARROW), [], "takes 4 planes and tells 2 classes apart"),
        (("resnet18", 3, 2, NARROW), ["clean", "maybe", "pit"], "tells 2 classes apart: --labels must be clean, pit"),
    ],
)
def test_a_checkpoint_no_board_could_use_is_refused_in_a_line(net, labels, said, tmp_path):
    torch.save(build(*net).state_dict(), tmp_path / "best.pt")
    with pytest.raises(DataError, match=said):
        import_checkpoint(tmp_path / "best.pt", stated(labels=labels), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("wrong", [{"name": "Theirs"}, {"version": "1.0"}, {"version": "latest"}])
def test_a_name_or_version_that_the_card_would_refuse_is_refused_at_once(wrong, tmp_path):
    with pytest.raises(ConfigError, match=f"--{next(iter(wrong))} '.*' fits no model card"):
        import_checkpoint(tmp_path / "none.pt", stated(**wrong), tmp_path / "run")


def test_a_run_that_took_place_is_never_overwritten(tmp_path):
    checkpoint_of(tmp_path, "resnet18", 2)
    import_checkpoint(tmp_path / "best.pt", stated(), tmp_path / "run")
    with pytest.raises(DataError, match="holds a run already"):
        import_checkpoint(tmp_path / "best.pt", stated(), tmp_path / "run")


def command(*words):
    result = CliRunner().invoke(pitcore_tools, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def bundle_of(tmp_path, data, *options, classes=2, architecture="resnet18"):
    """The way of a checkpoint to a bundle, by the commands a user gives."""
    theirs = checkpoint_of(tmp_path, architecture, classes, normalised="--float" in options)
    run = tmp_path / "run"
    normalised = ["--normalised"] if "--float" in options else []
    command("import", tmp_path / "best.pt", "--size", 64, "--out", run, *normalised)
    said = command("quantise", run, "--data", data, "--out", tmp_path / "bundle", *options)
    return theirs, said


@pytest.mark.parametrize(
    ("classes", "architecture", "options"),
    [
        (2, "resnet50", ["--float"]),
        (3, "resnet18", []),
        pytest.param(2, "resnet50", [], marks=pytest.mark.full),
        pytest.param(3, "resnet18", ["--float"], marks=pytest.mark.full),
    ],
)
def test_a_board_judges_crops_by_a_bundle_of_every_kind(classes, architecture, options, tmp_path, procedural_crops):
    theirs, said = bundle_of(tmp_path, procedural_crops, *options, classes=classes, architecture=architecture)
    assert "the data that this net was trained on is unknown" in said
    assert ("McNemar" in said) is not bool(options)
    opened = load_bundle(tmp_path / "bundle")
    assert opened.card.dtype == ("float32" if options else "uint8")
    assert len(opened.card.labels) == classes
    write_crop(tmp_path / "one.png", render_crop(11, 0)[0])
    (verdict,) = Classifier(opened).classify([str(tmp_path / "one.png")])
    assert verdict.error is None
    row = their_answer(theirs, pictures(1), normalised=bool(options))[0].astype(float)
    margin = row[-1] - np.logaddexp.reduce(row[:-1])
    wanted = 1 / (1 + np.exp(-(opened.card.calibration.slope * margin + opened.card.calibration.intercept)))
    assert verdict.p_pit == pytest.approx(wanted, abs=1e-4 if options else 0.1)


def test_quantising_a_normalised_net_is_reported(tmp_path, procedural_crops):
    checkpoint_of(tmp_path, "resnet18", 2)
    run = tmp_path / "run"
    assert "float alone" in command("import", tmp_path / "best.pt", "--size", 64, "--normalised", "--out", run)
    with pytest.raises(BundleError, match="give --float, or train without normalise"):
        command("quantise", run, "--data", procedural_crops, "--out", tmp_path / "bundle")


def test_a_net_with_exchanged_labels_is_detected(tmp_path, procedural_crops):
    checkpoint_of(tmp_path, "resnet18", 2)
    command("import", tmp_path / "best.pt", "--size", 64, "--labels", "pit,clean", "--out", tmp_path / "run")
    with pytest.raises(DataError, match="are its labels in another order"):
        command("quantise", tmp_path / "run", "--data", procedural_crops, "--out", tmp_path / "bundle")


def test_a_run_is_not_judged_by_crops_it_was_trained_on(tmp_path, procedural_crops):
    checkpoint_of(tmp_path, "resnet18", 2)
    import_checkpoint(tmp_path / "best.pt", stated(), tmp_path / "run")
    audit = json.loads(command("score", tmp_path / "run", "--data", procedural_crops, "--json"))
    assert audit["trained_on"] is None, "nobody knows what it was trained on"
    hashes = [crop.hash for crop in read_crops(procedural_crops)]
    (tmp_path / "run" / "trained_on.txt").write_text("\n".join(hashes))
    with pytest.raises(DataError, match="which are to judge it"):
        command("quantise", tmp_path / "run", "--data", procedural_crops, "--out", tmp_path / "bundle")
