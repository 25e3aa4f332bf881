"""Tests the controls of the live page, in a real browser, with a real service and simulated valves."""

import json

import pytest

from pitcore.page.roles import FILE, add_token, remove_token
from tests.cli.program import run_pitcore
from tests.conftest import tiny_card, write_card, write_tiny_bundle
from tests.page.axe import needs_axe
from tests.page.browser import Line, Visit, needs_browser, open_browser, playwright

pytestmark = needs_browser

VALVES = """
[actions]
maybe = "reject"
side = "reject"
[decision]
point = "strict"
[actuation]
kind = "simulated"
encoder = { line_a = 10, line_b = 11 }
cherry_px = 60
lanes = [
  { line = 1, x_px = [0, 320], distance_ticks = 1500, pulse_ticks = 40 },
  { line = 2, x_px = [320, 640], distance_ticks = 1500, pulse_ticks = 40 },
]
"""


def two_points(folder):
    """A bundle whose card has two operating points."""
    bundle = write_tiny_bundle(folder / "two")
    card = tiny_card(bundle)
    strict = {"thresholds": card.pop("thresholds"), "evidence": None}
    looser = {"thresholds": {"accept": 0.3, "reject": 0.8}, "evidence": None}
    write_card(bundle, card | {"schema": "pitcore.card/2", "points": {"strict": strict, "balanced": looser}})
    return bundle


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        one = open_browser(driver)
        yield one
        one.close()


class Board:
    """A line whose people have tokens."""

    def __init__(self, folder):
        self.folder = folder
        self.line = Line(folder, two_points(folder), VALVES)
        file = folder / "state" / FILE
        self.tokens = {role: add_token(file, role, name) for role, name in (("operator", "anna"), ("engineer", "eva"))}

    def status(self):
        return json.loads(run_pitcore("status", "--json", "--config", self.folder / "board.toml").stdout)


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    one = Board(tmp_path_factory.mktemp("controls"))
    yield one
    one.line.service.kill()


@pytest.fixture
def log_in(browser, board):
    """Open the page with cookies of its own, and show the token of a role."""
    visits = []

    def as_role(role):
        visit = Visit(browser, board.line.url)
        visits.append(visit)
        visit.page.wait_for_selector("#token")
        visit.page.fill("#token", board.tokens[role])
        visit.page.click("#login button")
        visit.page.wait_for_selector("#controls button")
        return visit

    yield as_role
    for visit in visits:
        visit.page.close()


def test_controls_are_hidden_without_a_token(browser, board):
    visit = Visit(browser, board.line.url)
    visit.page.wait_for_selector("#token")
    assert not visit.page.is_visible("#controls")
    visit.page.fill("#token", "guessed")
    visit.page.click("#login button")
    visit.wait(lambda: visit.text("#answer"), "the refusal")
    assert not visit.page.is_visible("#controls")
    visit.page.close()


def test_a_chart_shows_the_least_time_to_spare_before_a_reject(browser, board):
    visit = Visit(browser, board.line.url)
    visit.wait(lambda: "least" in visit.text("#charts"), "a reject with its time to spare")
    visit.page.close()


def test_an_operator_arms_in_two_steps_and_disarms_in_one(board, log_in):
    visit = log_in("operator")
    assert visit.text("#who").startswith("anna, operator")
    assert visit.page.locator("#point, #valve").count() == 0  # those are for an engineer
    visit.page.click("text=Arm the air jet")
    assert visit.page.is_visible("text=Yes, air may fire")
    assert not board.status()["arming"]["armed"]  # one step is none
    visit.page.click("text=Yes, air may fire")
    visit.wait(lambda: visit.text("#jet") == "ARMED", "ARMED")
    arming = board.status()["arming"]
    assert arming["armed"]
    assert arming["by"].startswith("anna at the page")
    visit.page.click("text=Disarm")
    visit.wait(lambda: visit.text("#jet") == "DRY RUN: NO REJECTS", "DRY RUN")
    assert not board.status()["arming"]["armed"]
    visit.page.click("text=Log out")
    visit.page.wait_for_selector("#token", state="visible")
    assert not visit.page.is_visible("#controls")


def test_an_engineer_chooses_the_operating_point_in_two_steps(board, log_in):
    visit = log_in("engineer")
    assert board.status()["model"]["point"] == "strict"
    visit.page.select_option("#point", "balanced")
    visit.page.click("text=Use it")
    assert board.status()["model"]["point"] == "strict"
    visit.page.click("text=Yes, judge by it")
    visit.wait(lambda: visit.text("#answer").startswith("balanced: "), "the answer")
    assert board.status()["model"]["point"] == "balanced"
    visit.wait(lambda: "balanced: " in visit.text("#model"), "the point on the page")


def test_a_valve_is_not_tested_while_the_belt_runs(board, log_in):
    visit = log_in("engineer")
    visit.page.select_option("#valve", "2")
    visit.page.click("text=Prepare")
    visit.page.click("text=Open lane 2 now")
    visit.wait(lambda: "belt" in visit.text("#answer"), "the refusal")
    assert visit.page.get_attribute("#answer", "class") == "bad-text"
    assert "valve_tested" not in board.status()["events"]


def test_a_page_that_is_not_open_goes_away_with_the_token_or_at_logout(browser, tmp_path, tiny_bundle):
    path = tmp_path / "state" / FILE
    line = Line(tmp_path, tiny_bundle, "open = false\n")
    try:
        visit = Visit(browser, line.url, shows="body.shut #login")
        assert (visit.text("#headline"), visit.page.is_visible("#belt")) == ("NO ACCESS", False)
        for name, ends in (
            ("anna", lambda: remove_token(path, "anna")),
            ("eve", lambda: visit.page.click("#who button")),
        ):
            visit.page.fill("#token", add_token(path, "viewer", name))
            visit.page.click("#login button")
            visit.page.wait_for_selector("#picture[data-number]", state="visible")
            visit.page.wait_for_selector("#login", state="hidden")
            ends()
            visit.page.wait_for_selector("body.shut #login", state="visible")
            visit.wait(lambda: visit.text("#headline") == "NO ACCESS", "the headline")
            assert not visit.page.is_visible("#belt")
        visit.page.close()
    finally:
        line.service.kill()


@needs_axe
def test_axe_finds_no_serious_fault_in_the_controls_and_in_the_report_of_a_shift(board, log_in):
    visit = log_in("engineer")
    visit.page.click("text=Arm the air jet")
    visit.page.click("text=Prepare")
    visit.page.wait_for_selector("text=Open lane 1 now")  # both buttons now have the colour of the second step
    assert visit.faults() == []
    visit.wait(lambda: visit.page.locator("#shifts a").count() or visit.page.reload(), "a shift")
    visit.page.click("#shifts a")
    visit.page.wait_for_selector("main.report")
    assert visit.faults() == []
    visit.page.set_viewport_size({"width": 390, "height": 844})
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert visit.faults() == []
