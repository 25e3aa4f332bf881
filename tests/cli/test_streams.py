"""Tests that the service continues if its standard streams fail, and never reuses their file descriptors."""

import subprocess
import sys

import pytest

from tests.cli.program import program, write_config
from tests.cli.service import Service

NUMBERS = """
import os, sys
from pitcore.cli.streams import open_missing_streams
is_silent = open_missing_streams()
mine = os.open(os.devnull, os.O_RDONLY)
print("lost"), print("lost", file=sys.stderr), sys.stdin.read()
with open(sys.argv[1], "w") as told:
    print(is_silent, mine > 2, *(os.readlink(f"/proc/self/fd/{number}") for number in range(3)), file=told)
"""


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "2>&-", ">&-", "<&-"])
def test_a_closed_stream_becomes_the_null_device(tmp_path, closed):
    told = tmp_path / "told"
    command = f'exec "$0" -c "$1" "$2" </dev/null >/dev/null 2>/dev/null {closed}'
    subprocess.run(["sh", "-c", command, sys.executable, NUMBERS, told], check=True)
    assert told.read_text().split() == [str("2>&-" in closed), "True", *["/dev/null"] * 3]


LOGS = """
import click, logging
from pitcore.cli.errors import run_command
logging.basicConfig()
run_command(click.Command("logs", callback=lambda: logging.warning("lost")))
"""


def test_a_log_line_that_a_full_stream_refuses_does_not_change_the_exit_code():
    command = ["sh", "-c", 'exec "$0" -c "$1" >/dev/null 2>/dev/full', sys.executable, LOGS]
    assert subprocess.run(command, check=False).returncode == 0


class Redirected(Service):
    """A service whose streams the shell has changed."""

    def __init__(self, config, redirection):
        command = f'exec "$0" run --config "$1" {redirection}'
        self.process = subprocess.Popen(["sh", "-c", command, program(), str(config)])


@pytest.mark.parametrize("redirection", ["<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
def test_a_service_without_streams_judges_and_ends_as_any_other(tmp_path, tiny_bundle, redirection):
    config = write_config(tmp_path / "board.toml", tiny_bundle, sink=tmp_path / "v.jsonl")
    service = Redirected(config, redirection)
    try:
        service.wait_for_line(tmp_path / "v.jsonl", lambda line: line["schema"] == "pitcore.verdict/1")
        assert service.stop() == 0
    finally:
        service.kill()
