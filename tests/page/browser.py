"""A real browser, and `pitcore run` with its page: for the tests, and for the pictures of docs/page.md.

Tests that import it are skipped without playwright. ``needs_browser`` marks those that need Chromium too.
"""

import json
import shutil
import time

import pytest

from tests.cli.program import write_config
from tests.cli.service import Service, whole_lines
from tests.page.axe import serious_faults
from tests.page.board import PATIENCE_S, address_of

pytest.importorskip("uvicorn", reason="the pages need the extra `page`, or `label` of the tools")
playwright = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_MS = 1000 * PATIENCE_S

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="browser tests need Chromium: apt install chromium")

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
        config = write_config(folder / "board.toml", bundle, sink=self.verdicts, extra=PAGE + extra, frames_per_s=10.0)
        self.log = folder / "log"
        self.service = Service(config, self.log)
        self.url = address_of(self.service, self.log)

    def counted(self):
        """Verdicts in the file, by name."""
        found = {}
        for line in whole_lines(self.verdicts):
            record = json.loads(line)
            if record["schema"] == "pitcore.verdict/1":
                found[record["verdict"]] = found.get(record["verdict"], 0) + 1
        return found


def open_browser(driver):
    """Start Chromium."""
    return driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # root in a container


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
        return serious_faults(self.page)
