"""Finds mistakes with which a service runs all the same, because only an output or the updates fail.

`pitcore config check` and `doctor` refuse them. The service does not: the line must not stand still for such a reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pitcore.config.listeners import clash
from pitcore.config.update import check_repository

if TYPE_CHECKING:
    from pitcore.config.board import Config


def mistakes(config: Config) -> list[str]:
    """Return one sentence for each mistake, beginning with the key."""
    found = [clash({"modbus": config.modbus, "metrics": config.metrics, "page": config.page})]
    if config.update.url is not None:
        try:
            check_repository(config.update.url)
        except ValueError as error:
            found.append(f"update.{error}")
    return [one for one in found if one is not None]
