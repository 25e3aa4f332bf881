"""Defines the control socket and the state directory of the service."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pitcore.config.section import Section


class ControlConfig(Section, frozen=True):
    """The control socket and the state directory.

    Attributes:
        socket: a Unix socket, mode 0660; relative to the working directory. Linux allows 107 bytes.
        state_dir: holds the state that survives a restart, for example whether the air jet is armed.
    """

    socket: Annotated[str, Meta(min_length=1, max_length=107)] = "out/run/control.sock"
    state_dir: Annotated[str, Meta(min_length=1)] = "out/run/state"
