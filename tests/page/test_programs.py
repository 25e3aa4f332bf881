"""Compares what programs get from the page with docs/page.md."""

import csv
import json
import re

import pytest

from pitcore.page.board_view import SERIES
from pitcore.page.pictures import MAX_CHERRIES
from pitcore.page.roles import FILE, add_token
from pitcore.page.server import ACTIONS, COOKIE
from pitcore.page.shifts import MAX_LISTED
from pitcore.verdict import VERDICTS
from tests.conftest import ROOT
from tests.page.board import Board, alarm, frame, verdict

pytest.importorskip("uvicorn", reason="the live page needs the extra `page`")
TEXT = (ROOT / "docs" / "page.md").read_text().split("## For programs")[1]
ROWS = re.findall(r"^\| (`.*?) \| (.*) \|$", TEXT, re.MULTILINE)
NAME = re.compile(r"`(\w+)`")


def row(begin):
    """The second cell of a row of the document's tables, by the begin of its first."""
    return next(cell for first, cell in ROWS if first.startswith(begin))


def names(begin):
    return set(NAME.findall(row(begin)))


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """A page that is not open, as a program with a token sees it."""
    folder = tmp_path_factory.mktemp("programs")
    with Board(folder, {"open": False}) as one:
        token = add_token(folder / "state" / FILE, "viewer", "program")
        status, headers, _ = one.ready().write("/session", {"token": token})
        assert status == 200
        one.cookie = headers["set-cookie"].split(";")[0]
        yield one


@pytest.fixture(scope="module")
def events(board):
    """The first event of each kind; the picture shows a cherry."""
    found = {}
    board.change(alarms=[alarm("light_off", measured="m", effect="e")])
    for kind, said in board.events(cookie=board.cookie):
        if kind != "picture" or said["cherries"]:
            found[kind] = said
        if found.keys() >= {"setup", "now", "picture"} and found["now"]["point"] and found["now"]["alarms"]:
            return found
        board.sink.observe(frame(1000))
        board.sink.emit([verdict("maybe", tick=1000, reason="uncertain", pit=0.4)])
    return None


def get(board, path):
    status, _, raw = board.ask(path, cookie=board.cookie)
    assert status == 200
    return raw.decode()


def test_a_login_is_needed_and_is_done_as_documented(board):
    assert board.ask("/state")[0] == 401
    assert board.cookie.startswith(f"{COOKIE}=")
    assert all(part in TEXT for part in (f"`{COOKIE}`", "Origin: http://", "Content-Type: application/json", '"token"'))
    assert set(json.loads(get(board, "/session"))) == names("`GET /session")


def test_the_state_has_the_documented_fields(board, events):
    state = json.loads(get(board, "/state"))
    table = TEXT.split("| `/state` |")[1].split("| event |")[0]
    documented = [name for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in NAME.findall(cell)]
    assert sorted(documented) == sorted(state)
    assert set(state["alarms"][0]) == names("`alarms`")
    assert set(state["counts"]["minute"]) == {"span_s", "lanes"} < names("`counts`")
    assert set(state["counts"]) | set(state["counts"]["shift"]) == names("`counts`")
    assert set(state["headline"]) < names("`headline`")
    assert names("`point`") == set(SERIES) == set(events["now"]["point"])
    assert events["now"].keys() == state.keys()


def test_the_events_are_the_documented_ones(events):
    table = TEXT.split("| event |")[1]
    assert set(events) == set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert set(events["setup"]) == names("`setup`")
    assert set(events["picture"]) == names("`picture`")
    assert len(events["picture"]["cherries"][0]) == 8


def test_a_cherry_and_its_pictures_are_as_documented(board, events):
    number = events["picture"]["cherries"][0][0]
    assert set(json.loads(get(board, f"/cherry/{number}"))) == names("`GET /cherry/N`")
    assert board.ask(f"/cherry/{number}/1.png", cookie=board.cookie)[0] == 200
    assert f"the last {MAX_CHERRIES} cherries" in row("`GET /cherry/N`")


def test_shifts_are_as_documented(board, events):
    shift = events["now"]["counts"]["shift"]["id"]
    head = next(csv.reader(get(board, f"/shifts/{shift}.csv").splitlines()))
    assert head == [*NAME.findall(row("`GET /shifts/ID`"))[:-1], *VERDICTS, "total"]
    assert f"the last {MAX_LISTED} shifts" in row("`GET /shifts`")


def test_the_actions_are_the_documented_ones():
    said = next(first for first, _ in ROWS if first.startswith("`POST /do/"))
    assert re.findall(r"/do/([\w-]+)", said) == list(ACTIONS)
