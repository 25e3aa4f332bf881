"""The progress bar of commands that take longer than two seconds: on a terminal only, on standard error."""

from __future__ import annotations

import sys
from typing import Any

import click


def progress(label: str, length: int) -> Any:  # noqa: ANN401  click's class is private: a context manager with `update`
    """Return click's progress bar with the time left; it prints nothing where nobody looks."""
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty())
