"""Two servers of one configuration never want the same port of the same address."""

import re

import pytest

from pitcore.config import Config, decode_config, load_config
from pitcore.config.mistakes import mistakes
from tests.cli.program import run_pitcore

EVERY = "0.0.0.0"  # noqa: S104  nothing is opened here
SERVERS = ("modbus", "metrics", "page")


def two(one, other, *, binds=("127.0.0.1", "127.0.0.1"), ports=(9000, 9000), enabled="true"):
    return "".join(
        f'[{name}]\nenabled = {enabled}\nbind = "{bind}"\nport = {port}\n'
        for name, bind, port in zip((one, other), binds, ports, strict=True)
    )


def test_every_server_is_tested_here():
    with_a_port = {name for name in Config.__struct_fields__ if hasattr(getattr(Config(), name), "bind")}
    assert with_a_port == set(SERVERS)


@pytest.mark.parametrize(("one", "other"), [("modbus", "page"), ("modbus", "metrics"), ("metrics", "page")])
@pytest.mark.parametrize("binds", [("127.0.0.1", EVERY), ("localhost", "127.0.0.1"), ("::", "::1"), ("a", "a")])
def test_two_servers_on_one_port_are_refused_with_both_keys(one, other, binds):
    (said,) = mistakes(decode_config(two(one, other, binds=binds), "board.toml"))
    assert re.match(rf"{one}\.port and {other}\.port are both 9000, .*; give {other}", said)


def test_config_check_refuses_them_and_a_service_does_not(tmp_path):
    """A line that runs with one of two servers must start again after a power cut."""
    path = tmp_path / "board.toml"
    path.write_text(two("modbus", "page") + '[update]\nurl = "models.example.org"\n')
    done = run_pitcore("config", "check", path)
    assert done.returncode == 2
    assert f"{path}: modbus.port and page.port are both 9000" in done.stderr
    port, url = mistakes(load_config(path))
    assert port.startswith("modbus.port")
    assert url.startswith("update.url: begins like a host; write https://models.example.org")


@pytest.mark.parametrize(
    "changes",
    [
        {"ports": (9000, 9001)},
        {"ports": (0, 0)},
        {"binds": ("127.0.0.1", "10.0.0.1")},
        {"binds": ("127.0.0.1", "::1")},
        {"enabled": "false"},
    ],
)
def test_servers_with_a_place_of_their_own_are_accepted(changes):
    assert mistakes(decode_config(two("modbus", "page", **changes), "board.toml")) == []
