"""Runs as the child process of ``once.cold_start_ms``: prints the time of the first verdict (CLOCK_MONOTONIC, ns)."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pitcore.camera.replay import ReplaySource
from pitcore.config import Config
from pitcore.loop.app import App, Options
from pitcore.metrics import Metrics
from pitcore.verdict import Event, Verdict


class _First:
    """A sink that prints the time and ends the process at the first verdict."""

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        if any(isinstance(record, Verdict) for record in records):
            sys.stdout.write(str(time.monotonic_ns()))
            sys.exit(0)

    def close(self) -> None:
        """Nothing to close."""


def main(folder: Path) -> None:
    """Judge the recording in ``folder/frames`` by ``folder/config.json``."""
    config = msgspec.json.decode((folder / "config.json").read_bytes(), type=Config)
    App(config, ReplaySource(folder / "frames"), Options(sinks=[_First()]), Metrics()).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
