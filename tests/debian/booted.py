"""Boots a clean Debian in a container, with the steps that all its tests use."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_S = 180.0


class Container:
    """A booted root."""

    def __init__(self, root: Path) -> None:
        self._log = root.with_suffix(".log").open("wb")
        command = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--private-network"]
        command += ["--directory", str(root), "--console=passive"]
        self._nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self._leader = ""

    def __enter__(self) -> Container:
        wait_for("the container's systemd", self._booted)
        return self

    def __exit__(self, *_: object) -> None:
        self._nspawn.send_signal(signal.SIGTERM)
        try:
            self._nspawn.wait(60)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
        self._log.close()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside the container's systemd."""
        inside = ["nsenter", "--target", self._leader, "--all", "--", "env", "-i", "PATH=/usr/sbin:/usr/bin", *command]
        return subprocess.run(inside, capture_output=True, text=True, check=False, timeout=PATIENCE_S)

    def show(self, name: str) -> str:
        """Return a property of the service."""
        return self.run("systemctl", "show", "pitcore", f"--property={name}", "--value").stdout.strip()

    def journal(self, *match: str) -> str:
        """Return the service's journal."""
        return self.run("journalctl", "--no-pager", "--output=cat", *match).stdout

    def _booted(self) -> bool:
        if self._nspawn.poll() is not None:
            sys.exit(f"systemd-nspawn ended: {Path(self._log.name).read_text()}")
        found = subprocess.run(["pgrep", "-P", str(self._nspawn.pid)], capture_output=True, text=True, check=False)
        self._leader = found.stdout.split()[0] if found.stdout else ""
        return bool(self._leader) and self.run("systemctl", "is-system-running").stdout.strip() in (
            "running",
            "degraded",
        )


class ServiceLane:
    """Steps over one service; each prints a line.

    Args:
        root: of the container.
        container: booted.
    """

    def __init__(self, root: Path, container: Container) -> None:
        self.root, self.container = root, container
        self.verdicts = root / "var/log/pitcore/verdicts.jsonl"
        self.failures: list[str] = []

    def configure(self, text: str, *, launcher: str | None = None) -> None:
        """Write the board's configuration, and have the service started by a program of ours, which breaks cameras.

        Args:
            text: of board.toml.
            launcher: in /usr/lib of the container; None starts what the package's unit says.
        """
        (self.root / "etc/pitcore/board.toml").write_text(text)
        drop_in = self.root / "etc/systemd/system/pitcore.service.d/launcher.conf"
        drop_in.parent.mkdir(parents=True, exist_ok=True)
        command = f"/usr/bin/python3 -I /usr/lib/{launcher} run --config /etc/pitcore/board.toml"
        service = "[Service]\nTimeoutStopSec=60\n"  # above the lanes' `stop_timeout_s`
        start = f"{service}ExecStart=\nExecStart={command}\n"
        before = drop_in.read_text() if drop_in.exists() else ""
        drop_in.write_text(start if launcher else service)
        if drop_in.read_text() != before:
            self.container.run("systemctl", "daemon-reload")

    def status(self) -> dict:
        """Return the status of the service from its socket."""
        done = self.container.run("pitcore", "status", "--json", "--socket", "/run/pitcore/control.sock")
        if done.returncode != 0:
            sys.exit(f"pitcore status: {done.stderr}\n{self.container.journal('-u', 'pitcore', '-n', '30')}")
        return json.loads(done.stdout)

    def frames(self) -> dict[str, int]:
        """Return its counts of frames."""
        frames = self.status()["frames"]
        return {key: sum(value.values()) if isinstance(value, dict) else value for key, value in frames.items()}

    def journal_errors(self) -> list[str]:
        """Return what the service said at priority err or worse."""
        return self.container.journal("-u", "pitcore", "-p", "err").splitlines()

    def lines(self) -> list[dict]:
        """Return every whole line of the verdict file."""
        text = self.verdicts.read_text() if self.verdicts.exists() else ""
        return [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]

    def expect(self, name: str, good: bool, said: str) -> None:  # noqa: FBT001  its one argument besides the texts
        """Print a line, and note a failure."""
        print(f"{name:16}{'pass' if good else 'FAIL'}  {said.strip()}", flush=True)
        if not good:
            self.failures.append(name)


def wait_for(what: str, condition) -> None:
    """Wait for a condition; end the lane if it never holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited {PATIENCE_S:g} s in vain for {what}")
        time.sleep(0.1)
