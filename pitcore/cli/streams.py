"""The standard streams of the process, as nobody can rely on them to be: closed ones are opened on the null device."""

from __future__ import annotations

import os
import sys


def open_missing_streams() -> bool:
    """Open each standard stream that is closed on the null device; otherwise a file of ours would get its number.

    Returns:
        Whether standard error was closed, so that what is written there reaches nobody.
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
