"""Keeps calibrations: the one in force, and every one before it, so that a step can be undone.

``FILE`` is in force. ``FILE.0007`` is state number 7, written before it came into force and never changed. Undoing
brings a former state back and deletes nothing.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from pitcore.config import BoardCalibration, read_calibration
from pitcore.durable import replace_file, sync_directory
from pitcore.errors import CalibrationError


def save(path: Path, made: BoardCalibration) -> BoardCalibration:
    """Put a new state into force, after the one that is; return it with its number.

    Raises:
        CalibrationError: it cannot be written; the old one stays in force.
        ConfigError: the old one is damaged.
    """
    before = read_calibration(path)
    made = msgspec.structs.replace(made, serial=_last(path) + 1, previous=0 if before is None else before.serial)
    text = msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(_numbered(path, made.serial), lambda file: file.write(text))
        replace_file(path, lambda file: file.write(text))
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written: {error.strerror}; correct [calibration] file") from error
    return made


def undo(path: Path) -> BoardCalibration | None:
    """Bring the state before the one in force back into force; return it, or None if that was none at all.

    A damaged file counts as the last state, so that its predecessor can be brought back. Without a predecessor it is
    left alone: it may be another file.

    Raises:
        CalibrationError: there is nothing to undo, or what was before is gone.
    """
    if not path.exists():
        raise CalibrationError(f"{path}: nothing to undo: no calibration is in force; run 'pitcore calibrate' first")
    previous = _previous(path)
    try:
        if not previous:
            path.unlink()
            sync_directory(path.parent)
            return None
        text = _numbered(path, previous).read_bytes()
        state = msgspec.json.decode(text, type=BoardCalibration)
        replace_file(path, lambda file: file.write(text))
    except OSError as error:
        raise CalibrationError(f"{_numbered(path, previous)}: {error.strerror}; calibrate again") from error
    except msgspec.MsgspecError as error:
        raise CalibrationError(f"{_numbered(path, previous)}: damaged: {error}; calibrate again") from error
    return state


def _previous(path: Path) -> int:
    """Return the number of the state before the one in force."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=BoardCalibration).previous
    except msgspec.MsgspecError as error:
        if last := _last(path):
            return last
        raise CalibrationError(
            f"{path}: no calibration, or damaged, and none before it is kept; check [calibration] file, or remove it"
        ) from error


def _last(path: Path) -> int:
    """Return the largest number in the history, 0 for none."""
    numbers = (found.suffix[1:] for found in path.parent.glob(f"{path.name}.*"))
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def _numbered(path: Path, serial: int) -> Path:
    return path.with_name(f"{path.name}.{serial:04}")
