"""Checks that a publisher's clock can be right: metadata signed with a slow clock are already expired for boards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pitcore.errors import PublishError
from pitcore.ota.clock import WRITTEN_S

_SLACK = timedelta(hours=1)  # allowed difference between two machines of a publisher
_FIX = "set this machine's clock (`timedatectl`)"


def check_signing_time(now: datetime, last: datetime | None, *, synced: bool) -> None:
    """Check that the clock is not slow.

    Args:
        now: time of this machine's clock.
        last: time of the last signature in the repository; None for a new one.
        synced: True if a time service has set this machine's clock. It is then trusted more than an earlier signature,
            which may come from a fast clock.

    Raises:
        PublishError: the clock is slow.
    """
    written = datetime.fromtimestamp(WRITTEN_S, UTC)
    if now < written:
        raise PublishError(f"the clock says {now:%Y-%m-%d}, and this program is from {written:%Y-%m-%d}; {_FIX}")
    if last is not None and now < last - _SLACK and not synced:
        raise PublishError(
            f"the clock says {now:%Y-%m-%d %H:%M} UTC, and this repository was signed at {last:%Y-%m-%d %H:%M}; "
            f"{_FIX}; if that signature is the wrong one, switch this machine's time service on"
        )
