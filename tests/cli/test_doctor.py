import json

import pytest

from tests.cli.program import run_pitcore, write_config

pytestmark = pytest.mark.usefixtures("tmp_path")


def test_doctor_checks_this_machine_and_gives_each_line_a_fix(tmp_path, tiny_bundle):
    config = write_config(tmp_path / "board.toml", tiny_bundle, sink=tmp_path / "v.jsonl")
    done = run_pitcore("doctor", "--config", config, cwd=tmp_path)
    assert done.returncode in {0, 1}, done.stderr
    assert "tiny@1.2.3" in done.stdout
    assert "emulated: no camera is checked\n" in done.stdout
    report = json.loads(run_pitcore("doctor", "--config", config, "--json", cwd=tmp_path).stdout)
    assert report["schema"] == "pitcore.doctor/1"
    names = [check["name"] for check in report["checks"]]
    assert len(names) == len(set(names)) == 20
    for check in report["checks"]:
        assert bool(check["fix"]) == (check["status"] in {"warn", "fail"}), check


def test_doctor_exits_with_1_for_a_board_that_is_not_ready(tmp_path, tiny_bundle):
    config = write_config(tmp_path / "board.toml", tiny_bundle, extra="\n[decision]\nreject = 7\n")
    done = run_pitcore("doctor", "--config", config, "--json", cwd=tmp_path)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["worst"] == "fail"
    assert "Traceback" not in done.stderr
