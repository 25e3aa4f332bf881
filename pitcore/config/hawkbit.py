"""Defines the section of the fleet's server, which selects the model of a board."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from pitcore.config.address import read_address
from pitcore.config.section import Section


class HawkbitConfig(Section, frozen=True):
    """The section ``[hawkbit]``, for `pitcore update campaign`; the service does not use it.

    Attributes:
        url: of the Eclipse hawkBit server; None means no fleet.
        tenant: at the server.
        controller_id: of this board at the server; None is the device_id of [update].
        token_kind: kind of the token in the file.
        token_file: one line; readable by its owner only.
    """

    url: str | None = None
    tenant: Annotated[str, Meta(min_length=1, max_length=64)] = "DEFAULT"
    controller_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    token_kind: Literal["TargetToken", "GatewayToken"] = "TargetToken"  # noqa: S105  the name of a kind of token
    token_file: str = "/etc/pitcore/hawkbit.token"  # noqa: S105  the name of a file

    def __post_init__(self) -> None:
        if self.url is None:
            return
        try:
            address = read_address(self.url)
        except ValueError as error:
            raise ValueError(f"url: {error}") from error
        if address.authorization is not None:
            raise ValueError("url: name and password cannot be here, the server knows this board by token_file")
