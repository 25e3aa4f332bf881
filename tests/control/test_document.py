"""Sends the requests of docs/control.md to a service, and compares its answers with the document."""

import json
import re
import socket

import pytest

from pitcore.control.server import ControlServer
from pitcore.control.valve_test import ValveTest
from tests.conftest import ROOT
from tests.outputs.running import RunningService
from tests.patience import PATIENCE_S

TEXT = (ROOT / "docs" / "control.md").read_text()
EXAMPLES = re.findall(r"    \$ echo '(.*)' \| socat .*\n    (.*)\n", TEXT)
ROWS = re.findall(r"^\| (`.*) \| (.*) \| (.*) \|$", TEXT.split("## The socket")[1], re.MULTILINE)


class OneValve:
    lanes = 1

    def test(self, lane):
        pass


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The socket of a service with the bundled model, whose points the examples name."""
    place = tmp_path_factory.mktemp("control")
    with RunningService(place, None, f'[control]\nstate_dir = "{place}"\n') as running:
        object.__setattr__(running.commands, "valve_test", ValveTest(OneValve()))
        server = ControlServer(place / "c.sock")
        server.start(running.commands.by_name())
        yield place / "c.sock"
        server.close()


def answer(path, line):
    """Send a line as socat does: the sending side is closed after it."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(str(path))
        connection.sendall(line.encode() + b"\n")
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("r") as lines:
            return lines.readline().rstrip("\n")


@pytest.mark.parametrize(("request_line", "said"), EXAMPLES)
def test_an_example_is_answered_as_documented(path, request_line, said):
    begin, dots, end = said.partition(" ... ")
    found = answer(path, request_line)
    if not dots:
        assert found == said
    assert found.startswith(begin.rstrip(", "))
    assert found.endswith(end)


def test_the_examples_have_a_command_with_arguments_and_a_refusal():
    assert [json.loads(line).get("args") for line, _ in EXAMPLES] == [None, {"point": "strict"}, {"point": "fast"}]


@pytest.mark.parametrize(
    ("command", "args"),
    [("arm", {}), ("disarm", {}), ("reload", {}), ("point", {"point": "strict"}), ("test_valve", {"lane": 1})],
)
def test_a_result_has_the_documented_keys(path, command, args):
    result = json.loads(answer(path, json.dumps({"command": command, "args": args})))["result"]
    row = next(cells for cells in ROWS if f"`{command}`" in cells[0])
    assert list(result) == re.findall("`(.*?)`", row[2])
    if command == "test_valve":
        fired = json.loads(answer(path, json.dumps({"command": command, "args": {"code": result["code"]}})))["result"]
        last = [cells for cells in ROWS if f"`{command}`" in cells[0]][-1]
        assert list(fired) == re.findall("`(.*?)`", last[2])


def test_the_table_has_every_command(path):
    known = json.loads(answer(path, '{"command": "none"}'))["error"].partition("the commands are ")[2].split(", ")
    assert sorted({name for cells in ROWS for name in re.findall("`(.*?)`", cells[0])} - {"command"}) == known
