"""Keeps the lower bounds of this board: versions of signed metadata, the number of the release, the time.

tuf keeps versions too, but in the metadata itself. If a fault empties those files, an old repository looks new. So the
floors are in two other files, each with a checksum. They only rise, with one exception: a role whose keys were replaced
restarts. This is the update framework's own fix for a stolen key that signed very high versions.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pitcore.errors import Refusal, UpdateError
from pitcore.ota.disk import Disk, storage_error

NAMES = ("floors.json", "floors.2.json")


class RoleFloor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest version seen of a role, and the keys that signed it."""

    version: Annotated[int, Meta(ge=1)]
    keys: tuple[str, ...]


class Floors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All floors of a board.

    Attributes:
        roles: by name.
        release_seq: number of the newest release that this board was ever offered.
        issued_s: of the newest metadata, by its signer; seconds since 1970.
        synced_s: when a set clock last agreed with valid metadata; seconds since 1970.
    """

    roles: dict[str, RoleFloor] = {}
    release_seq: Annotated[int, Meta(ge=0)] = 0
    issued_s: float = 0.0
    synced_s: float = 0.0

    def is_below(self, role: str, found: RoleFloor) -> bool:
        """Return whether a role is older than its floor."""
        floor = self.roles.get(role)
        return floor is not None and floor.keys == found.keys and found.version < floor.version

    def raised(self, **changed: Any) -> Floors:  # noqa: ANN401  as msgspec types it
        """Return a copy with other values."""
        return msgspec.structs.replace(self, **changed)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: Literal["pitcore.floors/1"]
    serial: int  # grows with each write
    floors: msgspec.Raw
    sha256: str  # of the floors as they are here


class FloorFile:
    """Two copies of the floors on disk.

    Args:
        directory: exists.
        disk: carries out changes.
    """

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._paths, self._disk, self._serial = [directory / name for name in NAMES], disk, 0

    def read(self) -> Floors:
        """Return the floors, which are empty on a board that never checked.

        Raises:
            UpdateError: both copies are there and neither is whole.
        """
        copies = [_read(path) for path in self._paths]
        whole = [copy for copy in copies if isinstance(copy, _File)]
        if whole:
            newest = max(whole, key=lambda copy: copy.serial)
            self._serial = newest.serial
            return msgspec.json.decode(newest.floors, type=Floors)
        if "damaged" in copies:
            raise UpdateError(
                Refusal.STORAGE,
                f"{self._paths[0]} and its copy are damaged, so an old repository could not be recognised; "
                f"delete both if you trust the network this board is on now",
            )
        return Floors()

    def write(self, floors: Floors) -> None:
        """Write the floors to the disk. Raises UpdateError."""
        body = msgspec.json.encode(floors)
        self._serial += 1
        file = _File("pitcore.floors/1", self._serial, msgspec.Raw(body), hashlib.sha256(body).hexdigest())
        self._disk.replace(self._paths[0], msgspec.json.encode(file) + b"\n", copy=self._paths[1])


def _read(path: Path) -> _File | Literal["absent", "damaged"]:
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
        msgspec.json.decode(file.floors, type=Floors)
    except FileNotFoundError:
        return "absent"
    except OSError as error:
        raise storage_error(path, error) from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "damaged"
    return file if hashlib.sha256(bytes(file.floors)).hexdigest() == file.sha256 else "damaged"
