"""SIGHUP asks the service for a reload at any moment. By default it would end one that is still starting."""

from __future__ import annotations

import signal
from collections.abc import Callable


class Hangups:
    """Takes the signal from now on, and keeps one that came until somebody can act on it."""

    def __init__(self) -> None:
        self._act: Callable[[], object] | None = None
        self._came = False
        signal.signal(signal.SIGHUP, self._take)

    def hand_to(self, act: Callable[[], object]) -> None:
        """Have ``act`` called at each, and now if one came before."""
        self._act = act
        if self._came:
            act()

    def _take(self, *_: object) -> None:
        if self._act is None:
            self._came = True
        else:
            self._act()
