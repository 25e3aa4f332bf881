"""Tests rescoring of an archive: each crop once, with the verdicts of `classify`, after kills and with duplicates."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from pitcore.camera.crops import encode_crop
from pitcore.cli.classify import classify
from pitcore.decision.policy import judge_probability
from pitcore.emulator.single import render_crop
from pitcore.errors import DataError, PublishError
from pitcore.model_card import Thresholds, load_bundle
from pitcore.verdict import CODES
from pitcore_tools.cli.rescore import rescore
from pitcore_tools.rescore.judge import Judged
from pitcore_tools.rescore.pieces import PIECE_CROPS, plan_archive, read_piece
from pitcore_tools.rescore.report import Gate, Reporter, check_gate
from tests.conftest import ROOT, write_card, write_tiny_bundle
from tests.test_operating_points import card_of
from tests.test_operating_points import point as point_of

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
LIMITS = Gate(1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def drawn():
    """Files of a few drawn crops."""
    return [encode_crop(render_crop(7, index)[0]) for index in range(24)]


def shards(folder, pictures, rows=1000, verdicts=("clean",)):
    """Write an archive as `pull` does, with these verdicts of the boards in turn."""
    folder.mkdir(parents=True)
    for number, first in enumerate(range(0, len(pictures), rows)):
        part = pictures[first : first + rows]
        table = {
            "sha256": [hashlib.sha256(b"%d" % (first + at) + png).hexdigest() for at, png in enumerate(part)],
            "name": [f"{first + at:06d}.png" for at in range(len(part))],
            "board": [f"line-{at % 2}" for at in range(len(part))],
            "at": ["2026-06-01T10:00:00+00:00"] * len(part),
            "verdict": [verdicts[(first + at) % len(verdicts)] for at in range(len(part))],
            "reason": [None] * len(part),
            "p_pit": [0.01] * len(part),
            "png": part,
        }
        pq.write_table(pa.table(table), folder / f"{number:03d}.parquet", row_group_size=97)
    return folder


def invoke(*words, point="strict"):
    found = CliRunner().invoke(rescore, [str(word) for word in (*words, "--point", point)])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.output


def report_of(output):
    return json.loads((output / "report.json").read_text())


def test_a_folder_gets_the_bytes_of_classify_and_bad_files_are_counted(tmp_path, tiny_bundle, drawn):
    crops = tmp_path / "crops"
    crops.mkdir()
    for index, png in enumerate(drawn):
        (crops / f"{index:02d}.png").write_bytes(png)
    (crops / "broken.png").write_bytes(drawn[0][:200])
    invoke(crops, "--bundle", tiny_bundle, "--output", tmp_path / "out", "--plain")
    said = CliRunner().invoke(classify, [str(crops), "--json", "--bundle", str(tiny_bundle)]).output
    lines = "".join(line for line in said.splitlines(keepends=True) if line.startswith("{"))
    assert (tmp_path / "out" / "verdicts.jsonl").read_text() == lines
    found = report_of(tmp_path / "out")
    assert (found["crops"], found["bad"], found["compared"]) == (len(drawn), 1, 0)
    assert "broken.png" in found["bad_records"][0]


def test_verdicts_are_those_of_the_point_and_another_point_judges_nothing_again(tmp_path, tiny_bundle, drawn):
    write_card(tiny_bundle, card_of(tiny_bundle, strict=point_of(0.01), throughput=point_of(0.45, max_miss=0.05)))
    archive = shards(tmp_path / "archive", drawn)
    found = {}
    for name in ("strict", "throughput"):
        invoke(archive, "--bundle", tiny_bundle, "--output", tmp_path / "out", "--plain", point=name)
        lines = [json.loads(line) for line in (tmp_path / "out" / "verdicts.jsonl").read_text().splitlines()]
        limits = load_bundle(tiny_bundle).card.point(name)[1].thresholds
        assert [(line["verdict"], line["code"]) for line in lines] == [
            (verdict, CODES[verdict]) for verdict in (judge_probability(line["p_pit"], limits)[0] for line in lines)
        ]
        found[name] = [line["verdict"] for line in lines], report_of(tmp_path / "out")["crops_per_s"]
    assert found["strict"][0].count("clean") < found["throughput"][0].count("clean")
    assert found["throughput"][1] is None


def test_flips_are_counted_by_board_day_and_probability_and_a_crop_of_two_shards_once(tmp_path, tiny_bundle, drawn):
    archive = shards(tmp_path / "archive", drawn)
    (archive / "copy.parquet").write_bytes((archive / "000.parquet").read_bytes())
    (archive / "bad.parquet").write_bytes(b"PAR1 no shard")
    said = invoke(archive, "--bundle", tiny_bundle, "--output", tmp_path / "out", "--plain")
    found = report_of(tmp_path / "out")
    verdicts = [json.loads(line) for line in (tmp_path / "out" / "verdicts.jsonl").read_text().splitlines()]
    flips = sum(one["verdict"] != "clean" for one in verdicts)
    assert flips
    assert (found["crops"], found["duplicates"], len(found["bad_shards"])) == (len(drawn), len(drawn), 1)
    assert (found["compared"], found["flipped"]) == (len(drawn), flips)
    assert sum(found["flips"].values()) == flips
    for parts in (found["by_board"], found["by_day"], found["by_probability"]):
        assert sum(part["flipped"] for part in parts.values()) == flips
    assert set(found["by_board"]) == {"line-0", "line-1"}
    assert f"{flips} would change" in said


def test_a_part_of_the_archive_that_cannot_be_seen_is_named_and_stops_the_gate(tmp_path, tiny_bundle, drawn):
    archive = shards(tmp_path / "archive", drawn)
    (archive / "gone").symlink_to(tmp_path / "nowhere")  # as a folder of another disk that is not mounted
    said = invoke(archive, "--bundle", tiny_bundle, "--output", tmp_path / "out", "--plain")
    assert report_of(tmp_path / "out")["bad_shards"] == [f"{archive / 'gone'}: No such file or directory"]
    assert "1 shards could not be read" in said


def test_pieces_cover_each_row_once_however_a_shard_is_cut(tmp_path, drawn):
    archive = shards(
        tmp_path / "archive", [drawn[at % len(drawn)] for at in range(2 * PIECE_CROPS + 77)], rows=PIECE_CROPS + 300
    )
    plan = plan_archive(str(archive), "model")
    names = [record.name for piece in plan.pieces for record in read_piece(piece)]
    assert len(plan.pieces) == 3
    assert len(names) == len(set(names)) == 2 * PIECE_CROPS + 77


def start(archive, bundle, output):
    command = [
        sys.executable,
        "-m",
        "pitcore_tools",
        "rescore",
        archive,
        "--bundle",
        bundle,
        "--output",
        output,
        "--point",
        "strict",
        "--plain",
    ]
    return subprocess.Popen(
        [str(word) for word in command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_bytes(tmp_path, tiny_bundle, drawn):
    archive = shards(tmp_path / "archive", [drawn[at % len(drawn)] for at in range(4 * PIECE_CROPS)])
    output = tmp_path / "out"
    run = start(archive, tiny_bundle, output)
    while run.poll() is None and len(list((output / "pieces").glob("*.msgpack"))) < 2:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    kept = {path: path.stat().st_mtime_ns for path in (output / "pieces").glob("*.msgpack")}
    assert len(kept) >= 2
    invoke(archive, "--bundle", tiny_bundle, "--output", output, "--plain")
    assert all(path.stat().st_mtime_ns == at for path, at in kept.items())  # none was judged again
    invoke(archive, "--bundle", tiny_bundle, "--output", tmp_path / "at once", "--plain")
    assert (output / "verdicts.jsonl").read_bytes() == (tmp_path / "at once" / "verdicts.jsonl").read_bytes()
    assert report_of(output)["crops"] == 4 * PIECE_CROPS


def test_the_gate_refuses_a_report_over_its_limits_or_of_another_model(tmp_path, tiny_bundle, drawn):
    archive, output = shards(tmp_path / "archive", drawn, verdicts=("clean", "pit", "maybe")), tmp_path / "out"
    invoke(archive, "--bundle", tiny_bundle, "--output", output, "--plain")
    report, bundle = output / "report.json", load_bundle(tiny_bundle)
    assert check_gate(report, bundle, LIMITS).flipped
    with pytest.raises(PublishError, match=r"verdicts would change \(\d"):
        check_gate(report, bundle, msgspec.structs.replace(LIMITS, flips=0.0))
    other = write_tiny_bundle(tmp_path / "other", golden_shift=0.0)
    card = json.loads((other / "card.json").read_text()) | {"version": "9.0.0"}
    (other / "card.json").write_text(json.dumps(card))
    with pytest.raises(PublishError, match="rescore again"):
        check_gate(report, load_bundle(other), LIMITS)
    (tmp_path / "none.json").write_text("{}")
    with pytest.raises(DataError, match="not a report"):
        check_gate(tmp_path / "none.json", bundle, LIMITS)
    plain = report_of(output)
    del plain["stopped"]
    (tmp_path / "old.json").write_text(json.dumps(plain))
    with pytest.raises(
        DataError, match=r"not a report of this version: .*stopped.*; run `pitcore-tools rescore` again"
    ):
        check_gate(tmp_path / "old.json", bundle, LIMITS)


def judged(number, verdict, p_pit):
    return [Judged(line="{}", p_pit=p_pit, verdict=verdict, before=0.5)] * number


def report_over(path, bundle, *crops):
    """Write the report of a candidate over these crops."""
    reporter = Reporter(bundle, ("strict", Thresholds(0.1, 0.9)), "archive")
    list(reporter.lines([one for some in crops for one in some], "node"))
    path.write_bytes(msgspec.json.encode(reporter.finish()))
    return path


def test_cherries_that_would_pass_are_a_share_of_those_that_the_boards_stopped(tmp_path, tiny_bundle):
    """However many clean cherries the archive has: a candidate that calls everything clean is refused."""
    bundle, limits = load_bundle(tiny_bundle), Gate(0.05, 0.01, 0.01)
    clean = judged(9900, "clean", 0.01)
    report = report_over(tmp_path / "blind.json", bundle, clean, judged(90, "pit", 0.01), judged(10, "maybe", 0.01))
    with pytest.raises(PublishError, match=r"at point strict 100 of 100 stopped cherries would pass \(100\.00%\)"):
        check_gate(report, bundle, limits)
    report = report_over(tmp_path / "good.json", bundle, clean, judged(99, "pit", 0.99), judged(1, "maybe", 0.01))
    assert check_gate(report, bundle, limits).newly_clean == 1


def test_an_archive_without_a_stopped_cherry_does_not_open_the_gate(tmp_path, tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    report = report_over(tmp_path / "report.json", bundle, judged(9, "clean", 0.01))
    with pytest.raises(PublishError, match="no crop of the archive was stopped by a board"):
        check_gate(report, bundle, LIMITS)


def test_the_point_of_the_boards_must_be_named(tmp_path, tiny_bundle):
    said = CliRunner().invoke(rescore, [str(tmp_path), "--bundle", str(tiny_bundle), "--plain"])
    assert said.exit_code == 2
    assert "Missing option '--point'" in said.output


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_two_ray_nodes_share_the_work_and_give_the_bytes_of_the_plain_loop(tmp_path, tiny_bundle, drawn):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'pitcore-tools[rescore]'")
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tools"), os.environ.get("PYTHONPATH", "")])
    archive = shards(tmp_path / "archive", [drawn[at % len(drawn)] for at in range(4 * PIECE_CROPS)])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    try:
        invoke(
            archive, "--bundle", tiny_bundle, "--output", tmp_path / "ray", "--address", cluster.address, "--workers", 2
        )
    finally:
        cluster.shutdown()
    invoke(archive, "--bundle", tiny_bundle, "--output", tmp_path / "plain", "--plain")
    assert (tmp_path / "ray" / "verdicts.jsonl").read_bytes() == (tmp_path / "plain" / "verdicts.jsonl").read_bytes()
    assert len(report_of(tmp_path / "ray")["nodes"]) == 2
    assert np.sum(list(report_of(tmp_path / "ray")["nodes"].values())) == 4 * PIECE_CROPS
