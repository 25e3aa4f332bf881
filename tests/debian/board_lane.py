"""Tests further parts of a board under the same systemd: valves, two cameras, an update of the model."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from booted import ServiceLane, wait_for
from roots import ROOT

sys.path.insert(0, str(ROOT))
from tests.camera.board import BOTTOM, TOP
from tests.config_text import SMALL_FRAME, camera_source, small_belt
from tests.ota.fleet import Today

PLACES = """
[sink]
path = "/var/log/pitcore/verdicts.jsonl"

[control]
socket = "/run/pitcore/control.sock"
state_dir = "/var/lib/pitcore"
"""
RUNTIME = """
[runtime]
stop_timeout_s = 30.0
"""
BELT = PLACES + RUNTIME + small_belt(frames_per_s=8.0)
VALVES = """
[actions]
maybe = "reject"
side = "reject"

[actuation]
kind = "simulated"
encoder = { line_a = 10, line_b = 11 }
cherry_px = 60
lanes = [
  { line = 1, x_px = [0, 320], distance_ticks = 1500, pulse_ticks = 40 },
  { line = 2, x_px = [320, 640], distance_ticks = 1500, pulse_ticks = 40 },
]
"""
MODBUS = "\n[modbus]\nenabled = true\n"  # so that there is something to arm
CAMERAS = PLACES + RUNTIME + SMALL_FRAME + camera_source(10.0) + MODBUS
MAX_EXPOSURE = 2.0
UPDATES = """
[model]
store = "/var/lib/pitcore/store"

[update]
url = "/media/models"
root = "/etc/pitcore/root.json"
gate_frames = 16
gate_max_infer_ms = 0.0
gate_more_troubles = 0.5
selftest_latency_ratio = 1000.0
"""


def put_cameras(root: Path) -> None:
    """Copy the tests' picamera2 into a root, beside the package."""
    shutil.copy(ROOT / "tests/debian/board_cameras.py", root / "usr/lib/board_cameras.py")
    place = root / "usr/lib/pitcore-tests/tests"
    (place / "camera").mkdir(parents=True)
    (place / "__init__.py").touch()
    for name in ("board.py", "fake_picamera2.py"):
        shutil.copy(ROOT / "tests/camera" / name, place / "camera" / name)
    shutil.copytree(ROOT / "tests/camera/as_on_a_board", place / "camera/as_on_a_board")


def put_repository(root: Path) -> None:
    """Put a signed repository with one model, like a mounted stick, and the trusted keys into a root."""
    with tempfile.TemporaryDirectory() as place:
        publisher = Today(place)
        publisher.ship("1.0.0")
        shutil.copytree(publisher.directory, root / "media/models")
        (root / "etc/pitcore/root.json").write_bytes(publisher.root)


class BoardLane(ServiceLane):
    """The steps, in order."""

    def run(self) -> list[str]:
        """Run every step; return what failed."""
        self.drives_valves_when_armed()
        self.survives_what_befalls_one_of_two_cameras()
        self.takes_a_new_model()
        return self.failures

    def drives_valves_when_armed(self) -> None:
        """Test dry run until armed, the real-time priority, and the armed state after a restart."""
        self.configure(BELT + VALVES)
        self.container.run("systemctl", "start", "pitcore")
        self.container.run("pitcore", "disarm", "--socket", "/run/pitcore/control.sock")
        dry = self.valves()
        wait_for("a dry opening", lambda: self.valves()["dry_run"] > dry["dry_run"])
        undriven = self.valves()["driven"] == dry["driven"]
        self.container.run("pitcore", "arm", "--socket", "/run/pitcore/control.sock")
        wait_for("an opening", lambda: self.valves()["driven"] > dry["driven"])
        self.expect("valves", undriven and self.valves()["state"] == "ok", str(self.valves()))
        self.has_real_time()
        self.container.run("systemctl", "restart", "pitcore")
        arming = self.status()["arming"]
        wait_for("an opening after the restart", lambda: self.valves()["driven"] > 0)
        self.expect("armed again", arming["armed"] and arming["by"] == "root", str(arming))
        self.ends_with_its_valve_process()
        self.is_shut_after_a_kill()
        self.stops()

    def ends_with_its_valve_process(self) -> None:
        """Kill the valve process: the service ends with a message, and systemd restarts both, armed."""
        pid, restarts = self.container.show("MainPID"), int(self.container.show("NRestarts"))
        begin = time.monotonic()
        (valves,) = self.container.run("cat", f"/proc/{pid}/task/{pid}/children").stdout.split()
        self.container.run("sh", "-c", f"kill -KILL {valves}")  # a shell has it, a minimal Debian not
        wait_for("a restart", lambda: int(self.container.show("NRestarts")) > restarts)
        wait_for("ready again", lambda: self.container.show("ActiveState") == "active")
        said = self.container.journal(f"_PID={pid}").strip().splitlines()[-1]
        named = said.startswith("pitcore: the valve process was killed by signal 9")
        self.expect("valves killed", named, f"{time.monotonic() - begin:.1f} s; {said}")

    def is_shut_after_a_kill(self) -> None:
        """Kill everything at once: systemd runs `pitcore shut-valves` within the unit's limits, and restarts."""
        restarts = int(self.container.show("NRestarts"))
        told = self.container.journal("-u", "pitcore").count("nothing to shut")  # its text for a simulated chip
        self.container.run("systemctl", "kill", "--signal=KILL", "pitcore")
        wait_for("a restart", lambda: int(self.container.show("NRestarts")) > restarts)
        wait_for("ready again", lambda: self.container.show("ActiveState") == "active")
        now = self.container.journal("-u", "pitcore").count("nothing to shut")
        self.expect("all killed", now == told + 1, f"`pitcore shut-valves` ran {now - told} times")

    def survives_what_befalls_one_of_two_cameras(self) -> None:
        """Let a camera hang, then freeze: it is named, and the service restarts by itself, armed as before."""
        self.configure(CAMERAS, launcher="board_cameras.py")
        self.container.run("systemctl", "start", "pitcore")
        cameras = {camera["id"]: camera["frames"] for camera in self.status()["cameras"]}
        self.expect("other valves", not self.status()["arming"]["armed"], "armed for valves that are not there now")
        self.container.run("pitcore", "arm", "--socket", "/run/pitcore/control.sock")
        self.expect("two cameras", cameras.keys() == {TOP, BOTTOM} and min(cameras.values()) > 0, str(cameras))
        self.names_and_starts_anew("hang", "sent nothing for 1 s: it hangs, or its cable or power failed")
        self.names_and_starts_anew("freeze", "sent one and the same picture for")
        events = {line.get("event") for line in self.lines()}
        self.expect("frozen", {"frame_stuck", "camera_frozen"} <= events, "frames told as stuck, and the alarm")
        self.stops()

    def names_and_starts_anew(self, fault: str, said: str) -> None:
        """Have the bottom camera fail, and see the service come back."""
        pid, restarts = self.container.show("MainPID"), int(self.container.show("NRestarts"))
        begin = time.monotonic()
        self.container.run("touch", f"/run/pitcore/{fault}")
        wait_for("a restart", lambda: int(self.container.show("NRestarts")) > restarts)
        wait_for("ready again", lambda: self.container.show("ActiveState") == "active")
        took_s = time.monotonic() - begin
        told = self.container.journal(f"_PID={pid}")
        last = told.strip().splitlines()[-1] if told else "nothing"
        self.expect(fault, last.startswith(f"pitcore: camera bottom ({BOTTOM}) {said}"), f"{took_s:.1f} s; {last}")
        once = int(self.container.show("NRestarts")) == restarts + 1
        wait_for("both cameras", lambda: all(camera["frames"] > 0 for camera in self.status()["cameras"]))
        self.expect("still armed", once and self.status()["arming"]["armed"], "one restart, both cameras give frames")

    def takes_a_new_model(self) -> None:
        """pitcore-update.service within its limits: from a folder to a committed model, while the belt is judged."""
        self.configure(BELT + UPDATES)
        self.container.run("systemctl", "start", "pitcore")
        before, pid = self.status()["model"], self.container.show("MainPID")
        done = self.container.run("systemctl", "start", "pitcore-update")
        told = self.container.journal("-u", "pitcore-update").strip().splitlines()
        after = self.status()["model"]
        good = done.returncode == 0 and (after["name"], after["version"]) == ("tiny", "1.0.0") != before["name"]
        self.expect("update", good, "; ".join(told[-3:]))
        self.expect("judged on", self.container.show("MainPID") == pid, "the same process judges by the new model")
        again = self.container.run("systemctl", "start", "pitcore-update")
        told = self.container.journal("-u", "pitcore-update").strip()
        self.expect(
            "update again", again.returncode == 0 and "current: tiny@1.0.0" in told, "it is the release that is offered"
        )
        said = self.container.run("systemd-analyze", "security", "--no-pager", "pitcore-update.service").stdout
        exposure = float(said.split("pitcore-update.service:")[-1].split()[0])
        self.expect("its exposure", exposure <= MAX_EXPOSURE, f"{exposure}")
        self.stops()

    def stops(self) -> None:
        """End the service, cleanly."""
        stopped = self.container.run("systemctl", "stop", "pitcore")
        failed = self.container.run("systemctl", "is-failed", "pitcore").stdout.strip()
        self.expect("stop", stopped.returncode == 0 and failed == "inactive", failed)

    def valves(self) -> dict:
        """Return the counts of the valves."""
        return next(sink for sink in self.status()["sinks"] if sink["kind"] == "valves")

    def has_real_time(self) -> None:
        """Test that the valve process runs as SCHED_FIFO at 40, or that the journal says why it may not."""
        pid = self.container.show("MainPID")
        limits = self.container.run("cat", f"/proc/{pid}/limits").stdout
        (allowed,) = (int(line.split()[-1]) for line in limits.splitlines() if "realtime priority" in line)
        if allowed < 40:
            told = "no real-time priority" in self.container.journal("-u", "pitcore")
            self.expect(
                "real time", told, "not on this machine: it lets no container raise the limit; the journal says so"
            )
            return
        found = []
        for child in self.container.run("cat", f"/proc/{pid}/task/{pid}/children").stdout.split():
            fields = self.container.run("cat", f"/proc/{child}/stat").stdout.rpartition(")")[2].split()
            found.append(f"{fields[38]} {fields[37]}")  # proc(5): policy and rt_priority, counted from the state on
        self.expect("real time", "1 40" in found, f"policy and priority of the service's processes: {found}")
