"""Whether a publisher's clock can be right. Pure. A clock that is behind signs what has expired for every board."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pitcore.errors import PublishError
from pitcore.ota.clock import WRITTEN_S

_SLACK = timedelta(hours=1)  # two machines of a publisher may differ by so much
_FIX = "set this machine's clock (`timedatectl`)"


def check_signing_time(now: datetime, last: datetime | None, *, synced: bool) -> None:
    """Refuse to sign with a clock that is behind.

    Args:
        now: what this machine's clock says.
        last: when the repository was signed before; None for a new one.
        synced: a time service has set this machine's clock. Then it counts more than an earlier signature, which may
            come from a clock that was ahead.

    Raises:
        PublishError: the clock is behind.
    """
    written = datetime.fromtimestamp(WRITTEN_S, UTC)
    if now < written:
        raise PublishError(f"the clock says {now:%Y-%m-%d}, and this program is from {written:%Y-%m-%d}; {_FIX}")
    if last is not None and now < last - _SLACK and not synced:
        raise PublishError(
            f"the clock says {now:%Y-%m-%d %H:%M} UTC, and this repository was signed at {last:%Y-%m-%d %H:%M}; "
            f"{_FIX}; if that signature is the wrong one, switch this machine's time service on"
        )
