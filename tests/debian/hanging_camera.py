"""Starts pitcore with cameras whose driver hangs as soon as /run/pitcore/hang is there, as libcamera was seen to do.

The systemd lane starts the service through this in a booted container; the installed pitcore itself is unchanged.
"""

import sys
import threading
from pathlib import Path

sys.path.insert(0, "/usr/lib/pitcore")

from pitcore.cli.main import main
from pitcore.emulator.emulated import EmulatedSource

read = EmulatedSource.read


def read_or_hang(source, timeout_s):
    """Never return once the file is there: no error, no frame, as in a call into a driver."""
    if Path("/run/pitcore/hang").exists():
        threading.Event().wait()
    return read(source, timeout_s)


EmulatedSource.read = read_or_hang
main()
