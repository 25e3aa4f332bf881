"""Entry points of the programs. Ctrl-C ends a process at once while its modules are imported.

Python raises KeyboardInterrupt wherever it is: inside an import it ends in a traceback, or in an ImportError of the
module that was being loaded. On a board the imports take a second.
"""

from __future__ import annotations

import importlib
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ended_by_interrupt() -> Iterator[None]:
    """Let SIGINT end the process at once, as it ends a program in C; not if it is ignored, nor in another thread."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def start(module: str) -> None:
    """Import the module of a program and call its ``main``."""
    with ended_by_interrupt():
        main = importlib.import_module(module).main
    main()


def pitcore() -> None:
    """Start ``pitcore``."""
    start("pitcore.cli.main")


def bench() -> None:
    """Start ``pitcore-bench``."""
    start("pitcore.cli.bench")
