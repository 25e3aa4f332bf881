"""Which configuration a command takes that is given none: this board's, where the command acts on this board."""

import json

import click
import pytest

from pitcore.cli import options, run
from pitcore.cli.errors import run_command
from pitcore.cli.main import pitcore
from pitcore.cli.options import control_socket
from pitcore.config import installed
from tests.cli.program import assert_one_clear_line, run_pitcore

EXPERIMENTS = {"classify", "demo", "record", "replay", "run"}  # the same on every machine
VALVES = """
[actuation]
kind = "gpio"
chip = "no such chip"
encoder = { line_a = 10 }
lanes = [{ line = 1, x_px = [0, 320], distance_ticks = 9000, pulse_ticks = 40 }]
"""
NO_FILE = "no configuration was read: there is no /etc/pitcore/board.toml; name the board's: --config FILE"


@pytest.fixture
def board(tmp_path, monkeypatch):
    """Path of this board's configuration, which is not there yet."""
    path = tmp_path / "etc" / "board.toml"
    path.parent.mkdir()
    monkeypatch.setattr(installed, "BOARD_CONFIG", path)
    monkeypatch.setattr(options, "BOARD_SOCKET", str(tmp_path / "board.sock"))
    monkeypatch.chdir(tmp_path)
    return path


@pytest.fixture
def ended(monkeypatch, capsys):
    """Run pitcore in this process; return its exit code and what it printed."""

    def ended(*words):
        monkeypatch.setattr("sys.argv", ["pitcore", *words])
        code = 0
        try:
            run_command(pitcore)
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return ended


def commands_with_config(command=pitcore, name=""):
    """Each command that takes ``--config``, with its option."""
    if isinstance(command, click.Group):
        for below in command.list_commands(click.Context(command)):
            yield from commands_with_config(command.get_command(click.Context(command), below), f"{name} {below}")
        return
    for parameter in command.params:
        if "--config" in parameter.opts:
            yield pytest.param(name.split()[0], parameter, id=name.strip())


@pytest.mark.parametrize(("name", "option"), list(commands_with_config()))
def test_every_command_that_acts_on_this_board_takes_its_file(board, name, option):
    board.write_text("")
    context = click.Context(click.Command(name))
    taken = option.process_value(context, None)
    assert taken == (None if name in EXPERIMENTS else board)
    assert ("/etc/pitcore/board.toml" in option.help) is (name not in EXPERIMENTS)
    assert str(option.process_value(context, "mine.toml")) == "mine.toml"


def test_valves_of_the_boards_file_are_not_passed_over(board, ended):
    board.write_text(VALVES)
    code, out, err = ended("shut-valves")
    assert (code, out) == (2, "")
    assert "no such chip" in err


def test_a_board_without_lanes_is_named_when_nothing_is_shut(board, ended):
    board.write_text('[actuation]\nkind = "none"\n')
    expected = f"{board}: [actuation] drives no line of this board; nothing to shut\n"
    assert ended("shut-valves") == (0, expected, "")


@pytest.mark.parametrize("command", ["shut-valves", "page list", "page token operator", "calibrate undo"])
def test_without_a_file_nothing_is_said_of_the_board(board, command):
    if installed.is_there(installed.Path("/etc/pitcore/board.toml")):
        pytest.skip("this machine is a board")
    assert_one_clear_line(run_pitcore(*command.split(), cwd=board.parent), NO_FILE)


def test_an_update_without_a_file_and_a_store_says_that_it_read_none(board, ended):
    code, _, err = ended("update", "status")
    assert (code, err.count("\n")) == (2, 1)
    assert "no configuration was read" in err


def test_tokens_and_models_are_those_of_the_boards_file(board, ended, tmp_path):
    board.write_text(f'[control]\nstate_dir = "{tmp_path / "state"}"\n[model]\nstore = "{tmp_path / "store"}"\n')
    assert ended("page", "list") == (0, f"{board}: nobody has a token\n", "")
    code, token, err = ended("page", "token", "operator", "--name", "anna")
    assert (code, token.count("\n"), err) == (0, 1, f"{board}: anna is operator\n")
    assert len(json.loads((tmp_path / "state" / "page_tokens.json").read_text())["tokens"]) == 1
    assert "anna" in ended("page", "list")[1]
    assert ended("page", "revoke", "anna")[1] == f"{board}: anna has no token any more\n"
    assert f"configured  {board}\n" in ended("update", "status")[1]
    assert not (tmp_path / "out").exists()


def test_a_link_that_leads_nowhere_is_no_missing_file(board, ended):
    board.symlink_to("nowhere")
    code, out, err = ended("shut-valves")
    assert (code, out) == (2, "")
    assert f"{board}: cannot be read" in err


def test_the_service_of_the_board_is_asked_and_no_experiment_beside_it(board, tmp_path):
    (tmp_path / "out/run").mkdir(parents=True)
    (tmp_path / "out/run/control.sock").touch()
    board.write_text(f'[control]\nsocket = "{tmp_path / "mine.sock"}"\n')
    assert control_socket(None, board) == tmp_path / "mine.sock"
    (tmp_path / "board.sock").touch()
    assert control_socket(None, board) == tmp_path / "board.sock"  # the service was started with another file
    (tmp_path / "mine.sock").touch()
    assert control_socket(None, board) == tmp_path / "mine.sock"


def test_a_damaged_file_of_the_board_does_not_keep_it_from_being_disarmed(board, tmp_path):
    board.write_text("[control\n")
    with pytest.raises(options.ConfigError, match="give --socket instead"):
        control_socket(None, board)
    (tmp_path / "board.sock").touch()
    assert control_socket(None, board) == tmp_path / "board.sock"


def test_a_service_that_judges_no_belt_of_this_board_says_so(board, caplog):
    run._warn_on_a_board()
    assert caplog.text == ""
    board.write_text("")
    run._warn_on_a_board()
    assert f"not this board's line: that needs --config {board}" in caplog.text
