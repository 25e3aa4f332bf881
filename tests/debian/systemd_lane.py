"""Tests the service under a real systemd: `make test-systemd`.

Boots a clean Debian 12 in a container by systemd-nspawn, installs the package, and shows: ready only after a frame of
every camera was processed; inside the unit's limits; a hung camera named, not fed, killed and restarted; arming that
outlives it; a reload without a lost frame, and one that is refused; an upgrade that keeps the running process if its
file is refused; a clean stop. Then, in ``board_lane``, what a board has besides: valves, cameras, updates. The belt is
slow, its queue long and the stop may take long, so that a busy machine passes as well.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path

from board_lane import MAX_EXPOSURE, PLACES, BoardLane, put_cameras, put_repository
from booted import Container, ServiceLane, wait_for
from roots import ROOT, copy_of, mounted, need, package, run_in

from tests.config_text import small_belt

BELT = f"""
{PLACES}
{small_belt(frames_per_s=4.0)}
[runtime]
queue_frames = 64
stop_timeout_s = 30.0

[modbus]
enabled = true  # so that there is something to arm
"""


def main() -> None:
    """Run the lane and exit with 1 if anything is wrong."""
    need({"debootstrap": "debootstrap", "systemd-nspawn": "systemd-container", "nsenter": "util-linux"})
    begin = time.monotonic()
    with copy_of("amd64", "systemd") as root:
        prepare(root)
        with Container(root) as container:
            failures = Lane(root, container).run() + BoardLane(root, container).run()
    print(f"{'FAIL: ' + '; '.join(failures) if failures else 'all pass'}, {time.monotonic() - begin:.0f} s")
    sys.exit(1 if failures else 0)


def prepare(root: Path) -> None:
    """Install the package in the root before it boots."""
    shutil.copy(package("amd64"), root / "root/pitcore.deb")
    with mounted(root, "amd64"):
        done = run_in(root, ["dpkg", "-i", "/root/pitcore.deb"])
    if done.returncode != 0:
        sys.exit(f"dpkg: {done.stdout}{done.stderr}")
    shutil.copy(ROOT / "tests/debian/hanging_camera.py", root / "usr/lib/hanging_camera.py")
    put_cameras(root)
    put_repository(root)


class Lane(ServiceLane):
    """An emulated belt; the steps in order."""

    def run(self) -> list[str]:
        """Run every step; return what failed."""
        self.configure(BELT, launcher="hanging_camera.py")
        self.starts_ready()
        self.lives_within_its_limits()
        self.arms()
        self.survives_a_hung_camera()
        self.reloads_without_a_lost_frame()
        self.outlives_an_upgrade_that_refuses_its_file()
        self.stops_cleanly()
        return self.failures

    def starts_ready(self) -> None:
        """`systemctl start` returns when a frame of every camera was processed, not before."""
        before = self.container.run("systemctl", "is-enabled", "pitcore").stdout.strip()
        self.expect("not enabled", before == "disabled" and self.container.show("ActiveState") == "inactive", before)
        begin = time.monotonic()
        started = self.container.run("systemctl", "start", "pitcore")
        self.expect("start", started.returncode == 0, f"{started.stderr.strip()} {time.monotonic() - begin:.1f} s")
        cameras = self.status()["cameras"]
        wait_for("a verdict", lambda: bool(self.lines()))
        first_us = min(line["frame"]["t_ns"] for line in self.lines() if "frame" in line) // 1000
        ready_us = int(self.container.show("ActiveEnterTimestampMonotonic"))
        good = ready_us > first_us and all(camera["frames"] > 0 for camera in cameras)
        self.expect(
            "ready", good, f"{(ready_us - first_us) / 1e6:.2f} s after the first exposure, cameras {len(cameras)}"
        )
        self.expect(
            "status text",
            "frames judged, model" in self.container.show("StatusText"),
            self.container.show("StatusText"),
        )

    def lives_within_its_limits(self) -> None:
        """Test that the unit's exposure is at most 2.0, and that the process has the unit's limits."""
        said = self.container.run("systemd-analyze", "security", "--no-pager", "pitcore.service").stdout.splitlines()
        found = re.search(r"pitcore.service: ([0-9.]+)", said[-1] if said else "")
        self.expect(
            "exposure", bool(found) and float(found[1]) <= MAX_EXPOSURE, said[-1].strip() if said else "nothing"
        )
        pid = self.container.show("MainPID")
        lines = self.container.run("cat", f"/proc/{pid}/status").stdout.splitlines()
        status = dict(line.split(":", 1) for line in lines)
        caps, user = int(status["CapBnd"], 16), self.container.run("id", "-u", "pitcore").stdout.strip()
        good = caps == 0 and status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
        self.expect(
            "confined", good and user in status["Uid"].split(), f"uid {user}, capabilities {caps}, seccomp filter"
        )
        touched = self.container.run("nsenter", "--target", pid, "--mount", "touch", "/usr/x", "/etc/pitcore/x")
        self.expect("read-only", touched.stderr.count("Read-only file system") == 2, touched.stderr.replace("\n", "; "))
        uncovered = [
            line for line in self.journal_errors() if "denied" in line.lower() or "not permitted" in line.lower()
        ]
        self.expect("nothing denied", not uncovered, "; ".join(uncovered) or "no refusal in the journal")

    def arms(self) -> None:
        """Dry until armed; who armed is reported."""
        dry = self.status()["arming"]
        armed = self.container.run("pitcore", "arm", "--socket", "/run/pitcore/control.sock")
        now = self.status()["arming"]
        self.expect("arm", armed.returncode == 0 and not dry["armed"] and now["armed"], f"{armed.stderr.strip()}{now}")

    def survives_a_hung_camera(self) -> None:
        """It is named, the watchdog is not fed, systemd kills and restarts, and it is ready and armed again."""
        pid = self.container.show("MainPID")
        self.container.run("touch", "/run/pitcore/hang")
        begin = time.monotonic()
        wait_for("a restart", lambda: self.container.show("NRestarts") == "1")
        wait_for("ready again", lambda: self.container.show("ActiveState") == "active")
        text = self.container.journal("-u", "pitcore")
        self.expect(
            "watchdog", "Watchdog timeout" in text, f"killed and ready again after {time.monotonic() - begin:.1f} s"
        )
        named = self.container.journal("PITCORE_CAMERA=top", f"_PID={pid}").strip()
        self.expect("named", "the watchdog is not fed" in named, named)
        self.expect("where it hung", "read_or_hang" in text, "the journal has the stack of the hung thread")
        arming = self.status()["arming"]
        self.expect("still armed", arming["armed"], str(arming))

    def reloads_without_a_lost_frame(self) -> None:
        """`systemctl reload` takes a new configuration while every frame is judged, and fails where it is bad."""
        old, before = self.status(), self.frames()
        self.configure(BELT + "\n[decision]\naccept = 0.001\n", launcher="hanging_camera.py")
        done = self.container.run("systemctl", "reload", "pitcore")
        wait_for("the new configuration", lambda: self.status()["config"]["sha256"] != old["config"]["sha256"])
        at = self.frames()["processed"]
        wait_for("frames after it", lambda: self.frames()["processed"] > at + 20)
        after = self.frames()
        lost = {key: after[key] - before[key] for key in ("dropped", "lost")}
        hashes = {line["config"] for line in self.lines() if "config" in line}
        good = done.returncode == 0 and not any(lost.values()) and len(hashes) == 2
        self.expect("reload", good, f"{after['processed'] - before['processed']} frames across it, {lost}")
        self.expect("same process", self.container.show("NRestarts") == "1", "no restart")
        self.configure(BELT + "\n[decision]\naccept = 7\n", launcher="hanging_camera.py")
        refused = self.container.run("systemctl", "reload", "pitcore")
        good = refused.returncode != 0 and self.container.show("ActiveState") == "active"
        why = self.container.journal("-u", "pitcore", "-n", "4").strip().replace("\n", "; ")
        self.expect("bad reload", good and "[decision] accept" in why, why)

    def outlives_an_upgrade_that_refuses_its_file(self) -> None:
        """An upgrade restarts the service only if the new version takes the board's file; the present one is bad."""
        old = self.container.show("MainPID")
        refused = self.container.run("dpkg", "-i", "/root/pitcore.deb")
        at = self.frames()["processed"]
        wait_for("frames after it", lambda: self.frames()["processed"] > at + 4)
        good = refused.returncode == 0 and self.container.show("MainPID") == old
        told = "was not restarted" in refused.stderr and "[decision] accept" in refused.stderr
        self.expect("upgrade refused", good and told, refused.stderr.strip().replace("\n", "; "))
        # A good file whose model lies below the service's folder: the check must look for it there.
        shutil.copytree(self.root / "usr/lib/pitcore/pitcore/models/default", self.root / "var/lib/pitcore/own")
        self.configure(BELT + '\n[model]\nbundle = "own"\n', launcher="hanging_camera.py")
        taken = self.container.run("dpkg", "-i", "/root/pitcore.deb")
        wait_for("ready after the upgrade", lambda: self.container.show("ActiveState") == "active")
        good = taken.returncode == 0 and self.container.show("MainPID") not in {old, "0"}
        told = taken.stderr.strip().replace("\n", "; ")
        self.expect("upgrade", good, told or "the new version runs in a new process")

    def stops_cleanly(self) -> None:
        """SIGTERM: every line whole, exit code 0; a stop that hangs ends with exit code 4 after `stop_timeout_s`."""
        stopped = self.container.run("systemctl", "stop", "pitcore")
        told = self.container.run("journalctl", "--no-pager", "--output=json", "-u", "pitcore").stdout.splitlines()
        at_us = {entry["MESSAGE"]: int(entry["__MONOTONIC_TIMESTAMP"]) for entry in map(json.loads, told)}
        # systemd forgets a unit that stopped, its times and its result too: the journal has them.
        begin_us = max(at for text, at in at_us.items() if text.startswith("Stopping pitcore.service"))
        end_us = at_us.get("pitcore.service: Deactivated successfully.", 0)
        said = next((text for text in reversed(at_us) if text.startswith("stopped after")), "nothing")
        good = stopped.returncode == 0 and begin_us < end_us
        self.expect("stop", good, f"deactivated successfully in {(end_us - begin_us) / 1e6:.2f} s; {said}")
        text = self.verdicts.read_text()
        self.expect(
            "whole lines", text.endswith("\n") and all(map(json.loads, text.splitlines())), f"{len(text)} bytes"
        )
        self.expect("no socket left", not (self.root / "run/pitcore").exists(), "/run/pitcore is gone")


if __name__ == "__main__":
    main()
