"""The audit finds what was planted, nothing where nothing was, and never leaves crops where git would take them."""

import csv
import json
import shutil
import subprocess

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pitcore.camera.crops import LABELS, crop_hash, load_labelled, read_crop
from pitcore.errors import DataError
from pitcore.preprocess.prepare import CropSpec
from pitcore_tools.audit.duplicates import SAME_CHERRY, exact_groups, in_conflict, near_pairs
from pitcore_tools.audit.features import deviations, drift, holm, measure, outliers
from pitcore_tools.audit.opinions import Opinions, agreement, gather
from pitcore_tools.audit.sheet import PER_SHEET, Suspect, draw_sheets
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.evaluate.logits import HeldOut, write_logits
from pitcore_tools.train.dataset import prepare, read_relabel, relabelled
from tests.camera.belts import write_crop


@pytest.fixture(scope="module")
def untouched(procedural_crops, tmp_path_factory):
    """Half of the procedural crops: enough to plant something among, and quick."""
    folder = tmp_path_factory.mktemp("untouched")
    for path in sorted(procedural_crops.rglob("*.png"))[::2]:
        (folder / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, folder / path.parent.name)
    return folder


@pytest.fixture
def data(untouched, tmp_path):
    return shutil.copytree(untouched, tmp_path / "data")


@pytest.fixture(scope="module")
def crops(untouched):
    return load_labelled(untouched)


def path_of(data, label, place=0):
    return sorted((data / ("cherry_clean", "cherry_pit")[label]).iterdir())[place]


def table_of(crops, seed, wrong=()):
    """Held-out margins of a net that is right about every crop but those in ``wrong``, and sure of most."""
    rng = np.random.default_rng(seed)
    labels = np.array([crop.label for crop in crops])
    margins = np.where(labels == 1, 1.0, -1.0) * rng.uniform(2.0, 6.0, len(crops))
    margins[rng.choice(len(crops), 6, replace=False)] *= -0.1  # or calibration would be sure without end
    margins[[crop.hash in wrong for crop in crops]] *= -2.0
    hashes = [crop.hash for crop in crops]
    return HeldOut(hashes, np.arange(len(crops)) % 2, labels, margins, margins + 0.01)


def run(data, out, *arguments):
    return CliRunner().invoke(pitcore_tools, ["audit", str(data), "--out", str(out), *map(str, arguments)])


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_duplicate_pictures_are_found_under_any_file_name(data):
    shutil.copy(path_of(data, 1), data / "cherry_pit" / "again.png")
    (group,) = exact_groups(load_labelled(data))
    assert {crop.path.name for crop in group} == {"again.png", path_of(data, 1, 1).name}
    assert not in_conflict(group)


def test_a_picture_under_both_labels_is_reported_with_both_paths_and_left_out_of_training(data, tmp_path):
    source = path_of(data, 0)
    shutil.copy(source, data / "cherry_pit" / "twin.png")
    result = run(data, tmp_path / "out")
    assert result.exit_code == 0, result.output
    (row,) = [row for row in rows_of(tmp_path / "out" / "findings.csv") if row["kind"] == "conflict"]
    assert (row["path"], row["detail"]) == (f"cherry_clean/{source.name}", "cherry_pit/twin.png")
    relabel = read_relabel(tmp_path / "out" / "relabel.csv", LABELS)
    assert relabel == {crop_hash(read_crop(source))[:16]: None}


def test_the_same_cherry_seen_again_is_found_though_it_moved_and_changed_light(data):
    pixels = read_crop(path_of(data, 1, 5)).astype(np.float64)
    noise = np.random.default_rng(0).normal(0.0, 3.0, pixels.shape)
    again = np.where(pixels > 0, np.clip(pixels * 0.85 + noise, 1, 255), 0).astype(np.uint8)
    again[:, : np.flatnonzero(again.any(axis=(0, 2)))[0] + 5] = 0  # the mask took less of it, so its centre moves
    write_crop(data / "cherry_clean" / "again.png", again)
    (pair,) = near_pairs(load_labelled(data))
    assert pair.first.path.name == "again.png"
    assert pair.second.path == path_of(data, 1, 5)
    assert pair.labels_differ
    assert SAME_CHERRY < pair.likeness < 1.0


def test_cherries_that_only_look_alike_are_not_called_the_same(data):
    write_crop(data / "cherry_pit" / "mirrored.png", read_crop(path_of(data, 1, 5))[:, ::-1])
    assert not near_pairs(load_labelled(data))


def test_exact_duplicates_are_not_counted_as_the_same_cherry_again(data):
    shutil.copy(path_of(data, 1), data / "cherry_pit" / "again.png")
    assert not near_pairs(load_labelled(data))


@pytest.fixture
def flipped(data, crops, tmp_path):
    """A folder with one pit among the clean crops, its hash, and the tables of two nets that call it a pit."""
    shutil.move(path_of(data, 1, 7), data / "cherry_clean" / "moved.png")
    name = crop_hash(read_crop(data / "cherry_clean" / "moved.png"))
    wrong = load_labelled(data)
    for net in (1, 2):
        write_logits(tmp_path / f"{net}.csv", table_of(wrong, net, {name}))
    return data, name, (tmp_path / "1.csv", tmp_path / "2.csv")


def test_a_flipped_label_is_found_drawn_and_turned_in_training(flipped, tmp_path):
    data, name, (one, two) = flipped
    result = run(data, tmp_path / "out", "--logits", one, "--logits", two)
    assert result.exit_code == 0, result.output
    assert "1, of which all 2 nets say the other label" in result.output
    (row,) = rows_of(tmp_path / "out" / "relabel.csv")
    assert (row["hash"], row["label"], row["was"], row["seen_by"]) == (name, "pit", "clean", "")
    assert row["sheet"] == "sheet-01.png number 1"
    assert float(row["p_pit"]) > 0.9
    with Image.open(tmp_path / "out" / "sheet-01.png") as sheet:
        assert np.asarray(sheet).max() == 255
    training = prepare(load_labelled(data), CropSpec(48, "centre", 2))
    fixed = relabelled(training, read_relabel(tmp_path / "out" / "relabel.csv", LABELS))
    changed = [crop for crop, a, b in zip(training.hashes, training.labels, fixed.labels, strict=True) if a != b]
    assert changed == [name]


def test_one_net_alone_excludes_a_crop_and_changes_no_label(flipped, tmp_path):
    data, name, (one, _) = flipped
    assert run(data, tmp_path / "out", "--logits", one).exit_code == 0
    assert read_relabel(tmp_path / "out" / "relabel.csv", LABELS) == {name[:16]: None}


def test_a_label_is_not_suspect_if_one_net_agrees_with_it(flipped, tmp_path):
    data, _, (one, two) = flipped
    write_logits(two, table_of(load_labelled(data), 2))
    result = run(data, tmp_path / "out", "--logits", one, "--logits", two)
    assert "suspect labels           0" in result.output
    assert "no sheet, since there is no suspect" in result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "findings.csv",
        "findings.json",
        "relabel.csv",
    ]


def test_only_crops_that_every_net_judged_count(crops):
    whole, half = table_of(crops, 1), table_of(crops[::2], 2)
    found = gather({"a": whole, "b": half}, {crop.hash: crop.label for crop in crops})
    assert found.hashes == sorted(half.hashes)
    assert found.probabilities.shape == (2, len(crops[::2]))


def test_a_table_given_twice_counts_once(crops):
    with pytest.raises(DataError, match="independent nets"):
        gather({"a": table_of(crops, 1), "b": table_of(crops, 1)}, {crop.hash: crop.label for crop in crops})


def test_suspects_come_most_confident_first_and_their_number_bounds_the_accuracy():
    labels = np.array([0, 1, 1, 0, 0])
    said = np.array([[0.95, 0.01, 0.99, 0.2, 0.7], [0.93, 0.02, 0.98, 0.97, 0.1]])
    opinions = Opinions(["a", "b"], list("vwxyz"), labels, said)
    assert opinions.suspects(0.9).tolist() == [1, 0]
    judged = agreement(opinions, opinions.suspects(0.9))
    assert [share.hits for share in judged.accuracy] == [2, 2]
    assert [share.hits for share in judged.accuracy_corrected] == [4, 4]
    assert (judged.ceiling.hits, judged.ceiling.of) == (3, 5)
    assert (judged.errors_by_all, judged.errors_by_any) == (2, 4)
    assert judged.errors_by_all_if_independent == pytest.approx(5 * 0.6 * 0.6)


def test_a_crop_that_was_overexposed_stands_out_and_its_neighbours_do_not(data):
    path = path_of(data, 0, 9)
    pixels = read_crop(path)
    write_crop(path, np.where(pixels > 0, np.clip(pixels * 10.0, 0, 255), 0).astype(np.uint8))
    crops = load_labelled(data)
    bright = [each for each in outliers(measure(crops)) if each.feature == "top_mean_level"]
    assert [crops[each.index].path for each in bright] == [path]
    assert bright[0].deviations > 5


def test_a_crop_that_touches_its_border_is_listed(data):
    path = path_of(data, 1, 2)
    pixels = read_crop(path).copy()
    pixels[60, 0] = 80
    write_crop(path, pixels)
    crops = load_labelled(data)
    touching = [crops[each.index].path for each in outliers(measure(crops)) if each.feature == "touches_border"]
    assert touching == [path]


def test_values_that_are_mostly_equal_still_have_outliers_and_equal_ones_have_none():
    assert np.flatnonzero(np.abs(deviations(np.array([0.0] * 99 + [1.0]))) > 5).tolist() == [99]
    assert not deviations(np.full(9, 3.0)).any()


def test_drift_is_found_between_bright_and_dim_and_named(data, untouched, tmp_path):
    for path in data.rglob("*.png"):
        pixels = read_crop(path)
        write_crop(path, np.where(pixels > 0, np.maximum(pixels * 0.7, 1), 0).astype(np.uint8))
    result = run(untouched, tmp_path / "out", "--against", data, "--json")
    assert result.exit_code == 0, result.output
    found = {each["feature"] for each in json.loads(result.output)["drift"]["features"] if each["found"]}
    assert found >= {"top_mean_level", "bottom_mean_level"}
    assert not found & {"height_px", "width_px", "area_px", "touches_border"}
    details = [row["detail"] for row in rows_of(tmp_path / "out" / "findings.csv") if row["kind"] == "drift"]
    assert any("brightness of the top plane: " in detail and " lower " in detail for detail in details)


def test_no_drift_is_found_between_two_parts_of_one_set(crops):
    values = measure(crops)
    assert not [each.feature for each in drift(values[::2], values[1::2]) if each.found]


def test_p_values_are_corrected_for_their_number():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_sheets_hold_every_suspect(crops):
    suspects = [Suspect(crop.pixels, crop.hash, LABELS[crop.label], 0.5) for crop in crops[: PER_SHEET + 1]]
    full, last = draw_sheets(suspects)
    assert full.height > last.height > 0
    assert draw_sheets([]) == []


@pytest.fixture
def work_tree(tmp_path):
    tree = tmp_path / "tree"
    subprocess.run(["git", "init", "--quiet", tree], check=True)
    (tree / ".gitignore").write_text("kept_out/\n")
    return tree


def test_sheets_are_refused_in_a_folder_that_git_tracks(untouched, work_tree, tmp_path):
    (tmp_path / "link").symlink_to(work_tree)
    for out in (work_tree / "audit", work_tree / "a" / "b", tmp_path / "link" / "audit", work_tree):
        result = run(untouched, out)
        assert isinstance(result.exception, DataError)
        assert "must never be committed" in str(result.exception)
    assert sorted(path.name for path in work_tree.iterdir()) == [".git", ".gitignore"]


def test_sheets_are_written_to_a_folder_that_git_ignores(untouched, work_tree):
    assert run(untouched, work_tree / "kept_out" / "audit").exit_code == 0
    status = subprocess.run(["git", "-C", work_tree, "status", "--short"], capture_output=True, text=True, check=True)
    assert status.stdout == "?? .gitignore\n"


def test_a_persons_decisions_on_an_earlier_audit_are_not_overwritten(untouched, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "relabel.csv").write_text("mine")
    result = run(untouched, tmp_path / "out")
    assert isinstance(result.exception, DataError)
    assert "name a new or empty --out" in str(result.exception)
    assert (tmp_path / "out" / "relabel.csv").read_text() == "mine"


def test_an_impossible_audit_is_a_one_line_error(data, crops, tmp_path):
    write_logits(tmp_path / "l.csv", table_of(crops, 1))
    path_of(data, 0).unlink()
    (tmp_path / "empty" / "cherry_clean").mkdir(parents=True)
    for folder, said in (
        (data, "1 of its 60 crops are not in"),
        (tmp_path / "gone", "no such folder"),
        (tmp_path / "empty", "no PNG in cherry_clean/"),
    ):
        result = run(folder, tmp_path / "out", "--logits", tmp_path / "l.csv")
        assert isinstance(result.exception, DataError)
        assert result.exception.exit_code == 2
        assert said in str(result.exception)
        assert "\n" not in str(result.exception)
