"""`pitcore update campaign` as a user starts it, against a server that answers as hawkBit does."""

import json

import pytest

from tests.cli.program import assert_one_clear_line, run_pitcore
from tests.ota.ddi import AUTHORIZATION, hawkbit
from tests.ota.fleet import Today
from tests.ota.server import serving


@pytest.fixture
def board(tmp_path):
    """A configuration, the fleet's server, and the publisher of the repository it is to take models from."""
    publisher = Today(tmp_path)
    (tmp_path / "root.json").write_bytes(publisher.root)
    (tmp_path / "token").write_text(AUTHORIZATION.split()[1] + "\n")
    config = tmp_path / "board.toml"
    with serving(publisher.directory) as site, hawkbit() as server:
        config.write_text(
            f'[model]\nstore = "{tmp_path / "store"}"\n'
            f'[update]\nurl = "{site.url}"\nroot = "{tmp_path / "root.json"}"\ndevice_id = "board-1"\n'
            f'[hawkbit]\nurl = "{server.url}"\ntoken_file = "{tmp_path / "token"}"\n'
        )
        yield config, server


def once(config, *more):
    return run_pitcore("update", "campaign", "--once", "--config", config, *more)


def test_orders_of_the_server_are_carried_out_and_answered(board):
    config, server = board
    done = once(config, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"message": "no orders", "sleep_s": 60.0}
    assert server.attributes["model"].startswith("cherry")
    number = server.assign("tiny", "6.6.6")
    done = once(config)
    assert done.returncode == 0, done.stderr
    assert "closed, failure: unlisted" in done.stdout
    assert server.status(number) == "ERROR"


def test_a_board_without_a_token_or_a_fleet_says_what_to_set(board, tmp_path):
    config, _ = board
    (tmp_path / "token").unlink()
    assert_one_clear_line(once(config), "token", "token_file")
    config.write_text(config.read_text().partition("[hawkbit]")[0])
    assert_one_clear_line(once(config), "[hawkbit] url")


def test_an_unreachable_server_is_a_one_line_error(board):
    config, server = board
    server.answer = (503, None)
    assert_one_clear_line(once(config), "503", "tried again later")
