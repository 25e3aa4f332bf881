"""Stores the operating point that was chosen at the running board, instead of the configuration's.

It is in the state directory, with its author and time, and is used until the next choice. If it cannot be read, the
configuration's point is used.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import msgspec

from pitcore.config import Config
from pitcore.durable import replace_file
from pitcore.errors import ControlError
from pitcore.model_card import PointName
from pitcore.output_path import fix_of
from pitcore.wall_clock import utc_now

log = logging.getLogger(__name__)
FILE = "point.json"
PLACE = "correct [control] state_dir"


class PointChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A choice: schema ``pitcore.point/1``.

    Attributes:
        point: None: that of the configuration.
        by: name of the author.
        at: when, RFC 3339 in UTC.
    """

    point: PointName | None
    by: str
    at: str
    schema: Literal["pitcore.point/1"] = "pitcore.point/1"


def choose(state_dir: Path, point: PointName | None, by: str) -> bytes | None:
    """Keep a choice.

    Returns:
        What the file held before, for ``restore``.

    Raises:
        ControlError: the disk refuses; nothing changed.
    """
    path = state_dir / FILE
    try:
        before = path.read_bytes() if path.exists() else None
        _write(path, msgspec.json.encode(PointChoice(point, by, utc_now())))
    except OSError as error:
        raise ControlError(
            f"{path}: cannot be written: {error.strerror}; the operating point is unchanged; {fix_of(error, PLACE)}"
        ) from error
    return before


def restore(state_dir: Path, before: bytes | None) -> None:
    """Restore the file after a refused choice. Raises ControlError."""
    path = state_dir / FILE
    try:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            _write(path, before)
    except OSError as error:
        raise ControlError(
            f"{path}: cannot be written: {error.strerror}; the refused operating point is tried again at a restart; "
            f"{fix_of(error, PLACE)}"
        ) from error


def with_choice(config: Config) -> Config:
    """Return a configuration with the point that was chosen at its board, if any."""
    path = Path(config.control.state_dir) / FILE
    try:
        choice = msgspec.json.decode(path.read_bytes(), type=PointChoice)
    except FileNotFoundError:
        return config
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s: cannot be read, so the configuration's operating point is used: %s", path, error)
        return config
    if choice.point is None:
        return config
    return msgspec.structs.replace(config, decision=msgspec.structs.replace(config.decision, point=choice.point))


def _write(path: Path, raw: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda file: file.write(raw))
