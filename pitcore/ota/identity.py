"""Makes the identity of a board for phased rollouts and fleet servers. Pure except ``read_identity``.

A copied system has the machine-id of the system it was copied from. So the serial number of the hardware is used too,
if the kernel gives one, as on a Raspberry Pi.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pitcore.errors import ConfigError

MACHINE_ID = Path("/etc/machine-id")
SERIAL = Path("/proc/device-tree/serial-number")
_FIX = "set [update] device_id to a name that no other board has"


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of this board.

    Attributes:
        device_id: should differ between boards.
        origin: the source of the identity.
    """

    device_id: str
    origin: str


def read_identity(configured: str | None, machine_id: Path = MACHINE_ID, serial: Path = SERIAL) -> Identity:
    """Return this board's identity.

    Args:
        configured: ``[update] device_id``.
        machine_id: file of this machine.
        serial: file of the kernel.

    Raises:
        ConfigError: there is no identity, or many machines have the same.
    """
    if configured is not None:
        return Identity(configured, "[update] device_id")
    try:
        content = machine_id.read_bytes()
    except OSError as error:
        raise ConfigError(f"{machine_id}: {error.strerror}; {_FIX}") from error
    try:
        number = serial.read_bytes()
    except OSError:
        number = b""
    try:
        return made_from(content, number)
    except ValueError as error:
        raise ConfigError(f"{machine_id}: {error}; run `systemd-machine-id-setup`, or {_FIX}") from error


def made_from(machine_id: bytes, serial: bytes) -> Identity:
    """Return the identity of a machine.

    Args:
        machine_id: content of ``/etc/machine-id``.
        serial: of the hardware; empty where it states none.

    Raises:
        ValueError: the machine-id is empty, not made yet, or damaged: many machines would have the same.
    """
    number = machine_id.strip()
    if re.fullmatch(rb"[0-9a-fA-F]{32}", number) is None or not number.strip(b"0"):
        raise ValueError("not a machine-id of 32 hexadecimal digits")
    hardware = serial.strip(b"\x00\r\n\t ")
    origin = "/etc/machine-id alone; a copied system has the same"
    if hardware.strip(b"0"):
        origin = "/etc/machine-id and the hardware's serial number"
    else:
        hardware = b""
    # machine-id(5): never let the number itself leave the machine
    parts = [b"pitcore.device", number, *([hardware] if hardware else [])]
    return Identity(hashlib.sha256(b"|".join(parts)).hexdigest()[:32], origin)
