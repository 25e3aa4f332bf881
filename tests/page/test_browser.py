"""The live page in a real browser, while `pitcore run` sorts an emulated belt of drawn cherries.

Skipped, and said so, where playwright, Chromium or axe-core are absent; docs/page.md says how to get them.
"""

import contextlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.cli.program import write_config
from tests.cli.service import PATIENCE_S, Service, whole_lines
from tests.conftest import write_tiny_bundle

pytest.importorskip("uvicorn", reason="the live page needs the extra `page`")
playwright = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ROOT = Path(__file__).parents[2]
AXE = Path(os.environ.get("PITCORE_AXE", ROOT / "build" / "browser" / "node_modules" / "axe-core" / "axe.min.js"))
PATIENCE_MS = 1000 * PATIENCE_S

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="browser tests need Chromium: apt install chromium")

PAGE = """
[page]
enabled = true
port = 0
pictures_per_s = 10.0
strips = 2
"""


class Line:
    """A service with its page.

    Attributes:
        url: of the page.
        verdicts: the file.
    """

    def __init__(self, folder, bundle, extra=""):
        self.verdicts = folder / "verdicts.jsonl"
        config = write_config(folder / "board.toml", bundle, sink=self.verdicts, extra=PAGE + extra)
        config.write_text(config.read_text().replace("frames_per_s = 100.0", "frames_per_s = 10.0"))
        self.log = folder / "log"
        self.service = Service(config, self.log)
        self.service.wait_for_log("[page] listens on")
        self.url = self.log.read_text().split("[page] listens on ")[1].split()[0]

    def counted(self):
        """Verdicts in the file, by name."""
        found = {}
        for line in whole_lines(self.verdicts):
            record = json.loads(line)
            if record["schema"] == "pitcore.verdict/1":
                found[record["verdict"]] = found.get(record["verdict"], 0) + 1
        return found


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        one = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # root in a container
        yield one
        one.close()


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    folder = tmp_path_factory.mktemp("line")
    one = Line(folder, write_tiny_bundle(folder / "tiny"))
    yield one
    one.service.kill()


class Visit:
    """A page in the browser, with everything that it complains of, and whom it asks."""

    def __init__(self, browser, url, size=(1600, 1000), shows="#picture[data-number]"):
        self.page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        self.page.set_default_timeout(PATIENCE_MS)
        self.complaints, self.asked = [], set()
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type != "log" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "request", lambda request: self.asked.add(request.url.split("/")[2] if "//" in request.url else "")
        )
        self.page.goto(url)
        self.page.wait_for_selector(shows)

    def wait(self, condition, what):
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert time.monotonic() < deadline, f"never came: {what}"
            self.page.wait_for_timeout(50)
        return found

    def cherries(self):
        return json.loads(self.page.get_attribute("#picture", "data-cherries"))

    def picture_number(self):
        return int(self.page.get_attribute("#picture", "data-number"))

    def text(self, selector):
        return self.page.inner_text(selector)

    def faults(self):
        """What axe-core finds that is serious."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("axe.run()")["violations"]
        return [
            (one["impact"], one["id"], [node["target"] for node in one["nodes"]])
            for one in found
            if one["impact"] in {"serious", "critical"}
        ]


@pytest.fixture
def visit(browser, line):
    one = Visit(browser, line.url)
    yield one
    one.page.close()


def test_rings_move_with_the_belt(visit):
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
        visit.page.close()
    finally:
        line.service.kill()


def test_the_page_complains_of_nothing_and_asks_nobody_else(visit, line):
    visit.page.wait_for_timeout(3000)
    assert visit.complaints == []
    assert visit.asked <= {line.url.split("/")[2], ""}


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is absent: npm install axe-core, and set PITCORE_AXE")
def test_axe_finds_no_serious_fault(visit, browser, line):
    assert visit.faults() == []
    visit.page.focus("#strip")
    visit.page.keyboard.press("ArrowRight")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("#cherry[open]")
    assert visit.faults() == []
    phone = Visit(browser, line.url, (390, 844))
    assert phone.faults() == []
    phone.page.close()


def test_a_cherry_opens_by_keyboard_and_by_click(visit):
    visit.page.focus("#strip")
    visit.page.keyboard.press("ArrowRight")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("#cherry[open]")
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


def test_a_phone_shows_everything_without_scrolling_sideways(browser, line):
    visit = Visit(browser, line.url, (360, 740))
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360
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
