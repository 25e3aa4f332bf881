"""Stores the calibration in force and all earlier ones, so that a step can be undone.

``FILE`` is in force. ``FILE.0007`` is state number 7, written before it came into force and never changed. Undo
restores an earlier state and deletes nothing.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from pitcore.config import BoardCalibration, read_calibration
from pitcore.durable import replace_file, sync_directory
from pitcore.errors import CalibrationError
from pitcore.output_path import fix_of


def save(path: Path, made: BoardCalibration) -> BoardCalibration:
    """Store a new state and put it into force. Return it with its number.

    Raises:
        CalibrationError: it cannot be written; the old state stays in force.
        ConfigError: the file of the old state is damaged.
    """
    before = read_calibration(path)
    made = msgspec.structs.replace(made, serial=_last(path) + 1, previous=0 if before is None else before.serial)
    text = msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(_numbered(path, made.serial), lambda file: file.write(text))
        replace_file(path, lambda file: file.write(text))
    except OSError as error:
        raise CalibrationError(
            f"{path}: cannot be written: {error.strerror}; {fix_of(error, 'correct [calibration] file')}"
        ) from error
    return made


def undo(path: Path) -> BoardCalibration | None:
    """Restore the state before the one in force. Return it, or None if there was no calibration before.

    If the file in force is damaged, the last state of the history is restored. Without a history the file is not
    changed, because it may not be a calibration.

    Raises:
        CalibrationError: there is nothing to undo, or the earlier state is missing or damaged.
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
    """Return the number of the state before the one in force, 0 for none. Raises CalibrationError."""
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
