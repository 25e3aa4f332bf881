"""Collects the data to find a fault, each part of limited size, and packs it. An unavailable part has the reason."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import msgspec

from pitcore import machine
from pitcore.config import Config, load_config
from pitcore.control.client import ask
from pitcore.control.protocol import BOARD_SOCKET
from pitcore.doctor.examine import examine
from pitcore.doctor.system import UNIT
from pitcore.durable import NEW_FILE
from pitcore.errors import PitcoreError, SupportError
from pitcore.output_path import cannot_be_written
from pitcore.support.secrets import without_secrets

MAX_PART_BYTES = 512 * 1024  # only the end of a larger part is kept; all parts are less than 6 MB before packing
COMMAND_S = 20.0
BENCH_NAMES = ("bench.json", "out/bench.json", "/var/lib/pitcore/bench.json")

Part = Callable[[], str]


def gather(path: Path | None) -> dict[str, str]:
    """Return every part by its name in the archive, without secrets and of limited size.

    Args:
        path: configuration of the board; None takes the defaults.
    """
    parts: Mapping[str, Part] = {
        "doctor.json": lambda: _json(msgspec.to_builtins(examine(path))),
        "versions.json": lambda: _json(versions()),
        "machine.json": lambda: _json(machine.state()),
        "config.toml": lambda: "# the defaults\n" if path is None else path.read_text(encoding="utf-8"),
        "status.json": lambda: _json(ask(_socket(path), "status")),
        "verdicts.jsonl": lambda: tail(Path(_config(path).sink.path)),
        "bench.json": bench,
        "journal.txt": lambda: output("journalctl", "--no-pager", "--output=short-iso", "-n", "3000", "-u", UNIT),
        "updates.txt": lambda: output("journalctl", "--no-pager", "-n", "500", "-u", "pitcore-update.service"),
        "kernel.txt": lambda: output("journalctl", "--no-pager", "--dmesg", "-n", "500"),
        "service.txt": lambda: output("systemctl", "show", UNIT),
    }
    return {name: bounded(without_secrets(attempt(part))) for name, part in parts.items()}


def attempt(part: Part) -> str:
    """Return a part, or one line with the error: errors are what the reader looks for."""
    try:
        return part()
    except (PitcoreError, OSError, ValueError, subprocess.SubprocessError) as error:
        return f"not available: {error}\n"


def bounded(text: str) -> str:
    """Return the text, or if it is too long its end, cut at a line."""
    raw = text.encode()
    if len(raw) <= MAX_PART_BYTES:
        return text
    kept = raw[-MAX_PART_BYTES:].partition(b"\n")[2].decode(errors="replace")
    return f"... {len(raw) - MAX_PART_BYTES} bytes before this were left out\n{kept}"


def tail(path: Path) -> str:
    """Return the end of a file, without reading the rest."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - MAX_PART_BYTES))
        raw = file.read()
    return (raw if size <= MAX_PART_BYTES else raw.partition(b"\n")[2]).decode(errors="replace")


def bench() -> str:
    """Return the last report of ``pitcore-bench --json`` from its usual place."""
    found = [path for path in map(Path, BENCH_NAMES) if path.is_file()]
    if not found:
        return "not available: no report; make one with: pitcore-bench --json bench.json\n"
    return max(found, key=lambda path: path.stat().st_mtime).read_text(encoding="utf-8")


def versions() -> dict[str, Any]:
    """Return facts about this machine, and every installed Python package."""
    packages = {one.metadata["Name"]: one.version for one in distributions()}
    return {"made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **machine.facts(), "packages": packages}


def output(*command: str) -> str:
    """Return the output of a program. Raises OSError if it is not installed."""
    done = subprocess.run(  # noqa: S603  fixed commands
        command, capture_output=True, text=True, errors="replace", timeout=COMMAND_S, check=False
    )
    return done.stdout + done.stderr


def pack(parts: Mapping[str, str], out: Path) -> None:
    """Write the parts as a tar.gz.

    Args:
        parts: text by name.
        out: a file that does not exist yet.

    Raises:
        SupportError: it exists, or cannot be written.
    """
    try:
        opened = os.open(out, NEW_FILE, 0o600)  # readable only by the owner
    except OSError as error:
        raise SupportError(cannot_be_written(out, error)) from error
    try:
        with os.fdopen(opened, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, text in parts.items():
                raw = text.encode()
                member = tarfile.TarInfo(f"{out.name.removesuffix('.tar.gz')}/{name}")
                member.size, member.mtime, member.mode = len(raw), int(time.time()), 0o600
                archive.addfile(member, io.BytesIO(raw))
    except OSError as error:
        out.unlink(missing_ok=True)
        raise SupportError(cannot_be_written(out, error)) from error


def _json(value: Any) -> str:  # noqa: ANN401  whatever JSON can hold
    return json.dumps(value, indent=1) + "\n"


def _config(path: Path | None) -> Config:
    return load_config(path)


def _socket(path: Path | None) -> Path:
    try:
        return Path(load_config(path).control.socket)
    except PitcoreError:  # the file was damaged while the service runs
        return Path(BOARD_SOCKET)
