"""Imports what talks to real cameras, or says how to get it. Nothing is imported before a camera is wanted."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from pitcore.errors import SourceError, first_line


def picamera2() -> ModuleType:
    """Import picamera2. Raises SourceError that says which of its four known traps this is."""
    try:
        return importlib.import_module("picamera2")
    except ModuleNotFoundError as error:
        if error.name not in {"picamera2", "libcamera", "prctl", "pykms"}:
            raise SourceError(f"picamera2 needs {error.name}, which is missing: {_APT}{_environment()}") from error
        raise SourceError(f"no module {error.name}, which pip does not install: {_APT}{_environment()}") from error
    except (ImportError, ValueError) as error:  # NumPy's own ABI check raises ValueError
        if "numpy" in str(error):
            raise SourceError(
                f"picamera2 was built for another numpy ({first_line(error)}): use Debian's, "
                "`pip uninstall numpy` in this environment, or apt's python3-numpy"
            ) from error
        raise SourceError(f"picamera2 cannot be imported: {first_line(error)}; {_APT}{_environment()}") from error


def libcamera() -> ModuleType:
    """Return libcamera; to be called after ``picamera2``, which imports it."""
    return importlib.import_module("libcamera")


def av() -> ModuleType:
    """Import PyAV. Raises SourceError."""
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise SourceError(f"PyAV cannot be imported ({first_line(error)}): pip install 'pitcore[video]'") from error


_APT = "sudo apt install python3-picamera2 python3-libcamera"


def _environment() -> str:
    """Add what a virtual environment needs besides, where this is one: by itself it does not see apt's packages."""
    if sys.prefix == sys.base_prefix:
        return ""
    return f", and let this environment see it: python3 -m venv --system-site-packages {sys.prefix}"
