"""Makes the pictures of docs/page.md and docs/learning.md: the pages in a real browser, while the real service sorts
the emulated belt. The crops of the label page are drawn.

    python -m tests.page.pictures docs/pictures

The belt shows a frame every two seconds, which a busy machine judges in time. It takes a few minutes.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pitcore_tools.train.procedural import draw
from tests.cli.service import Service
from tests.page.board import address_of
from tests.page.browser import Visit, open_browser, playwright

MAX_BYTES = 250_000
QUALITIES = (85, 75, 65)  # of JPEG, the first one with which a picture is small enough
DESK, WHOLE, PHONE = (1152, 900), (1152, 1740), (390, 844)  # pixels
CHERRIES = 100  # on the page before a picture
PATIENCE_S = 600.0  # time-out of each wait; a busy machine needs minutes for a hundred cherries
FILLED_S = 75  # after the start; then the last minute is a whole one
CONFIG = """
[source]
kind = "emulated"
frames_per_s = 0.5
cherries_per_frame = 14.0
ring_frames = 16
seed = 5
{disturbance}
[sink]
path = "{folder}/verdicts.jsonl"
[control]
socket = "{folder}/c.sock"
state_dir = "{folder}/state"
[actions]
maybe = "reject"
side = "reject"
[actuation]
kind = "simulated"
encoder = {{ line_a = 10, line_b = 11 }}
lanes = [
  {{ line = 1, x_px = [0, 616], distance_ticks = 4000, pulse_ticks = 60 }},
  {{ line = 2, x_px = [616, 1232], distance_ticks = 4000, pulse_ticks = 60 }},
  {{ line = 3, x_px = [1232, 1848], distance_ticks = 4000, pulse_ticks = 60 }},
  {{ line = 4, x_px = [1848, 2464], distance_ticks = 4000, pulse_ticks = 60 }},
]
[runtime]
stop_timeout_s = 60.0
capture_timeout_s = 60.0
[page]
enabled = true
port = 0
"""
SHOWN = (
    "(wanted) => { const at = document.getElementById('work').dataset;"
    " return document.getElementById('progress').textContent === wanted && at.crop && at.shown === at.crop; }"
)
LOADED = "[...document.querySelectorAll('#planes img')].every((one) => one.complete)"
DARK = "[source.disturbance]\nlight = [0.1, 1.0]\nfirst = 8\n"


def start(folder, disturbance=""):
    """Start the service. Return it, and the address of its page."""
    config = folder / "board.toml"
    config.write_text(CONFIG.format(folder=folder, disturbance=disturbance))
    log = folder / f"log{len(disturbance)}"
    service = Service(config, log)
    return service, address_of(service, log)


def counted(visit):
    tiles = visit.page.query_selector_all("#tiles li")
    return sum(int(tile.get_attribute("data-count") or 0) for tile in tiles)


def wait_for(page, condition, what):
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"after {PATIENCE_S:g} s there is still no picture: {what} did not come")
        page.wait_for_timeout(200)


def is_sorting(visit):
    """Whether the page shows a belt with enough cherries, on which nothing is wrong."""
    return counted(visit) >= CHERRIES and visit.text("#headline") == "JUDGING" and len(visit.cherries()) >= 8


def while_sorting(browser, folder, keep):
    """Take the pictures of a belt on which nothing is wrong."""
    service, url = start(folder)
    try:
        visit = Visit(browser, url, WHOLE)
        started = f"told && told.line && told.line.uptime_s > {FILLED_S}"
        wait_for(visit.page, lambda: visit.page.evaluate(started), "a full minute")
        wait_for(visit.page, lambda: is_sorting(visit), "a belt that is sorted")
        keep("page.jpg", visit.page)
        visit.page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
        phone = Visit(browser, url, PHONE)
        wait_for(phone.page, lambda: counted(phone) >= CHERRIES, "cherries on the phone")
        keep("page_phone.jpg", phone.page)
        phone.page.close()
        visit.page.focus("#strip")
        for _ in range(len(visit.cherries())):
            visit.page.keyboard.press("ArrowRight")
            if visit.text("#chosen").endswith("uncertain"):
                break
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_selector("#cherry[open]")
        wait_for(visit.page, lambda: visit.page.evaluate(LOADED), "the pictures of a cherry")
        keep("page_cherry.jpg", visit.page)
        visit.page.close()
        service.stop()
    finally:
        service.kill()


def while_dark(browser, folder, keep):
    """Take the pictures of an alarm, and of the report of the shift in which it was."""
    service, url = start(folder, DARK)
    try:
        visit = Visit(browser, url, DESK)
        visit.page.wait_for_selector(".alarm")
        visit.page.wait_for_timeout(6000)  # the frame of the alarm blinks for four seconds
        keep("page_alarm.jpg", visit.page)
        visit.page.close()
        report = browser.new_page(viewport={"width": 900, "height": 1000})
        report.goto(url)
        report.click("#shifts a")
        report.wait_for_selector("main.report")
        keep("page_shift.png", report)
        report.close()
        service.stop()
    finally:
        service.kill()


def while_labelling(browser, folder, keep):
    """Take the picture of the label page while people disagree."""
    for _ in draw(folder / "drawn", 4, 20):
        pass
    command = [
        sys.executable,
        "-m",
        "pitcore_tools",
        "label",
        folder / "drawn",
        "--out",
        folder / "labels",
        "--port",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().split("crops: ")[1].split()[0]
            tab = browser.new_page(viewport={"width": DESK[0], "height": 800})
            for person, keys in (("ben", "ccpccpcpcc"), ("anna", "ccpcppcp")):
                tab.goto(url)
                tab.fill("#by", person)
                tab.keyboard.press("Enter")
                for done, key in enumerate(keys):
                    tab.wait_for_function(SHOWN, arg=f"{person}: {done} of 20")
                    tab.keyboard.press(key)
            tab.wait_for_function(SHOWN, arg=f"{person}: {len(keys)} of 20")
            tab.wait_for_function("() => document.getElementById('agreement').textContent.includes('agreed')")
            keep("label.png", tab)
            tab.close()
        finally:
            process.terminate()


SCENES = {"sorting": while_sorting, "dark": while_dark, "labelling": while_labelling}


def taken(page, **kind):
    """Take a picture while the page has a new picture of the belt; again if it became old meanwhile."""
    raw = b""

    def is_new():
        nonlocal raw
        if page.query_selector("#strip.old"):
            return False
        raw = page.screenshot(**kind)
        return not page.query_selector("#strip.old")

    wait_for(page, is_new, "a new picture of the belt")
    return raw


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("out", type=Path, help="folder of the pictures")
    options.add_argument("--only", choices=SCENES, help="one scene; all without it")
    asked = options.parse_args()
    out = asked.out
    out.mkdir(parents=True, exist_ok=True)

    def keep(name, page):
        for quality in QUALITIES:
            kind = {"type": "jpeg", "quality": quality} if name.endswith(".jpg") else {"full_page": True}
            raw = taken(page, **kind)
            if len(raw) <= MAX_BYTES:
                break
        (out / name).write_bytes(raw)
        print(f"{out / name}: {len(raw):,} bytes, quality {quality}", flush=True)  # noqa: T201
        if len(raw) > MAX_BYTES:
            raise SystemExit(f"{name}: {len(raw):,} bytes; a picture of the documents has at most {MAX_BYTES:,}")

    with tempfile.TemporaryDirectory() as name, playwright.sync_playwright() as driver:
        browser = open_browser(driver)
        for scene, play in SCENES.items():
            if asked.only in {None, scene}:
                play(browser, Path(name), keep)
        browser.close()


if __name__ == "__main__":
    main()
