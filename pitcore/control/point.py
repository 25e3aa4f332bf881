"""The operating point that somebody chose at the running board, instead of the configuration's.

It is kept in the state directory, with who chose it and when, and holds until the next choice. What cannot be read
does not count: the configuration's point is used.
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
from pitcore.wall_clock import utc_now

log = logging.getLogger(__name__)
FILE = "point.json"


class PointChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A choice: schema ``pitcore.point/1``.

    Attributes:
        point: None is the configuration's.
        by: who chose.
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
        ControlError: the disk does not take it; nothing changed.
    """
    path = state_dir / FILE
    try:
        before = path.read_bytes() if path.exists() else None
        _write(path, msgspec.json.encode(PointChoice(point, by, utc_now())))
    except OSError as error:
        raise ControlError(f"{path}: cannot be written: {error.strerror}; the operating point is unchanged") from error
    return before


def restore(state_dir: Path, before: bytes | None) -> None:
    """Take a choice back that was refused. Raises ControlError."""
    path = state_dir / FILE
    try:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            _write(path, before)
    except OSError as error:
        raise ControlError(
            f"{path}: cannot be written: {error.strerror}; the refused operating point is tried again at a restart"
        ) from error


def with_choice(config: Config) -> Config:
    """Return a configuration with the point that was chosen at its board, if one was."""
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
