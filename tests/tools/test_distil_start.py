"""The start of a student: patches of photographs, ImageNet's features of them, and the weights that come of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pitcore.errors import DataError
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.distil import catalogue, start, students
from pitcore_tools.distil.catalogue import Student
from pitcore_tools.distil.photos import draw_patches
from pitcore_tools.distil.pool import draw_pool
from pitcore_tools.distil.students import STARTS, build_student, load_start, render_pool
from pitcore_tools.distil.views import Form
from pitcore_tools.networks.checkpoint import load_tensors, save_weights
from tests.tools.test_distil import some_crops

SMALL = Student(title="", expected="", widths=[8, 8, 8, 8], size_px=32, rate=0.002, teachers=["any"])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos" / "deep"
    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    for index, (width, height) in enumerate([(300, 200), (120, 95)]):
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    Image.fromarray(random.integers(0, 256, (80, 200, 3), dtype=np.uint8)).save(folder / "low.png")  # below 90 px
    (folder / "broken.jpg").write_bytes(b"\xff\xd8" + bytes(9000))
    return folder.parent


def test_patches_are_squares_of_the_photographs_and_the_same_for_a_seed(photos: Path) -> None:
    patches = draw_patches(photos, photos=20, small=5)
    assert (patches.dtype, tuple(patches.shape)) == (torch.uint8, (20, 2, 112, 112))
    assert torch.equal(patches, draw_patches(photos, photos=20, small=5))
    corners = (patches[:, :, 0, 0] == 0).all(1)
    assert 0 < int(corners.sum()) < 20  # some are cut out as an ellipse on black


def test_small_pictures_come_whole_from_their_sheet(photos: Path) -> None:
    levels = np.arange(1, 11, dtype=np.uint8) * 20
    rows = np.repeat(levels[:, None], 1024, 1)
    Image.fromarray(np.stack([rows] * 3, 2)).resize((1024, 10)).save(photos / "data_batch_1.png", compress_level=0)
    patches = draw_patches(photos, photos=3, small=10)
    assert len(patches) == 13
    middles = sorted(int(level) for level in patches[3:, 0, 56, 56])
    assert middles == levels.tolist()


def test_a_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no photograph of 90 px or more; give a folder"):
        draw_patches(tmp_path)


def test_components_are_uncorrelated_and_have_a_variance_of_one_together() -> None:
    generator = torch.Generator().manual_seed(2)
    found = torch.randn(500, 12, generator=generator) @ torch.randn(12, 12, generator=generator)
    targets = start.components(found, 5)
    covariance = targets.T @ targets / len(targets)
    assert torch.diagonal(covariance).sum() == pytest.approx(1.0, abs=1e-4)
    assert (covariance - torch.diag(torch.diagonal(covariance))).abs().max() < 1e-4
    assert (torch.diagonal(covariance).diff() <= 1e-6).all()


def test_a_start_is_trained_and_a_student_begins_with_it(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ImageNet's net is replaced by one that is quick, because its weights are not in the test's machine."""
    monkeypatch.setattr(start, "ENTRIES", 64)
    told = torch.randn(64, 16, generator=torch.Generator().manual_seed(3))
    monkeypatch.setattr(start, "features", lambda *_others: told)
    out = tmp_path / "small.pt"
    start.train_start(SMALL, draw_patches(photos, photos=30), 3, out, lambda _text: None)
    network, fresh = build_student(SMALL), build_student(SMALL)
    fresh.load_state_dict(network.state_dict())
    load_start(network, out, seed=1)
    weights = load_tensors(out)
    assert torch.equal(network.layer1[0].conv1.weight, weights["layer1.0.conv1.weight"].float())
    assert not torch.equal(network.conv1.weight, fresh.conv1.weight)
    assert torch.equal(network.fc.weight, fresh.fc.weight)


def test_a_wider_student_begins_with_the_function_of_the_start(tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = build_student(SMALL)
    for value in network.state_dict().values():
        if value.ndim == 1:
            value.uniform_(0.5, 1.5)  # batch norms that a training has moved
    start_file = tmp_path / "small.pt"
    save_weights(start_file, {key: value for key, value in network.state_dict().items() if not key.startswith("fc.")})
    wider = build_student(Student(**{**msgspec.structs.asdict(SMALL), "widths": [12, 11, 20, 24]}))
    load_start(wider, start_file, seed=1)
    pictures = torch.rand(3, 2, 32, 32, generator=torch.Generator().manual_seed(6))
    width = network.fc.in_features
    save_weights(tmp_path / "wide.pt", {k: v for k, v in wider.state_dict().items() if not k.startswith("fc.")})
    with pytest.raises(DataError, match=r"wide\.pt: the start of another network"):
        load_start(network, tmp_path / "wide.pt", seed=1)
    for each in (network, wider):
        each.fc = torch.nn.Identity()
        each.eval()
    with torch.no_grad():
        old, new = network(pictures), wider(pictures)
    assert old.std() > 0.01
    assert torch.allclose(new[:, :width], old, rtol=1e-4, atol=1e-5)
    assert torch.allclose(new[:, width:], old.repeat(1, 2), rtol=1e-4, atol=1e-5)
    read = wider.state_dict()["layer4.1.conv2.weight"]
    assert not torch.allclose(read[:, 0], read[:, width]), "copies that are read alike would stay alike in training"


def test_every_committed_start_fits_its_students(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [catalogue.load(name) for name in catalogue.names()]
    with_start = [entry for entry in entries if isinstance(entry, Student) and entry.start]
    assert {f"{entry.start}.pt" for entry in with_start} == {path.name for path in STARTS.iterdir()}
    for entry in with_start:
        load_start(build_student(entry), STARTS / f"{entry.start}.pt", seed=1)
    seen = []
    monkeypatch.setattr(students, "load_start", lambda _network, path, _seed: seen.append(path.name))
    crops = some_crops()
    answered = students.Answered(draw_pool(crops, 0, 1), torch.full((32,), 0.5))
    small = Student(title="", expected="", widths=[8] * 4, size_px=32, rate=0.002, teachers=["any"], start="given")
    students.student_lesson([small, SMALL], crops, answered, 1, 1)
    assert seen == ["given.pt"]


def test_a_rendered_pool_has_the_pictures_of_its_entries() -> None:
    crops = some_crops()
    pool = draw_pool(crops, 0, 2)
    pictures = render_pool(pool, crops, Form(48, 48))
    entries = torch.tensor([5, 40])
    exact = pool.pictures(crops, entries, Form(48, 48)) * 255.0
    assert (pictures[entries].permute(0, 3, 1, 2).float() - exact).abs().max() <= 0.5


def test_the_command_names_a_net_that_is_no_student(tmp_path: Path) -> None:
    command = ["distil", "start", "teacher-lite0", "--photos", str(tmp_path), "--out", str(tmp_path / "start.pt")]
    result = CliRunner().invoke(pitcore_tools, command)
    assert "teacher-lite0 is not a student" in str(result.exception)
