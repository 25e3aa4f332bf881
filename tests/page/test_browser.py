"""The live page in a real browser, while `pitcore run` sorts an emulated belt of drawn cherries.

Skipped, and said so, where playwright, Chromium or axe-core are absent; docs/page.md says how to get them.
"""

import contextlib
import json
import os
import signal

import pytest

from tests.camera.board import BOTTOM, programs_cameras
from tests.cli.service import Service
from tests.config_text import two_cameras
from tests.conftest import write_tiny_bundle
from tests.page.axe import needs_axe
from tests.page.board import address_of
from tests.page.browser import PAGE, Line, Visit, needs_browser, open_browser, playwright

pytestmark = needs_browser


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        one = open_browser(driver)
        yield one
        one.close()


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    folder = tmp_path_factory.mktemp("line")
    one = Line(folder, write_tiny_bundle(folder / "tiny"))
    yield one
    one.service.kill()


@pytest.fixture
def visit(browser, line):
    one = Visit(browser, line.url)
    yield one
    one.page.close()


def test_markers_move_with_the_belt(visit):
    def where():
        return {cherry["id"]: cherry["y"] for cherry in visit.cherries()}

    def moved():
        before, number = where(), visit.picture_number()
        visit.wait(lambda: visit.picture_number() != number, "another picture")
        after = where()
        return [after[one] - before[one] for one in before if one in after]

    steps = visit.wait(moved, "a cherry in two pictures")
    assert min(steps) > 0


def test_counts_agree_with_the_verdict_file(browser, tmp_path, tiny_bundle):
    line = Line(tmp_path, tiny_bundle)
    try:
        visit = Visit(browser, line.url)
        visit.page.check("input[value=hour]")
        line.service.wait(lambda: sum(line.counted().values()) > 50, "verdicts")
        before = line.counted()
        tiles = visit.page.query_selector_all("#tiles li")

        def shown():
            return {one.get_attribute("data-verdict"): int(one.get_attribute("data-count")) for one in tiles}

        visit.wait(lambda: all(shown().get(name, 0) >= count for name, count in before.items()), "the counts")
        told, after = shown(), line.counted()  # the file has a verdict before the page has it
        assert all(count <= after.get(name, 0) for name, count in told.items())
        line.service.stop()
        (shift,) = (tmp_path / "state" / "shifts").glob("*.json")
        record = json.loads(shift.read_text())
        total = sum(sum(map(sum, count)) for count in record["hours"].values())
        assert total == sum(line.counted().values())  # every single one
        visit.page.close()
    finally:
        line.service.kill()


def test_a_service_that_hangs_greys_the_picture_with_its_age(browser, tmp_path, tiny_bundle):
    line = Line(tmp_path, tiny_bundle)
    try:
        visit = Visit(browser, line.url)
        visit.page.wait_for_selector("#strip:not(.old)")
        os.kill(line.service.process.pid, signal.SIGSTOP)
        visit.page.wait_for_selector("#strip.old")
        visit.wait(lambda: "s old" in visit.text("#stale"), "the age")
        assert visit.text("#headline") == "NO PICTURE"
        os.kill(line.service.process.pid, signal.SIGCONT)
        visit.page.wait_for_selector("#strip:not(.old)")
        line.service.stop()
        visit.wait(lambda: visit.text("#headline") == "NO CONTACT", "the end")
        visit.page.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(line.service.process.pid, signal.SIGCONT)
        line.service.kill()


FROZEN = """
[source.disturbance]
frozen = [false, true]
first = 60
last = 1000000
[runtime]
capture_timeout_s = 60.0
"""


def test_a_frozen_camera_greys_the_picture_and_is_an_alarm(browser, tmp_path, tiny_bundle):
    line = Line(tmp_path, tiny_bundle, FROZEN)
    try:
        visit = Visit(browser, line.url, shows="#strip.old")
        assert "No picture can be judged" in visit.text("#stale")
        visit.wait(lambda: "camera frozen" in visit.text("#alarms").lower(), "the alarm")
        assert "check the camera's cable and supply" in visit.text("#alarms")
        assert "Measured: plane bottom: the camera repeats the same picture, it hangs; check its cable and supply." in (
            visit.text("#alarms")
        )
        assert "While this alarm is on, nothing is clean." in visit.text("#alarms")
        visit.page.close()
    finally:
        line.service.kill()


def test_a_camera_that_stalls_greys_the_picture_with_its_age_and_its_name(browser, tmp_path, tiny_bundle):
    config, log = tmp_path / "board.toml", tmp_path / "log"
    places = f'[sink]\npath = "{tmp_path}/v.jsonl"\n[control]\nsocket = "{tmp_path}/c.sock"\n'
    places += f'state_dir = "{tmp_path}/state"\n[model]\nbundle = "{tiny_bundle}"\n'
    config.write_text(two_cameras(10.0, patience_s=60.0) + places + PAGE)
    service = Service(config, log, env=programs_cameras(faults={BOTTOM: {"hang_at": 150}}))
    try:
        visit = Visit(browser, address_of(service, log))
        visit.page.wait_for_selector("#strip.old")
        visit.wait(lambda: "Camera bottom sends no picture" in visit.text("#stale"), "the camera's name")
        assert visit.text("#headline") == "NO PICTURE"
        age_s = int(visit.text("#stale").split()[-3])
        visit.wait(lambda: int(visit.text("#stale").split()[-3]) > age_s, "a greater age")
        visit.wait(lambda: "stalled" in visit.text("#cameras"), "the camera's state")
        visit.page.close()
    finally:
        service.kill()


def test_the_page_logs_no_error_and_requests_nothing_from_other_hosts(visit, line):
    visit.page.wait_for_timeout(3000)
    assert visit.complaints == []
    assert visit.asked <= {line.url.split("/")[2], ""}


def open_by_keyboard(visit):
    """Choose a cherry and open it; a picture may show none, and a cherry may be too long ago."""
    visit.page.focus("#strip")

    def opens():
        visit.page.keyboard.press("Escape")
        visit.page.wait_for_timeout(200)
        visit.page.keyboard.press("ArrowRight")
        if " of " not in visit.text("#chosen"):
            return False
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_selector("#cherry[open], #chosen:has-text('too long ago')")
        return visit.page.locator("#cherry[open]").count()

    visit.wait(opens, "a cherry that opens")


@needs_axe
def test_axe_finds_no_serious_fault(visit, browser, line):
    assert visit.faults() == []
    open_by_keyboard(visit)
    assert visit.faults() == []
    phone = Visit(browser, line.url, (390, 844))
    assert phone.faults() == []
    phone.page.close()


def test_a_cherry_opens_by_keyboard_and_by_click(visit):
    open_by_keyboard(visit)
    assert visit.page.locator("#planes img").count() == 2
    assert "probability of a pit" in visit.text("#facts")
    assert visit.text("#why")
    visit.page.keyboard.press("Escape")
    visit.page.wait_for_selector("#cherry:not([open])", state="attached")
    cherry = visit.cherries()[0]
    area = visit.page.locator("#picture").bounding_box()
    scale = area["width"] / 640
    visit.page.mouse.click(
        area["x"] + (cherry["x"] + cherry["w"] / 2) * scale, area["y"] + (cherry["y"] + cherry["h"] / 2) * scale
    )
    visit.page.wait_for_selector("#cherry[open]")


def test_the_picture_of_a_slow_camera_is_greyed_only_when_the_camera_is_stale(visit):
    """Events of the board cannot arrive within one evaluation, so the ages are exact."""
    said = """([ageS, limitS]) => {
      [told.stale, told.stale_after_s, picture.atMs] = [null, limitS, told.clock_ms - 1000 * ageS];
      drawState();
      return $("stale").hidden ? "" : $("stale").textContent;
    }"""
    visit.wait(visit.picture_number, "a picture")
    assert "No new picture comes" in visit.page.evaluate(said, [8, 1])
    assert not visit.page.evaluate(said, [8, 18])
    assert "No new picture comes" in visit.page.evaluate(said, [19, 18])


def test_a_line_without_valves_has_no_chart_of_the_time_to_spare(visit):
    visit.page.wait_for_selector("#charts .chart")
    assert "Rejects too late" in visit.text("#charts")
    assert "Time to spare" not in visit.text("#charts")


def test_a_phone_shows_everything_without_scrolling_sideways(browser, line):
    visit = Visit(browser, line.url, (360, 740))
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert visit.page.locator("#swipe").is_visible()  # the belt is wider than the screen, so its picture scrolls
    assert visit.page.locator("#strip").evaluate("box => box.scrollWidth > box.clientWidth")
    for selector in ("#headline", "#tiles", "#cameras", "#model", "#charts"):
        box = visit.page.locator(selector).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    visit.page.close()


def test_the_headline_can_be_read_from_two_metres(visit):
    """Letters of 1/200 of the distance: 10 mm at 2 m; a pixel of a common screen has 0.27 mm."""
    for selector in ("#headline", "#tiles .share"):
        size = visit.page.evaluate(
            "(name) => parseFloat(getComputedStyle(document.querySelector(name)).fontSize)", selector
        )
        assert size * 0.7 * 0.27 >= 9  # capital letters have 0.7 of the size
