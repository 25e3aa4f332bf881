"""Imports the camera libraries when a camera is opened; if one is missing, the error says how to install it."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from pitcore.errors import SourceError, first_line


def picamera2() -> ModuleType:
    """Import picamera2. Raises SourceError, which says which of four known installation faults it is."""
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
    """Return libcamera. Call ``picamera2`` first, which imports it."""
    return importlib.import_module("libcamera")


def av() -> ModuleType:
    """Import PyAV. Raises SourceError if it is not installed."""
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise SourceError(f"PyAV cannot be imported ({first_line(error)}): pip install 'pitcore[video]'") from error


_APT = "sudo apt install python3-picamera2 python3-libcamera"


def _environment() -> str:
    """Return the extra step for a virtual environment, which by default does not see apt's packages; else ''."""
    if sys.prefix == sys.base_prefix:
        return ""
    return f", and let this environment see it: python3 -m venv --system-site-packages {sys.prefix}"
