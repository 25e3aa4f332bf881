"""Disk and service: where verdicts are kept, and whether the service runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from pitcore.config import Config
from pitcore.doctor.check import Check, fail, ok, skip, warn
from pitcore.durable import replace_file

SPARE_BYTES = 256 * 1024 * 1024  # beside the verdicts: two models, the journal, an upgrade
UNIT = "pitcore.service"
PROPERTIES = ("LoadState", "ActiveState", "SubState", "UnitFileState", "NRestarts", "Result", "StatusText")


def check_disk(config: Config, free_bytes: Callable[[Path], int]) -> Check:
    """Write a file where verdicts go, and look whether all that may be kept fits beside it.

    Args:
        config: its [sink].
        free_bytes: free space of the file system that holds a folder.
    """
    name, sink = "disk", config.sink
    folder = Path(sink.path).absolute().parent
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    probe = there / f".pitcore-doctor.{os.getpid()}"
    try:
        replace_file(probe, lambda file: file.write(b"\0" * 4096))
        probe.unlink()
    except OSError as error:
        return fail(
            name,
            f"{there} cannot be written: {error.strerror}",
            "run it as the service's user: sudo -u pitcore pitcore doctor; if this does not help, sudo "
            "systemd-tmpfiles --create "
            "pitcore.conf, or choose another [sink] path",
        )
    free, wanted = free_bytes(there), sink.rotate_bytes * (sink.keep + 1)
    held = sum(path.stat().st_size for path in there.glob(f"{Path(sink.path).name}*")) if there == folder else 0
    found = f"{free / 1e9:.1f} GB free for {folder}, verdicts take at most {wanted / 1e9:.1f} GB"
    if free + held < wanted + SPARE_BYTES:
        return (fail if free < SPARE_BYTES else warn)(name, found, "lower [sink] keep or rotate_bytes, or make room")
    return ok(name, found)


def free_bytes(folder: Path) -> int:
    """Return the free space of the file system that holds a folder."""
    return shutil.disk_usage(folder).free


def check_service(shown: str | None) -> Check:
    """Judge how the service is by what systemd says.

    Args:
        shown: ``systemctl show`` of the unit, see ``show_service``; None where no systemd runs.
    """
    name = "service"
    said = dict(line.split("=", 1) for line in (shown or "").splitlines() if "=" in line)
    if said.get("LoadState") != "loaded":
        return skip(name, "no systemd runs here" if shown is None else "not installed as a service")
    state, sub, restarts = said["ActiveState"], said["SubState"], int(said["NRestarts"] or 0)
    found = f"{state} ({sub}), {said['UnitFileState']}"
    logs = "journalctl -u pitcore -n 50"
    if state == "failed" or sub == "auto-restart":
        return fail(name, f"{found}, last result {said['Result']}", f"the log shows why it ended: {logs}")
    troubles = (
        (state == "activating", "no frame of every camera yet", f"wait a few seconds, then: {logs}"),
        (state != "active", "not running", "sudo systemctl enable --now pitcore; it stays dry until `pitcore arm`"),
        (restarts > 0, f"restarted {restarts} times; {said['StatusText']}", f"the log shows why: {logs}"),
        (said["UnitFileState"] != "enabled", "will not start after a power cut", "sudo systemctl enable pitcore"),
    )
    for bad, what, fix in troubles:
        if bad:
            return warn(name, f"{found}: {what}", fix)
    return ok(name, f"{found}; {said['StatusText']}")


def show_service() -> str | None:
    """Return ``systemctl show`` of the unit; None where no systemd runs."""
    if not Path("/run/systemd/system").is_dir() or shutil.which("systemctl") is None:
        return None
    command = ["systemctl", "show", UNIT, *(f"--property={name}" for name in PROPERTIES)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None
