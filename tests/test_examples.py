"""Every program of examples/ runs as its text says, on the real thing: belts, servers, networks, keys."""

import json
import re
import runpy
import sys

import numpy as np
import pytest
from PIL import Image

from pitcore.camera.recorder import Recorder
from pitcore.config import Config, ModbusConfig
from pitcore.loop.sources import emulated_belt
from pitcore.metrics import Metrics
from pitcore.outputs.modbus import ModbusSink
from pitcore.outputs.registers import Registers
from pitcore_tools.train.procedural import draw
from tests.actuation.valves import PLAN, verdict
from tests.cli.program import write_config
from tests.cli.service import Service
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
MAX_LINES = 60


@pytest.fixture
def run(monkeypatch, capsys):
    """Run an example in this process, with these arguments, and return what it printed."""

    def run_example(name, *arguments, exits=0):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
        assert code == exits
        return capsys.readouterr().out

    return run_example


def test_every_example_is_short_and_has_a_test_here():
    names = sorted(path.name for path in EXAMPLES.glob("*.py"))
    assert len(names) == 10
    assert [name for name in names if len((EXAMPLES / name).read_text().splitlines()) >= MAX_LINES] == []
    tested = re.findall(r'run\("(\w+\.py)"', (ROOT / "tests" / "test_examples.py").read_text())
    assert sorted(set(tested)) == names


def frames_of(count):
    return emulated_belt(Config(), frames=count, seed=1, crops=None)


def each_frame(source):
    source.start()
    while (frame := source.read(1.0)) is not None:
        with frame:
            yield frame
    source.close()


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recording") / "rec"
    source = frames_of(3)
    with Recorder(folder, source.geometry) as recorder:
        for frame in each_frame(source):
            recorder.write(frame)
    return folder


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crops")
    list(draw(folder, 2, 40))
    return folder


def test_read_verdicts(run, tmp_path):
    line = {"schema": "pitcore.verdict/1", "frame": {"seq": 3}, "box": [10, 20, 30, 40], "verdict": "clean"}
    pit = line | {"verdict": "pit", "probabilities": {"clean": 0.1, "pit": 0.9}}
    event = {"schema": "pitcore.event/1", "seq": 4, "event": "frame_black", "detail": "plane top is black"}
    lines = [json.dumps(record) for record in (line, pit, event, line)]
    (tmp_path / "v.jsonl").write_text("\n".join(lines) + '\n{"schema": "pitcore.ver')
    printed = run("read_verdicts.py", tmp_path / "v.jsonl").splitlines()
    assert printed == [
        "frame 3: pit at 25, 40, p = 0.900",
        "frame 4: frame_black, plane top is black",
        "clean 2, pit 1",
    ]


def test_judge_folder(run, crops, tiny_bundle):
    printed = run("judge_folder.py", crops, tiny_bundle).splitlines()
    assert len(printed) == 40
    assert all(re.fullmatch(r".*\.png: (clean|maybe|pit), p\(pit\) = [01]\.\d{3}", line) for line in printed)


def test_own_source_gives_the_verdicts_of_the_frames_themselves(run, tmp_path, recording):
    for frame in each_frame(frames_of(3)):
        for name, plane in zip(("top", "bottom"), frame.planes, strict=True):
            Image.fromarray(np.ascontiguousarray(plane)).save(tmp_path / f"{name}-{frame.seq:04}.png", compress_level=1)
    printed = run("own_source.py", tmp_path).splitlines()
    replayed = run("replay_recording.py", recording)
    assert len(printed) == sum(map(int, re.findall(r", (\d+)\)", replayed))) > 20
    cut = tmp_path / "bottom-0001.png"
    cut.write_bytes(cut.read_bytes()[:-30])
    frames = [line.split()[0] for line in run("own_source.py", tmp_path).splitlines()]
    assert "1" not in frames, "half a picture is not judged"
    assert {"0", "2"} <= set(frames)


def test_own_sink(run, tmp_path):
    printed = run("own_sink.py", tmp_path / "counts.csv", 2).splitlines()
    assert printed[0] == "frame,clean,maybe,pit,side"
    assert sum(sum(map(int, row.split(",")[1:])) for row in printed[1:]) > 20


def test_plc_client(run):
    class DryRun:
        armed = False

    sink = ModbusSink(ModbusConfig(enabled=True, port=0), Registers(PLAN, "0a" * 16), DryRun(), Metrics())
    try:
        sink.emit([verdict(1000, x=150), verdict(70_000, action="review")])
        printed = run("plc_client.py", "127.0.0.1", sink.port).splitlines()
    finally:
        sink.close()
    assert printed[0] == "run 0a0a0a0a, heartbeat 0, dry run"
    assert printed[1:] == [
        "1: pit, reject in lane 2, tick 1000, x 150",
        "2: maybe, review in lane 3, tick 70000, x 50",
    ]


def test_train_on_folder(run, crops, tmp_path):
    printed = run("train_on_folder.py", crops, tmp_path / "run", 1).splitlines()
    assert printed[0] == "epoch 1"
    assert re.fullmatch(r"held-out accuracy [01]\.\d\d on \d+ crops", printed[-1])


def test_a_published_model_is_on_the_stick_as_a_board_sees_it(run, tmp_path, tiny_bundle):
    site, keys, stick = tmp_path / "srv", tmp_path / "keys", tmp_path / "stick"
    printed = run("publish_model.py", tiny_bundle, site, keys)
    assert re.fullmatch(r"models/tiny-1\.2\.3\.tar: \d+ bytes, released to every board of the .*\n", printed)
    board, root = tmp_path / "board.toml", site / "metadata" / "1.root.json"
    board.write_text(f'[model]\nstore = "{tmp_path / "store"}"\n[update]\nroot = "{root}"\n')
    printed = run("usb_stick.py", site, stick, board, "--folder")
    assert "available: models/tiny-1.2.3.tar (release 1)" in printed


def test_read_status(run, tmp_path, tiny_bundle):
    config = write_config(tmp_path / "board.toml", tiny_bundle, sink=tmp_path / "v.jsonl")
    assert "no service" in run("read_status.py", tmp_path / "c.sock", exits=3)
    service = Service(config, tmp_path / "log")
    try:
        service.wait_for_line(tmp_path / "v.jsonl", lambda line: line["schema"] == "pitcore.verdict/1")
        printed = run("read_status.py", tmp_path / "c.sock").splitlines()
    finally:
        service.kill()
    assert printed[0] == "running, model tiny@1.2.3"
    assert re.fullmatch(r"dry run, [1-9]\d* frames judged", printed[1])
    assert printed[-1] == "camera emulated: ok"
