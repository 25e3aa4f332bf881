"""Two servers of one configuration never want the same port of the same address."""

import pytest

from pitcore.config import Config, decode_config
from pitcore.errors import ConfigError

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
    with pytest.raises(
        ConfigError, match=rf"^board\.toml: {one}\.port and {other}\.port are both 9000, .*; give {other}"
    ):
        decode_config(two(one, other, binds=binds), "board.toml")


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
    decode_config(two("modbus", "page", **changes), "board.toml")
