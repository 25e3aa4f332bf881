"""Shows the progress of commands that take longer than two seconds, on standard error of a terminal only."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click


def progress(label: str, length: int) -> Any:  # noqa: ANN401  click's class is private: a context manager with `update`
    """Return click's progress bar with the time left; it prints nothing without a terminal."""
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty())


@contextmanager
def growing(label: str, path: Path, length: int) -> Iterator[None]:
    """Show how a file grows to its length, until the block ends."""
    ended = threading.Event()
    with progress(label, length) as bar:

        def watch() -> None:
            last = True
            while last:
                last = not ended.wait(0.2)
                size = path.stat().st_size if path.exists() else 0
                bar.update(max(0, min(size, length) - bar.pos))

        watcher = threading.Thread(target=watch, name="pitcore-progress", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
