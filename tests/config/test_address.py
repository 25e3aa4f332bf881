"""Tests that addresses are checked with the configuration, and that no output contains a password."""

import msgspec
import pytest

from pitcore.config.address import is_address, read_address
from pitcore.config.explain import explain
from pitcore.config.hawkbit import HawkbitConfig
from pitcore.config.load import decode_config
from pitcore.config.mistakes import mistakes
from pitcore.config.update import UpdateConfig
from pitcore.errors import ConfigError


def test_name_and_password_are_sent_decoded_and_shown_nowhere():
    address = read_address("HTTPS://b%40rd:s%2Fcr3t@Updates.example.org:8443/models/")
    assert address.url == "https://updates.example.org:8443/models"
    assert address.authorization == "Basic YkByZDpzL2NyM3Q="  # b@rd:s/cr3t
    assert "YkBy" not in repr(address)
    assert read_address("http://[::1]:80/").url == "http://[::1]:80"


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://board:s3cr3t@host:port/",
        "http://board:s3cr3t@host:99999/",
        "http://host/?sig=s3cr3t",
        "http://board:s3c#r3t@host",
        "http://board:s3cr3t@",
        "http:/host",
        "ftp://board:s3cr3t@host/",
        "https://host/a b",
        "https://host/\u00a0",
        "file://stick/pitcore",
        "",
        "  ",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_when_the_configuration_is_checked(url):
    with pytest.raises(ConfigError, match=r"\[update\]: url: ") as caught:
        decode_config(f"[update]\nurl = {msgspec.json.encode(url).decode()}", "board.toml")
    assert "s3c" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["models.example.org", "models.example.org/cherry", "10.0.0.5:8080/models", "localhost"]
)
def test_a_host_without_its_scheme_is_a_mistake_with_which_the_service_runs(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = decode_config(f"[update]\nurl = {msgspec.json.encode(url).decode()}", "board.toml")
    (said,) = mistakes(config)
    assert said.startswith(f"update.url: begins like a host; write https://{url} ")
    (tmp_path / url).mkdir(parents=True)
    assert mistakes(config) == [], "a folder that is there may have any name"


@pytest.mark.parametrize("url", ["http://[::1", "", "host:8080", "https://a:b@host"])
def test_the_fleets_address_is_checked_too(url):
    with pytest.raises(ConfigError, match=r"\[hawkbit\]: url: "):
        decode_config(f'[hawkbit]\nurl = "{url}"', "board.toml")


@pytest.mark.parametrize(
    "url",
    [
        "/media/stick",
        "stick",
        "./a.b",
        "../a.b/c",
        "stick/v1.0",
        "HTTP://host",
        "file:///media/stick",
        "https://a:b@host/x",
    ],
)
def test_usable_addresses_are_accepted(url):
    assert UpdateConfig(url=url).url == url
    assert is_address(url) is (":" in url)
    assert HawkbitConfig(url="HTTPS://host/x").url == "HTTPS://host/x"


def test_explaining_a_configuration_shows_no_password():
    text = '[update]\nurl = "https://board:s3cr3t@host/models"'
    told = {part.key: part.value for part in explain(decode_config(text, "board.toml"), text) if part.given}
    assert told["url"] == '"https://board:...@host/models"'
