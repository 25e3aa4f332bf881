"""Checks the paths and the disk of the service, and its state in systemd."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from pitcore.config import Config
from pitcore.control.protocol import BOARD_SOCKET, lock_path
from pitcore.doctor.check import Check, fail, ok, skip, warn
from pitcore.durable import replace_file
from pitcore.errors import PitcoreError
from pitcore.loop.sources import check_recorded
from pitcore.output_path import VERDICT_FILE, try_file, try_folder

SPARE_BYTES = 256 * 1024 * 1024  # besides the verdicts: for two models, the journal, an upgrade
PATHS_FIX = (
    "check as the service's user: sudo -u pitcore pitcore doctor. For a file that `sudo pitcore run` made: sudo chown "
    "pitcore FILE; for a folder that is missing: sudo systemd-tmpfiles --create pitcore.conf; otherwise correct the key"
)
UNIT = "pitcore.service"
PROPERTIES = ("LoadState", "ActiveState", "SubState", "UnitFileState", "NRestarts", "Result", "StatusText")


def check_paths(config: Config) -> Check:
    """Check that this user may write the files of the service, and that a recording or film is there."""
    name, found = "paths", []
    tries: dict[str, Callable[[], None]] = {
        "[sink] path": lambda: try_file(Path(config.sink.path), VERDICT_FILE, makes_folders=True, appends=True),
        "[control] socket": lambda: _try_socket(Path(config.control.socket)),
        "[control] state_dir": lambda: try_folder(Path(config.control.state_dir)),
        "": lambda: check_recorded(config.source),
    }
    for key, attempt in tries.items():
        try:
            attempt()
        except PitcoreError as error:
            found.append(f"{key}: {error}".removeprefix(": "))
    if not found:
        return ok(name, "verdicts, control socket and state can be written")
    return fail(name, ". ".join(found), PATHS_FIX)


def _try_socket(path: Path) -> None:
    """Try to make the socket's lock file. systemd makes the folder of a board's socket, and only for the service."""
    if path == Path(BOARD_SOCKET) and not path.parent.exists():
        return
    try_file(lock_path(path), makes_folders=True, appends=True)


def check_disk(config: Config, free_bytes: Callable[[Path], int]) -> Check:
    """Check that the folder of verdicts can be written and has room for all verdicts that may be kept.

    Args:
        config: the configuration, for its ``[sink]``.
        free_bytes: returns the free space in bytes of the file system of a folder.
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
    """Return the free space in bytes of the file system of a folder."""
    return shutil.disk_usage(folder).free


def check_service(shown: str | None) -> Check:
    """Check the state of the service in systemd.

    Args:
        shown: output of ``systemctl show`` for the unit, see ``show_service``; None if systemd does not run.
    """
    name = "service"
    unit = dict(line.split("=", 1) for line in (shown or "").splitlines() if "=" in line)
    if unit.get("LoadState") != "loaded":
        return skip(name, "systemd does not run here" if shown is None else "not installed as a service")
    state, sub, restarts = unit["ActiveState"], unit["SubState"], int(unit["NRestarts"] or 0)
    found = f"{state} ({sub}), {unit['UnitFileState']}"
    logs = "journalctl -u pitcore -n 50"
    if state == "failed" or sub == "auto-restart":
        return fail(name, f"{found}, last result {unit['Result']}", f"the log shows why it ended: {logs}")
    troubles = (
        (state == "activating", "no frame of every camera yet", f"wait a few seconds, then: {logs}"),
        (state != "active", "not running", "sudo systemctl enable --now pitcore; it stays dry until `pitcore arm`"),
        (restarts > 0, f"restarted {restarts} times; {unit['StatusText']}", f"the log shows why: {logs}"),
        (unit["UnitFileState"] != "enabled", "will not start after a power cut", "sudo systemctl enable pitcore"),
    )
    for bad, what, fix in troubles:
        if bad:
            return warn(name, f"{found}: {what}", fix)
    return ok(name, f"{found}; {unit['StatusText']}")


def show_service() -> str | None:
    """Return the output of ``systemctl show`` for the unit; None if systemd does not run."""
    if not Path("/run/systemd/system").is_dir() or shutil.which("systemctl") is None:
        return None
    command = ["systemctl", "show", UNIT, *(f"--property={name}" for name in PROPERTIES)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None
