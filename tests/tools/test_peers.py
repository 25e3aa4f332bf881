import numpy as np
import pytest
from click.testing import CliRunner

from pitcore.config import Config, FrameConfig, SegmentationConfig
from pitcore.errors import DataError
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.reference import OurSearch
from pitcore_tools.timing import in_turns, once, ratio

SHAPE, SIZE_PX = (400, 500), 80
SMALL = Config(frame=FrameConfig(height_px=SHAPE[0], width_px=SHAPE[1]))


def test_every_variant_has_its_turn_in_every_round_and_the_first_does_not_count():
    called = []
    jobs = {name: lambda number, name=name: called.append((name, number)) for name in "ab"}
    times = in_turns(jobs, 3)
    assert called == [(name, number) for number in range(4) for name in "ab"]
    assert {name: len(timed.wall_ms) for name, timed in times.items()} == {"a": 3, "b": 3}


def test_a_job_that_computes_costs_the_processor_time():
    wall_ms, cpu_ms = once(lambda: sum(range(300_000)))
    assert wall_ms > 0
    assert cpu_ms > 0


def test_the_ratio_is_the_median_of_the_rounds_and_lies_in_its_interval():
    base = np.array([1.0, 2.0, 4.0, 1.0, 3.0])
    found = ratio(base * np.array([2.0, 2.1, 1.9, 2.0, 9.0]), base)  # one round was disturbed
    assert found.value == pytest.approx(2.0)
    assert found.low <= found.value <= found.high


def test_absent_peers_are_one_clear_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    for name in ("pitcore_tools.peers.run", "pitcore_tools.peers.search"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    result = CliRunner().invoke(pitcore_tools, ["peers"])
    assert isinstance(result.exception, DataError)
    assert "run `make peers`" in str(result.exception)


@pytest.fixture(scope="module")
def search():
    pytest.importorskip("cv2", reason="the peers are an extra: make peers")
    from pitcore_tools.peers import search  # noqa: PLC0415

    return search


def picture(seed):
    """Discs of many sizes, some touching, some at the border, and noise."""
    chance = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    planes = chance.integers(0, 12, (2, *SHAPE)).astype(np.uint8)
    for _ in range(14):
        y, x, radius = chance.integers(0, SHAPE[0]), chance.integers(0, SHAPE[1]), chance.integers(5, 50)
        disc = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        planes[chance.integers(0, 2), disc] = chance.integers(60, 255, int(disc.sum()))
    return tuple(planes)


@pytest.mark.parametrize("labels", ["32-bit", "16-bit"])
@pytest.mark.parametrize("algorithm", ["default", "wu", "grana", "bolelli", "sauf", "bbdt", "spaghetti"])
def test_opencv_finds_the_same_things_to_the_pixel(search, algorithm, labels):
    ours = OurSearch(SMALL, SIZE_PX)
    theirs = search.OpenCvSearch(SegmentationConfig(), SIZE_PX, algorithm, labels)
    for seed in range(4):
        found = search.found_by(ours, picture(seed))
        assert len(found.boxes) >= 5
        search.check_equal(found, theirs.found(picture(seed)), algorithm)


def test_unequal_work_is_not_timed(search):
    ours, theirs = OurSearch(SMALL, SIZE_PX), search.OpenCvSearch(SegmentationConfig(), SIZE_PX, "default", "32-bit")
    with pytest.raises(DataError, match="no times are compared"):
        search.check_equal(search.found_by(ours, picture(1)), theirs.found(picture(2)), "OpenCV")


def test_the_tables_hold_every_variant_and_every_bar(search):
    from pitcore_tools.peers import report, run  # noqa: PLC0415

    question = run.prepare(Config(), 3, lambda: None)
    text = report.text([question], run.versions())
    assert text.count("| OpenCV ") == len(search.ALGORITHMS) * len(search.LABELS)
    assert "| search: times a plain copy | <= 8 | " in text
