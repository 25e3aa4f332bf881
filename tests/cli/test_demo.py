import json
import os
import re
import resource
import shutil
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pitcore.camera.crops import crop_hash, fold_of
from pitcore.model_card import DEFAULT_BUNDLE
from tests.cli.program import assert_one_clear_line, run_pitcore, write_config
from tests.conftest import tiny_card, write_card


@pytest.fixture
def small(tmp_path, tiny_bundle):
    return write_config(tmp_path / "board.toml", tiny_bundle)


def numbers_of(table_row):
    return [int(cell) for cell in table_row.split()[1:]]


def test_the_demo_judges_every_cherry_once_and_writes_what_it_names(tmp_path, small):
    done = run_pitcore("demo", "--config", small, "--frames", "20", "--out", tmp_path / "demo")
    assert (done.returncode, done.stderr) == (0, "")
    due = int(re.search(r"^20 frames, 0 dropped; (\d+) cherries must have one verdict each$", done.stdout, re.M)[1])
    assert "missed 0, judged twice 0, nothing there 0" in done.stdout
    for stage in ("capture", "prepare", "infer", "decide", "emit", "total"):
        assert f"\n  {stage} " in done.stdout
    lines = [json.loads(line) for line in (tmp_path / "demo" / "verdicts.jsonl").read_text().splitlines()]
    judged, table = re.search(
        r"^(\d+) things have one verdict each:\n\n.*\n.*\n((?:  .*\n)+)", done.stdout, re.M
    ).groups()
    totals = [numbers_of(row)[-1] for row in table.replace("cut by an edge", "cut").splitlines()]
    assert len(lines) >= sum(totals) == int(judged) > due > 10
    assert {line["schema"] for line in lines} == {"pitcore.verdict/1"}
    with Image.open(tmp_path / "demo" / "belt.png") as picture:
        picture.load()
        assert picture.width == 640
        assert picture.height > 480


DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def demo_of_the_bundled_model(tmp_path_factory):
    """What ``pitcore demo`` prints, and its verdict lines. Both are the same on every machine."""
    out = tmp_path_factory.mktemp("demo")
    done = run_pitcore("demo", "--out", out)
    return done.stdout, [json.loads(line) for line in (out / "verdicts.jsonl").read_text().splitlines()]


def test_the_readme_has_what_the_demo_prints(demo_of_the_bundled_model):
    printed, _ = demo_of_the_bundled_model
    table = printed[printed.index("60 frames") : printed.index("\noperating point")]
    assert textwrap.indent(table.rstrip(), "    ") in (DOCS.parent / "README.md").read_text()


def test_the_line_in_the_documentation_is_one_of_the_demo(demo_of_the_bundled_model):
    _, lines = demo_of_the_bundled_model
    text = re.search(r"    (\{\"schema\": \"pitcore.verdict/1\".+?\n)\n", (DOCS / "verdicts.md").read_text(), re.S)[1]
    documented = json.loads(text)
    (same,) = [
        line for line in lines if [line.get("frame"), line.get("box")] == [documented["frame"], documented["box"]]
    ]
    for key in ("config", "latency_us"):  # the one changes with every new key, the other with the machine
        assert type(documented.pop(key)) is type(same.pop(key))
    assert documented == same


def test_the_same_seed_gives_the_same_verdicts_and_another_seed_others(tmp_path, small):
    def verdicts(seed):
        out = tmp_path / f"seed{seed}"
        assert run_pitcore("demo", "--config", small, "--frames", "6", "--seed", seed, "--out", out).returncode == 0
        lines = [json.loads(line) for line in (out / "verdicts.jsonl").read_text().splitlines()]
        return [{key: value for key, value in line.items() if key != "latency_us"} for line in lines]

    first = verdicts(3)
    shutil.rmtree(tmp_path / "seed3")
    assert first == verdicts(3)
    assert first != verdicts(4)


def test_a_second_demo_replaces_the_verdicts_of_the_first(tmp_path, small):
    for frames in ("8", "2"):
        assert run_pitcore("demo", "--config", small, "--frames", frames, "--out", tmp_path).returncode == 0
    assert max(json.loads(line)["frame"]["seq"] for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()) < 2


def write_crops(folder, count=12):
    """Discs of random grey in both classes; returns how many fall into fold 0 of 2."""
    yy, xx = np.mgrid[:48, :48]
    disc = (yy - 23.5) ** 2 + (xx - 23.5) ** 2 < 22**2
    held = 0
    for index in range(2 * count):
        rng = np.random.default_rng(index)
        image = np.zeros((48, 48, 3), np.uint8)
        image[..., 0] = np.where(disc, rng.integers(70, 150, disc.shape), 0)
        image[..., 2] = np.where(disc, rng.integers(90, 200, disc.shape), 0)
        place = folder / ("cherry_clean" if index < count else "cherry_pit") / f"{index:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place)
        held += fold_of(crop_hash(image[..., ::2]), 2) == 0
    return held


def test_crops_on_the_belt_are_counted_apart_by_whether_the_model_trained_on_them(tmp_path, small, tiny_bundle):
    held = write_crops(tmp_path / "crops")
    assert 0 < held < 24
    (tiny_bundle / "metrics.json").write_text(
        json.dumps({"split": {"by": "crop_hash", "folds": 2, "held_out_fold": 0}})
    )
    write_card(tiny_bundle, tiny_card(tiny_bundle))
    done = run_pitcore("demo", "--config", small, "--crops", tmp_path / "crops", "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"\n{held} crops held out (fold 0, never trained on)" in done.stdout
    assert f"\n{24 - held} crops trained on" in done.stdout
    assert "missed 0, judged twice 0, nothing there 0" in done.stdout
    assert "clean" in done.stdout


def test_a_bundle_without_its_split_is_named(tmp_path, small):
    write_crops(tmp_path / "crops", count=2)
    done = run_pitcore("demo", "--config", small, "--crops", tmp_path / "crops", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "metrics.json: does not say which crops were held out" in done.stderr


def test_a_full_disk_is_one_line_and_leaves_whole_lines(tmp_path, small):
    limit = 4096

    def fill_the_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    environment = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    done = run_pitcore(
        *("demo", "--config", small, "--frames", "20", "--out", tmp_path), preexec_fn=fill_the_disk, env=environment
    )
    assert done.returncode == 2
    assert "lines could not be written" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    written = (tmp_path / "verdicts.jsonl").read_bytes()
    assert 0 < len(written) <= limit
    assert written.endswith(b"\n")
    assert all(json.loads(line) for line in written.splitlines())


@pytest.mark.parametrize("what", ["missing", "empty", "one class", "broken picture"])
def test_crops_that_cannot_be_used_are_one_clear_line(tmp_path, small, what):
    folder = tmp_path / "crops"
    if what != "missing":
        folder.mkdir()
    if what in {"one class", "broken picture"}:
        write_crops(folder, count=2)
    if what == "one class":
        shutil.rmtree(folder / "cherry_pit")
    if what == "broken picture":
        broken = folder / "cherry_pit" / "002.png"
        broken.write_bytes(broken.read_bytes()[:200])
    done = run_pitcore("demo", "--config", small, "--crops", folder, "--out", tmp_path / "out")
    assert_one_clear_line(done, "002.png" if what == "broken picture" else str(folder))


def test_an_output_place_that_is_a_file_is_one_clear_line(tmp_path, small):
    (tmp_path / "taken").write_text("")
    assert_one_clear_line(
        run_pitcore("demo", "--config", small, "--out", tmp_path / "taken"), "taken", "name another place"
    )


def test_the_bundled_model_judges_the_procedural_belt(tmp_path):
    if not (DEFAULT_BUNDLE / "card.json").exists():
        pytest.fail(f"the bundled model is missing: {DEFAULT_BUNDLE}")
    done = run_pitcore("demo", "--frames", "20", "--seed", "2", "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    rows = {
        line.split()[0]: numbers_of(line) for line in done.stdout.splitlines() if line[2:7].strip() in {"clean", "pit"}
    }
    clean_as_clean, _, clean_as_pit, _, clean = rows["clean"]
    pit_as_clean, _, pit_as_pit, _, pits = rows["pit"]
    assert clean + pits > 250  # so many that one clean cherry more or less does not decide
    assert clean_as_clean > 5 * clean_as_pit
    assert pit_as_pit > 5 * pit_as_clean


def test_a_folder_of_crops_that_is_not_there_is_named(tmp_path, small):
    done = run_pitcore("demo", "--config", small, "--crops", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert_one_clear_line(done, f"{tmp_path / 'nowhere'}: no such folder; name the folder that holds cherry_clean and")
