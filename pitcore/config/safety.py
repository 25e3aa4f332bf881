"""What a configuration takes off the safety of the defaults. It is allowed, and reported for as long as it lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pitcore.config.line import FailsafeConfig

if TYPE_CHECKING:
    from pitcore.config.board import Config

STRENGTH = ("alarm", "maybe", "reject")


def weakened(config: Config) -> list[str]:
    """Return one sentence for each value that lets more pass than its default does."""
    found = []
    if config.actions.side == "pass":
        found.append("[actions] side = pass: cherries that a lateral edge cuts pass unjudged")
    default = FailsafeConfig()
    for name in FailsafeConfig.__struct_fields__:
        mine, usual = getattr(config.failsafe, name), getattr(default, name)
        if STRENGTH.index(mine) < STRENGTH.index(usual):
            found.append(f"[failsafe] {name} = {mine}: weaker than the default {usual}")
    if config.actuation.fail_safe == "pass":
        found.append("[actuation] fail_safe = pass: belt that was not judged passes")
    return found
