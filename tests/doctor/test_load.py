import pytest

from pitcore.config import Config, ControlConfig, ModelConfig
from pitcore.doctor.load import check_load, judge_load
from pitcore.loop.headroom import Headroom
from tests.cli.program import run_pitcore, write_config
from tests.cli.service import Service


def test_a_board_that_keeps_up_is_ok():
    check = judge_load(Headroom(0.31, 1043.0, 326.4), workers=1, cores=4, who="this machine")
    assert check.status == "ok"
    assert check.found == "this machine judges 1043 cherries a second, the belt carries 326: 31% of the frame time"


def test_a_board_that_does_not_keep_up_is_reported_with_both_figures_and_its_idle_cores():
    check = judge_load(Headroom(1.8, 180.0, 326.4), workers=1, cores=4, who="this machine")
    assert check.status == "warn"
    assert "judges 180 cherries a second, the belt carries 326: 180% of the frame time" in check.found
    assert "frames are dropped" in check.found
    assert "[runtime] workers = 3" in check.fix


@pytest.mark.parametrize(("workers", "cores"), [(3, 4), (1, 1), (1, 2), (4, 4)])
def test_where_no_core_is_idle_more_workers_are_not_the_advice(workers, cores):
    check = judge_load(Headroom(0.95, 343.0, 326.4), workers, cores, "the service")
    assert "dense frames may be late" in check.found
    assert "workers" not in check.fix


def test_a_belt_without_cherries_yet_is_no_warning():
    assert judge_load(Headroom(0.04, None, 0.0), 1, 4, "the service").status == "ok"


def test_without_a_service_this_machine_is_measured(tmp_path, tiny_bundle):
    config = Config(
        model=ModelConfig(bundle=str(tiny_bundle)),
        control=ControlConfig(socket=str(tmp_path / "c.sock"), state_dir=str(tmp_path)),
    )
    assert check_load(config).found.startswith("this machine judges ")


def test_a_model_that_cannot_be_used_is_not_measured(tmp_path):
    config = Config(
        model=ModelConfig(bundle=str(tmp_path / "none")),
        control=ControlConfig(socket=str(tmp_path / "c.sock"), state_dir=str(tmp_path)),
    )
    check = check_load(config)
    assert check.status == "skip"
    assert check.found.startswith("not measured: ")


def test_a_running_service_is_asked_since_a_measurement_beside_it_would_take_its_cores(tmp_path, tiny_bundle):
    board = write_config(tmp_path / "board.toml", tiny_bundle, sink=tmp_path / "v.jsonl")
    service = Service(board, tmp_path / "log")
    try:
        service.wait_for_line(tmp_path / "v.jsonl", lambda line: line["schema"] == "pitcore.verdict/1")
        service.wait(lambda: "of the frame time" in run_pitcore("status", "--config", board).stdout, "headroom")
        shown = run_pitcore("status", "--config", board).stdout
        (line,) = [line for line in shown.splitlines() if line.startswith("  headroom ")]
        assert "judges " in line
        checked = run_pitcore("config", "check", board)
        assert checked.returncode == 0, checked.stderr
        assert " the service judges " in checked.stdout
        assert service.stop() == 0
    finally:
        service.kill()
    assert " this machine judges " in run_pitcore("config", "check", board).stdout
