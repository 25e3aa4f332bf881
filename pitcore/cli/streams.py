"""Opens closed standard streams on the null device."""

from __future__ import annotations

import os
import sys


def open_missing_streams() -> bool:
    """Open each closed standard stream on the null device, so that no other file gets its number.

    Returns:
        Whether standard error was closed, so that nobody reads it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(opened, True)  # noqa: FBT003  it takes no keyword
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  lives as long as the process
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    is_silent = sys.stderr is None
    if is_silent:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    return is_silent
