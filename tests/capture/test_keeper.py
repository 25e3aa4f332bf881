"""Tests the kept cherries with the real loop and a real disk."""

import collections
import json
import signal
import threading

import msgspec
import pytest

from pitcore.camera.crops import read_crop
from pitcore.capture import keeper as keeping
from pitcore.capture.keeper import CropKeeper
from pitcore.capture.record import decode_record
from pitcore.capture.ring import NAME
from pitcore.config import CaptureConfig, decode_config
from pitcore.errors import ConfigError
from pitcore.inference.choice import open_bundle
from pitcore.loop.classifier import Classifier
from pitcore.loop.pipeline import Hooks
from tests.cli.program import write_config
from tests.cli.service import Service, whole_lines
from tests.conftest import write_tiny_bundle
from tests.outputs.running import PATIENCE_S, RunningService, until
from tests.scene import CLEAN, MAYBE, PIT, ListSource, config_for, planes_with, run_scene, still

RUN = "0a" * 16
ALL = {"enabled": True, "random_share": 1.0, "doubtful_per_minute": 60000.0, "free_bytes": 0}


def capture(folder, **keys):
    return CaptureConfig(**(ALL | {"folder": str(folder)} | keys))


def end(keeper):
    """Close the keeper, and wait without a limit until everything is on the disk."""
    keeper.close()
    keeper._thread.join(PATIENCE_S)


def kept(folder):
    files = sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))
    return [(path, *decode_record(path.read_bytes(), path.name)) for path in files]


def run(tiny_bundle, folder, *frames, **keys):
    keeper = CropKeeper(capture(folder, **keys), RUN)
    memory, _, app = run_scene(ListSource(still(*frames)), config_for(tiny_bundle), hooks=Hooks(keepers=[keeper]))
    end(keeper)
    return keeper, memory, app


def test_a_kept_crop_has_the_verdict_its_line_has_and_the_pixels_of_the_cherry(tiny_bundle, tmp_path):
    squares = (20, 60, CLEAN), (120, 60, PIT), (220, 60, MAYBE)
    keeper, memory, _ = run(tiny_bundle, tmp_path / "ring", planes_with(*squares))
    files = kept(tmp_path / "ring")
    said = [msgspec.structs.replace(line, latency_us=None) for line in memory.verdicts]
    assert [record.verdict for _, record, _ in files] == said
    for (_, record, pixels), (_, _, level) in zip(files, squares, strict=True):
        assert pixels.shape[:2] == (record.verdict.box[3], record.verdict.box[2])
        assert (pixels[..., 0] == level).all()
        assert (pixels[..., 1] == 120).all()
        assert record.plane_means == (level, 120.0)
        assert record.whole
    assert [record.why[0] for _, record, _ in files] == ["random"] * 3
    assert files[2][1].why == ("random", "uncertain")
    assert keeper.status()["random"] == 3
    assert keeper.status()["bytes"] == 3 * 4096


def test_classify_says_of_a_kept_crop_what_the_board_said(tiny_bundle, tmp_path):
    squares = [(20 + 100 * (number % 3), 60, 84 + 9 * number) for number in range(9)]
    frames = [planes_with(*squares[start : start + 3], seed=start) for start in (0, 3, 6)]
    run(tiny_bundle, tmp_path / "ring", *frames)
    files = kept(tmp_path / "ring")
    assert len(files) == 9
    found = Classifier(open_bundle(config_for(tiny_bundle))).classify([str(path) for path, _, _ in files])
    for again, (path, record, pixels) in zip(found, files, strict=True):
        assert again.p_pit == record.verdict.probabilities["pit"]
        assert again.verdict == record.verdict.verdict
        assert (read_crop(path) == pixels).all()


def test_a_folder_that_cannot_be_written_drops_and_counts_and_the_belt_is_judged(tiny_bundle, tmp_path):
    (tmp_path / "file").write_text("in the way")
    keeper, memory, _ = run(tiny_bundle, tmp_path / "file" / "ring", planes_with((20, 60, CLEAN)))
    assert len(memory.verdicts) == 1
    told = keeper.status()
    assert (told["state"], told["dropped"], told["random"]) == ("failing", 1, 0)
    assert "no crop is kept" in told["reason"]


def test_a_disk_that_hangs_stops_nothing_and_what_it_costs_is_told(tiny_bundle, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(keeping, "CLOSE_S", 0.0)
    keeper = CropKeeper(capture(tmp_path / "ring", queue=4), RUN)
    until(lambda: keeper._ring is not None, "folder")
    gate = threading.Event()
    add = keeper._ring.add
    keeper._ring.add = lambda *args: gate.wait(60) and add(*args)
    frames = [planes_with(*((x, 60 + seed, CLEAN) for x in (20, 120, 220)), seed=seed) for seed in range(6)]
    memory, _, _ = run_scene(ListSource(still(*frames)), config_for(tiny_bundle), hooks=Hooks(keepers=[keeper]))
    assert len(memory.verdicts) == 18
    told = keeper.status()
    assert told["dropped"] >= 18 - 4 - 1 - 1
    keeper.close()
    gate.set()
    end(keeper)
    assert "[capture] 4 crops were not written before the stop, and are lost" in caplog.text
    told = keeper.status()
    assert told["random"] + told["dropped"] == 18


SERVICE = """
[capture]
enabled = true
folder = "{folder}"
max_bytes = 1000000
free_bytes = 0
random_share = 1.0
sample_seed = 7
queue = 10000
"""


def test_a_running_service_shows_in_its_status_what_it_keeps(tmp_path, tiny_bundle):
    with RunningService(tmp_path, tiny_bundle, SERVICE.format(folder=tmp_path / "ring")) as service:
        until(lambda: service.sink("capture")["random"] > 20, "kept crops")
        told = service.sink("capture")
        assert told["state"] == "ok"
        assert 0 < told["bytes"] <= told["max_bytes"] == 1_000_000


def test_a_service_killed_with_9_keeps_whole_crops_within_the_limit_and_goes_on(tmp_path):
    bundle, folder = write_tiny_bundle(tmp_path / "tiny"), tmp_path / "ring"
    lines = tmp_path / "v.jsonl"
    config = write_config(tmp_path / "board.toml", bundle, sink=lines, extra=SERVICE.format(folder=folder))
    last = 0
    for turn in range(3):
        service = Service(config, tmp_path / f"log{turn}")
        try:
            service.wait(
                lambda: folder.exists() and any(int(p.name[:12]) > last + 300 for p in folder.glob("0*.png")),  # noqa: B023
                "crops past the limit",
            )
        finally:
            service.process.send_signal(signal.SIGKILL)
            service.process.wait()
        assert sum(max(path.stat().st_blocks * 512, path.stat().st_size) for path in folder.iterdir()) <= 1_000_000
        files = kept(folder)
        numbers = [int(path.name[:12]) for path, _, _ in files]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert numbers[0] > last  # the first ones of this run pushed out those before
        last = numbers[-1]
    said = collections.Counter(
        (line["frame"]["t_ns"], tuple(line["box"])) for line in map(json.loads, whole_lines(lines)) if "box" in line
    )
    ours = [record for _, record, _ in files if record.run == files[-1][1].run]
    known = [one for one in ours if (one.verdict.frame.t_ns, tuple(one.verdict.box)) in said]
    assert len(known) > 50  # the kill may have cost the last lines, and a folder holds this run's only in part


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("enabled = true\nrandom_share = 0.0\ndoubtful_per_minute = 0.0", "nothing would be kept"),
        ("max_bytes = 10", "max_bytes"),
        ("random_share = 1.5", "random_share"),
        ('path = "x"', "unknown key"),
    ],
)
def test_a_section_that_cannot_work_is_refused_with_the_key(text, said):
    with pytest.raises(ConfigError, match=said):
        decode_config(f"[capture]\n{text}\n", "board.toml")
