"""People label crops by keyboard in a real browser, and training reads what they said."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pitcore.camera.crops import LABELS, crop_hash, read_crop
from pitcore.preprocess.prepare import CropSpec
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.train.dataset import prepare, read_crops, read_relabel, relabelled
from pitcore_tools.train.procedural import draw
from tests.cli.service import PATIENCE_S
from tests.page.axe import needs_axe, serious_faults
from tests.page.browser import needs_browser, open_browser, playwright

TOOLS = (sys.executable, "-m", "pitcore_tools")


SPEC = CropSpec(64, "centre", 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twenty drawn crops, ten of each class."""
    place = tmp_path_factory.mktemp("drawn")
    for _ in draw(place, 4, 20):
        pass
    return place


@pytest.fixture(scope="module")
def truth(folder):
    return {crop.hash: LABELS[crop.label] for crop in read_crops(folder)}


class Page:
    """`pitcore-tools label` in a process of its own, and a browser on its page."""

    def __init__(self, browser, folder, out):
        command = [*TOOLS, "label", str(folder), "--out", str(out), "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split("crops: ")[1].split()[0]
        self.complaints = []
        self.tab = browser.new_page(viewport={"width": 1400, "height": 900})
        self.tab.set_default_timeout(1000 * PATIENCE_S)
        self.tab.on("console", lambda said: self.complaints.append(said.text) if said.type != "log" else None)
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))

    def begin(self, person):
        self.tab.goto(self.url)
        self.tab.fill("#by", person)
        self.tab.keyboard.press("Enter")

    def shown(self, before=None):
        """Return the crop on the page, once it is another than before."""
        self.tab.wait_for_function(
            "before => { const at = document.getElementById('work').dataset;"
            " return at.crop !== undefined && at.crop !== before && (at.crop === '' || at.shown === at.crop); }",
            arg=before,
        )
        return self.tab.get_attribute("#work", "data-crop")

    def label_all(self, answer):
        crop, seen = self.shown("none"), []
        while crop:
            seen.append(crop)
            self.tab.keyboard.press(answer(crop))
            crop = self.shown(crop)
        return seen

    def text(self, place, wanted):
        self.tab.wait_for_function(
            "([place, wanted]) => document.querySelector(place).textContent.includes(wanted)", arg=[place, wanted]
        )

    def close(self):
        assert self.complaints == []
        self.process.send_signal(signal.SIGINT)
        out, _ = self.process.communicate(timeout=PATIENCE_S)
        assert "labels.csv" in out
        assert self.process.returncode == 0


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        one = open_browser(driver)
        yield one
        one.close()


@pytest.fixture
def started(browser):
    pages = []
    yield lambda *places: pages.append(Page(browser, *places)) or pages[-1]
    for page in pages:
        page.tab.close()
        page.process.kill()
        page.process.communicate()


@needs_browser
def test_twenty_crops_labelled_by_keyboard_are_what_training_reads(started, folder, truth, tmp_path):
    page = started(folder, tmp_path / "labels")
    page.begin("anna")
    page.shown("none")
    assert page.tab.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    seen = page.label_all(lambda crop: truth[crop][0])
    page.text("#progress", "20 of 20")
    assert sorted(seen) == sorted(truth)
    table = read_relabel(tmp_path / "labels" / "labels.csv", LABELS, truth)
    assert {crop: LABELS[table[crop[:16]]] for crop in truth} == truth
    crops = prepare(read_crops(folder), SPEC)
    again = relabelled(crops, table)
    assert (again.labels == crops.labels).all()
    assert len(again) == 20
    page.close()
    words = ["label-folder", folder, "--labels", tmp_path / "labels" / "labels.csv", "--out", tmp_path / "set"]
    done = CliRunner().invoke(pitcore_tools, list(map(str, words)))
    assert done.exit_code == 0, done.output
    assert "10 clean, 10 pit" in done.output
    assert {crop.hash: LABELS[crop.label] for crop in read_crops(tmp_path / "set")} == truth


@needs_browser
def test_label_page_supports_undo_two_people_and_their_disagreements(started, folder, truth, tmp_path):
    page = started(folder, tmp_path / "labels")
    page.begin("anna")
    first = page.shown("none")
    page.tab.keyboard.press("x")
    second = page.shown(first)
    page.tab.keyboard.press("z")
    assert page.shown(second) == first  # it comes back
    page.tab.keyboard.press("+")
    wide = page.tab.evaluate("document.getElementById('top').width / document.getElementById('top').naturalWidth")
    assert wide == pytest.approx(9, abs=0.1)
    page.label_all(lambda crop: truth[crop][0])
    page.begin("ben")
    assert page.tab.text_content("#others") == ""  # nothing of anna's
    odd = sorted(truth)[:3]
    other = {odd[0]: "u"} | {crop: "c" if truth[crop] == "pit" else "p" for crop in odd[1:]}
    page.label_all(lambda crop: other.get(crop, truth[crop][0]))
    page.text("#agreement", "17 of 20 agreed")
    table = read_relabel(tmp_path / "labels" / "labels.csv", LABELS, truth)
    assert sorted(crop for crop in truth if table[crop[:16]] is None) == odd
    page.tab.keyboard.press("d")
    page.text("#progress", "3 to decide")
    page.text("#others", "anna: ")
    page.label_all(lambda crop: truth[crop][0])
    page.text("#agreement", "0 to decide")
    table = read_relabel(tmp_path / "labels" / "labels.csv", LABELS, truth)
    assert {crop: LABELS[table[crop[:16]]] for crop in truth} == truth
    page.close()


@needs_axe
def test_axe_finds_no_serious_fault(started, folder, tmp_path):
    page = started(folder, tmp_path / "labels")
    page.tab.goto(page.url)
    assert serious_faults(page.tab) == []
    page.begin("anna")
    first = page.shown("none")
    assert serious_faults(page.tab) == []
    page.tab.keyboard.press("u")
    page.shown(first)
    page.begin("ben")
    page.shown("none")
    page.tab.keyboard.press("c")
    page.text("#agreement", "1 to decide")
    page.tab.keyboard.press("d")
    page.text("#others", "anna: unsure")
    assert serious_faults(page.tab) == []
    page.close()


def test_crops_of_a_folder_are_found_by_the_hash_that_training_uses(folder, truth):
    found = {crop_hash(read_crop(path)) for path in Path(folder).rglob("*.png")}
    assert found == set(truth)
