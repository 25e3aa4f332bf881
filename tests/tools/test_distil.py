"""Teachers, pools and students: what a student learns must be what the teachers said of the very same picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from pitcore.errors import ConfigError, DataError
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.distil import catalogue, report, run
from pitcore_tools.distil.answer_files import write_answers
from pitcore_tools.distil.catalogue import Student, Teacher
from pitcore_tools.distil.crops import Crops, load_packed
from pitcore_tools.distil.fit import Lesson, one_cycle, permutations
from pitcore_tools.distil.handover import hand_over
from pitcore_tools.distil.packing import pack_crops
from pitcore_tools.distil.pool import Answered, draw_pool, from_bytes, to_bytes
from pitcore_tools.distil.students import build_student, student_lesson, student_margins
from pitcore_tools.distil.teachers import learned_from
from pitcore_tools.distil.views import (
    Form,
    render,
)
from pitcore_tools.evaluate.logits import read_logits
from pitcore_tools.networks.imagenet import SOURCES, ImageNet, Spatial, folded, load_by_order
from pitcore_tools.train.loop import load_network, seen_by

SMALL = Student(title="", expected="", widths=[8, 8, 8, 8], size_px=32, rate=0.002, teachers=["any"])


def some_crops(count: int = 40) -> Crops:
    """Discs of two brightnesses, the class in the brightness, over all five folds."""
    generator = torch.Generator().manual_seed(1)
    rows, columns = torch.meshgrid(torch.arange(112), torch.arange(112), indexing="ij")
    disc = ((rows - 55.5) ** 2 + (columns - 55.5) ** 2 < 24**2).to(torch.uint8)
    labels = torch.arange(count) % 2
    level = torch.where(labels == 1, 200, 90) + torch.randint(0, 20, (count,), generator=generator)
    pixels = (disc * level.view(-1, 1, 1).to(torch.uint8))[:, None].repeat(1, 2, 1, 1)
    return Crops(pixels, labels, torch.arange(count) // 2 % 5, [f"{index:064x}" for index in range(count)])


def test_a_teacher_of_a_share_learns_from_a_part_of_the_crops_outside_the_fold() -> None:
    crops = some_crops()
    half = catalogue.teacher("teacher-mobilenet2-half")
    outside, part = crops.without(1).tolist(), learned_from(half, crops, 1).tolist()
    assert part == outside[: round(len(outside) / 2)]
    assert learned_from(catalogue.teacher("teacher-mobilenet2"), crops, 1).tolist() == outside


def test_no_view_of_a_pool_shows_a_crop_of_the_held_out_fold() -> None:
    crops = some_crops()
    pool = draw_pool(crops, fold=2, views_each=3)
    assert len(pool) == 3 * int((crops.folds != 2).sum())
    assert not bool((crops.folds[pool.crop] == 2).any())
    assert sorted(pool.partner.tolist()) == list(range(len(pool)))


def test_an_entry_that_is_not_blended_is_its_own_view() -> None:
    crops = some_crops()
    pool = draw_pool(crops, fold=0, views_each=2)
    entry = int((pool.share == 1.0).nonzero()[0])
    entries = torch.tensor([entry])
    own = render(crops.pixels[pool.crop[entries]], pool.views[entries], Form(64, 64))
    assert torch.equal(pool.pictures(crops, entries, Form(64, 64)), own)


def test_answers_survive_being_packed_into_bytes() -> None:
    said = torch.tensor([0.001, 0.02, 0.5, 0.97, 0.9999])
    back = from_bytes(to_bytes(said))
    assert torch.allclose(torch.logit(back[:4]), torch.logit(said[:4]), atol=1 / 32)
    assert float(back[4]) > 0.999


def test_every_source_has_the_published_number_of_weights() -> None:
    # Sources: M. Tan, Q. Le, "EfficientNet-Lite"; torchvision.models. 1,000 classes.
    published = {
        "efficientnet_lite0": 4.65,
        "efficientnet_lite1": 5.42,
        "efficientnet_lite2": 6.09,
        "mobilenet_v2": 3.50,
    }
    for name, millions in published.items():
        with torch.device("meta"):
            count = sum(value.numel() for value in ImageNet(SOURCES[name], 1000).parameters())
        assert round(count / 1e6, 2) == pytest.approx(millions, abs=0.011), name


def test_a_checkpoint_of_another_network_is_refused() -> None:
    small, large = ImageNet(SOURCES["efficientnet_lite0"], 2), ImageNet(SOURCES["efficientnet_lite2"], 2)
    with pytest.raises(ValueError, match=r"is .* wants"):
        load_by_order(small, large.state_dict())


def test_folding_batch_norms_changes_no_answer() -> None:
    torch.manual_seed(0)
    network = ImageNet(SOURCES["efficientnet_lite0"], 2).train()
    pictures = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        network(pictures)  # gives the batch norms statistics of their own
        network.eval()
        assert torch.allclose(network(pictures), folded(network)(pictures), atol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "stride", "same"), [(3, 1, False), (5, 1, True), (3, 2, True), (5, 2, True), (3, 2, False)]
)
def test_a_depthwise_layer_has_the_same_gradients_in_bfloat16(kernel: int, stride: int, same: bool) -> None:  # noqa: FBT001  a parameter of the test
    torch.manual_seed(0)
    layer = Spatial(8, 8, kernel, stride, groups=8, bias=False)
    layer.same_padding = same
    pictures = torch.randn(2, 8, 12, 12).bfloat16().float()
    with torch.no_grad():
        layer.weight.copy_(layer.weight.bfloat16())
    weights = torch.randn(2, 8, 12 // stride, 12 // stride).bfloat16().float()
    found = []
    for enabled in (False, True):
        x = pictures.clone().requires_grad_()
        layer.weight.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            out = layer(x)
        assert ("Depthwise" in type(out.grad_fn).__name__) == enabled
        (out.float() * weights).sum().backward()
        found.append((out.detach().float(), x.grad, layer.weight.grad))
    for single, half in zip(*found, strict=True):
        assert torch.allclose(single, half, rtol=0.02, atol=0.02 * float(single.abs().max()))


def test_the_learning_rate_rises_once_and_falls_to_nearly_nothing() -> None:
    rates = one_cycle(100, 0.01)
    top = int(rates.argmax())
    assert float(rates.max()) == pytest.approx(0.01)
    assert bool((rates[:top].diff() > 0).all())
    assert bool((rates[top:].diff() <= 0).all())
    assert float(rates[-1]) < 2e-5


def test_each_pass_shows_every_crop_once() -> None:
    order = permutations(12, 4, 6, seed=1).flatten()
    assert sorted(order[:12].tolist()) == sorted(order[12:].tolist()) == list(range(12))


def taught(crops: Crops, steps: int, resume_at: int | None = None) -> Lesson:
    """A student that learns for some steps, broken and resumed on the way if wanted."""
    pool = draw_pool(crops, fold=0, views_each=4)
    said = torch.where(crops.labels[pool.crop] == 1, 0.95, 0.05)
    lesson = student_lesson([SMALL], crops, Answered(pool, said), seed=9, total=steps)
    for number in range(steps):
        if number == resume_at:
            state = lesson.state()
            lesson = student_lesson([SMALL], crops, Answered(pool, said), seed=9, total=steps)
            lesson.resume(state)
        torch.manual_seed(number)
        lesson.before(number)
        lesson.step()
    return lesson


def test_a_student_learns_the_answers_of_its_teachers() -> None:
    crops = some_crops()
    lesson = taught(crops, 100)  # the running average follows slowly: at 60 it is right by a hair
    where = crops.of_folds([0])
    margins = student_margins(lesson.learners[0].average, SMALL.form, crops.pixels[where], 8)
    assert margins.shape == (len(where), 8)
    assert torch.equal((margins.mean(1) > 0).long(), crops.labels[where])


def test_an_interrupted_training_resumes_to_the_same_weights() -> None:
    crops = some_crops(20)
    whole, broken = taught(crops, 6).learners[0], taught(crops, 6, resume_at=4).learners[0]
    for one, other in zip(whole.average.state_dict().values(), broken.average.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_packed_crops_are_read_as_they_were(tmp_path: Path) -> None:
    crops = some_crops(10)
    pack_crops(crops, tmp_path / "crops.npz")
    back = load_packed(tmp_path / "crops.npz", torch.device("cpu"))
    assert torch.equal(back.pixels, crops.pixels)
    assert (back.hashes, back.labels.tolist()) == (crops.hashes, crops.labels.tolist())


def place_at(tmp_path: Path, crops: Crops) -> run.Workspace:
    return run.Workspace(crops, tmp_path / "runs", tmp_path / "results", None, lambda _text: None)


def test_students_are_scored_on_the_fold_that_they_never_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crops = some_crops()
    place = place_at(tmp_path, crops)
    monkeypatch.setattr(catalogue, "student", lambda _name: SMALL)
    for fold in (0, 1):
        pool = draw_pool(crops, fold, 2)
        said = torch.where(crops.labels[pool.crop] == 1, 0.9, 0.1)
        write_answers(place.answers("any", fold), said, crops, fold)
    run.learn(["small"], place, run.Length(epochs=1), folds=(0, 1))
    for fold in (0, 1):
        with np.load(place.margins("small", fold)) as content:
            assert [int(name, 16) for name in content["hashes"]] == [
                int(crops.hashes[index][:16], 16) for index in crops.of_folds([fold]).tolist()
            ]
            assert content["margins"].shape == (8, 8)
    network = build_student(SMALL)
    network.load_state_dict(torch.load(place.weights("small", 0), weights_only=True))


def test_a_student_is_handed_over_as_a_run_that_the_quantiser_can_load(tmp_path: Path) -> None:
    crops = some_crops()
    place = place_at(tmp_path, crops)
    name = "quarter-fine-64-taught"
    network = build_student(catalogue.student(name))
    path = place.weights(name, 3)
    path.parent.mkdir(parents=True)
    torch.save(network.state_dict(), path)
    hand_over(name, 3, place, tmp_path / "run", "0.4.0")
    recipe, loaded = load_network(tmp_path / "run")
    assert (recipe.held_out_fold, recipe.crop_size_px, recipe.stem) == (3, 64, "fine")
    assert torch.equal(loaded.state_dict()["fc.weight"], network.state_dict()["fc.weight"])
    assert seen_by(tmp_path / "run").isdisjoint(crops.hashes[index] for index in crops.of_folds([3]).tolist())


def test_a_fold_of_ten_is_kept_apart_from_the_five(tmp_path: Path) -> None:
    five = some_crops()
    ten = replace(five, folds=torch.arange(len(five.hashes)) % 10, fold_count=10)
    name = "quarter-fine-64-taught"
    places = [place_at(tmp_path, crops) for crops in (five, ten)]
    assert len({place.weights(name, 3) for place in places}) == len({place.answers(name, 3) for place in places}) == 2
    path = places[1].weights(name, 3)
    path.parent.mkdir(parents=True)
    torch.save(build_student(catalogue.student(name)).state_dict(), path)
    hand_over(name, 3, places[1], tmp_path / "run", "0.4.0")
    recipe, _ = load_network(tmp_path / "run")
    assert (recipe.folds, recipe.held_out_fold) == (10, 3)
    assert seen_by(tmp_path / "run") == {ten.hashes[index] for index in range(40) if index % 10 != 3}


@pytest.mark.parametrize("fold", ["5", "10/10", "3/1", "-1", "2/", "a"])
def test_a_fold_that_does_not_exist_is_refused(fold: str) -> None:
    arguments = ["distil", "teach", "teacher-lite0", "--data", ".", "--fold", fold]
    result = CliRunner().invoke(pitcore_tools, arguments)
    assert result.exit_code == 2
    assert "is not a fold; name one of 0 to 4, or 9/10 for fold 9 of 10" in " ".join(result.output.split())


def test_folds_of_two_splits_in_one_command_are_refused() -> None:
    arguments = ["distil", "teach", "teacher-lite0", "--data", ".", "--fold", "1", "--fold", "9/10"]
    result = CliRunner().invoke(pitcore_tools, arguments)
    assert isinstance(result.exception, DataError)
    assert "different splits" in str(result.exception)


def test_answers_to_other_crops_are_refused(tmp_path: Path) -> None:
    crops = some_crops()
    place = place_at(tmp_path, crops)
    path = place.answers("any", 0)
    write_answers(path, torch.full((33,), 0.5), crops, 0)
    with pytest.raises(DataError, match="33 answers for 32 crops"):
        run.answered(["any"], 0, place)
    said = torch.where(crops.labels[draw_pool(crops, 0, 2).crop] == 1, 0.9, 0.1)
    write_answers(path, said, crops, 0)
    run.answered(["any"], 0, place)
    # crop 2 of fold 1 is replaced by another one, which comes later in the order: all between get the next one's place
    order = [index for index in range(40) if index != 2] + [2]
    other = Crops(
        crops.pixels[order], crops.labels[order], crops.folds[order], [crops.hashes[i] for i in order[:-1]] + ["f" * 64]
    )
    for step in (lambda at: run.answered(["any"], 0, at), lambda at: run.answer("any", at, [0])):
        with pytest.raises(DataError, match=f"{path}: has the answers to other crops"):
            step(place_at(tmp_path, other))
    held_out = [index for index in range(40) if crops.folds[index] != 0 or index != 0]  # the fold itself does not count
    less = Crops(*(part[held_out] for part in (crops.pixels, crops.labels, crops.folds)), crops.hashes[1:])
    run.answered(["any"], 0, place_at(tmp_path, less))


@pytest.mark.parametrize("raw", [b"", b"no answers", b"PK\x03\x04 and no more"])
def test_a_damaged_file_of_answers_is_a_clear_error(tmp_path: Path, raw: bytes) -> None:
    place = place_at(tmp_path, some_crops())
    path = place.answers("any", 0)
    path.parent.mkdir(parents=True)
    path.write_bytes(raw)
    with pytest.raises(DataError, match=f"{path}: not a file of answers"):
        run.answered(["any"], 0, place)


def test_a_checkpoint_of_other_crops_or_labels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crops = some_crops()
    monkeypatch.setattr(catalogue, "student", lambda _name: SMALL)
    monkeypatch.setattr(run, "CHECKPOINT_STEPS", 1)
    at = place_at(tmp_path, crops)
    write_answers(at.answers("any", 0), torch.full((64,), 0.5), crops, 0)
    run.learn(["small"], at, run.Length(epochs=1), folds=[0])
    at.weights("small", 0).unlink()
    run.learn(["small"], at, run.Length(epochs=1), folds=[0])
    at.weights("small", 0).unlink()
    with pytest.raises(DataError, match=r"checkpoint.pt: was begun with other crops or labels"):
        run.learn(["small"], place_at(tmp_path, replace(crops, labels=1 - crops.labels)), run.Length(epochs=1), [0])


def test_the_committed_answers_say_to_which_crops_they_answer() -> None:
    answers = sorted((report.COMMITTED / "answers").glob("*.npz"))
    stored: dict[str, set[str]] = {}
    for path in answers:
        with np.load(path) as content:
            stored.setdefault(path.stem.rpartition("-")[2], set()).add(str(content["crops"]))
    assert len(answers) >= 10
    assert all(len(digests) == 1 for digests in stored.values()), "teachers of one fold answer to the same crops"


def test_every_entry_of_the_catalogue_can_be_read_and_its_teachers_exist() -> None:
    names = catalogue.names()
    assert names
    for name in names:
        entry = catalogue.load(name)
        for other in getattr(entry, "teachers", getattr(entry, "members", [])):
            assert isinstance(catalogue.load(other), Teacher), name


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"there are .*teacher-lite0"):
        catalogue.load("nobody")
    result = CliRunner().invoke(pitcore_tools, ["distil", "teach", "teachers", "--data", "."])
    assert isinstance(result.exception, ConfigError)
    assert "teachers is not a teacher" in str(result.exception)


def test_logits_of_an_ensemble_are_those_of_its_members_together(tmp_path):
    """The committed margins of two teachers on one fold, read back as `audit` reads them."""
    tables = {}
    for name in ("teacher-lite0", "teacher-mobilenet2", "teachers"):
        out = tmp_path / f"{name}.csv"
        result = CliRunner().invoke(pitcore_tools, ["distil", "logits", name, "--out", str(out)])
        assert result.exit_code == 0, result.output
        tables[name] = read_logits(out)
    one, other, both = tables.values()
    assert one.hashes == other.hashes == both.hashes
    low, high = np.minimum(one.float_margins, other.float_margins), np.maximum(one.float_margins, other.float_margins)
    assert ((both.float_margins >= low - 1e-4) & (both.float_margins <= high + 1e-4)).all()
    mean = np.mean([1 / (1 + np.exp(-each.float_margins)) for each in (one, other)], axis=0)
    np.testing.assert_allclose(both.float_margins, np.log(mean / (1 - mean)), atol=1e-3)


def test_logits_of_a_net_that_was_not_run_are_refused(tmp_path):
    (tmp_path / "results").mkdir()
    arguments = ["distil", "logits", "teacher-lite0", "--out", str(tmp_path / "a.csv")]
    result = CliRunner().invoke(pitcore_tools, [*arguments, "--results", str(tmp_path / "results")])
    assert "holds no margins of teacher-lite0" in str(result.exception)
    assert not (tmp_path / "a.csv").exists()


def test_suspect_labels_are_those_that_both_teachers_contradict() -> None:
    found = report.suspects()
    tables = [report.held_out(name) for name in ("teacher-lite0", "teacher-mobilenet2")]
    against = [
        dict(zip(one.hashes, np.where(one.labels == 1, -one.float_margins, one.float_margins), strict=True))
        for one in tables
    ]
    assert 40 < len(found) < 80
    for name in against[0]:
        least = min(one[name] for one in against)
        assert least > 0.5 if name in found else least < 2.5  # margins before calibration, which multiplies them by 1.5


def test_the_report_without_suspects_counts_the_other_crops() -> None:
    lines = report.suspects_table().splitlines()
    student = next(line for line in lines if "quarter-fine-72-taught" in line)
    left_out = report.suspects()
    kept = [name for name in report.held_out("quarter-fine-72-taught").hashes if name not in left_out]
    assert f"| {len(kept)} |" in student
