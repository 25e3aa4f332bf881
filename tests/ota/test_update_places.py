"""Tests that `pitcore update` finds the repository at the user's address, and stores no password."""

import json

import pytest
from click.testing import CliRunner

from pitcore.cli.update import update as group
from tests.ota.fleet import Today
from tests.ota.gateway import gateway


@pytest.fixture
def update(tmp_path):
    """Run `pitcore update COMMAND` on a board with a store; returns its result and all that it left on the disk."""
    publisher = Today(tmp_path)
    (tmp_path / "store").mkdir()
    config = tmp_path / "board.toml"

    def run(command, *words, url=None):
        said = {"root": str(publisher.directory / "metadata" / "1.root.json"), "device_id": "board-1"}
        said |= {} if url is None else {"url": url}
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items())
        config.write_text(f'[model]\nstore = "{tmp_path / "store"}"\n[update]\n{lines}')
        result = CliRunner().invoke(group, [command, "--config", str(config), *map(str, words)])
        left = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
        return result, left.decode()

    run.publisher = publisher
    return run


@pytest.mark.parametrize("depth", ["", "pitcore"])
def test_a_stick_is_found_by_its_mount_point_whichever_document_was_followed(update, tmp_path, depth):
    update.publisher.directory.rename(tmp_path / "repository-moved")
    stick = tmp_path / "stick" / depth
    stick.parent.mkdir(exist_ok=True)
    (tmp_path / "repository-moved").rename(stick)
    update.publisher.directory.symlink_to(stick)  # for the root it was given
    result, _ = update("check", "--from", tmp_path / "stick")
    assert result.exit_code == 0, result.output


def test_a_stick_that_is_not_mounted_says_so(update, tmp_path):
    (tmp_path / "stick").mkdir()
    result, left = update("check", "--from", tmp_path / "stick")
    assert "is the stick mounted?" in str(result.exception or result.output) + left


def test_the_password_of_a_repository_is_sent_and_kept_nowhere(update):
    with gateway(401, {"WWW-Authenticate": 'Basic realm="x"'}, b"") as site:
        url = site.url.replace("127", "board:s3cr3t@127", 1)
        result, left = update("check", url=url)
        shown, _ = update("status", url=url)
    assert site.requests[0].headers["Authorization"].startswith("Basic ")
    assert "asks for a name and a password" in left
    assert "s3cr3t" not in left + result.output + str(result.exception) + shown.output


def test_a_host_without_a_scheme_says_what_to_write_and_a_folder_of_that_name_is_one(update, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result, _ = update("check", "--from", "models.example.org")
    assert "write https://models.example.org or http://models.example.org, or ./models" in str(result.exception)
    update.publisher.directory.rename(tmp_path / "models.example.org")
    update.publisher.directory.symlink_to(tmp_path / "models.example.org")  # for the root it was given
    result, _ = update("check", "--from", "models.example.org")
    assert result.exit_code == 0, result.output


def test_an_address_without_a_repository_is_said_once(update):
    with gateway(404, {}, b"") as site:
        result, _ = update("check", url=site.url)
    message = str(result.exception)
    assert message.count(site.url) == message.count("check the") == message.count("404") == 1, message
