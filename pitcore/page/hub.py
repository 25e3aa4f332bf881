"""Hands what is newest to every viewer. A viewer who is slow skips what came meanwhile; nothing waits for him."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]

MAX_VIEWERS = 64
BUDGET_BYTES_PER_S = 4_000_000  # of pictures, to all viewers together: with many, each gets fewer


class Hub:
    """What is newest of each kind.

    Args:
        on_viewers: is told how many viewers there are, when that changes.
    """

    def __init__(self, on_viewers: Callable[[int], None]) -> None:
        self._newest: dict[str, tuple[int, bytes]] = {}
        self._changed = asyncio.Event()
        self._on_viewers = on_viewers
        self.viewers = 0

    def put(self, kind: str, event: bytes) -> None:
        """Replace what is newest of a kind.

        Args:
            kind: name of the event.
            event: its data, one line.
        """
        number = self._newest.get(kind, (0, b""))[0] + 1
        self._newest[kind] = (number, b"event: %s\ndata: %s\n\n" % (kind.encode(), event))
        self._changed.set()
        self._changed = asyncio.Event()

    def period_s(self, event_bytes: int) -> float:
        """Return how long to wait between two pictures of a size, so that they stay within the budget."""
        return self.viewers * event_bytes / BUDGET_BYTES_PER_S

    async def stream(self, first: bytes, receive: Callable[[], Awaitable[Message]], send: Any) -> None:  # noqa: ANN401
        """Send server-sent events until the viewer goes.

        Args:
            first: events that only this viewer needs.
            receive: of ASGI.
            send: of ASGI.
        """
        self.viewers += 1
        self._on_viewers(self.viewers)
        gone = asyncio.ensure_future(_gone(receive))
        try:
            headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": first, "more_body": True})
            await self._send_all(gone, send)
        finally:
            gone.cancel()
            self.viewers -= 1
            self._on_viewers(self.viewers)

    async def _send_all(self, gone: asyncio.Future[None], send: Any) -> None:  # noqa: ANN401  ASGI's
        """Send what is new until the viewer goes."""
        sent: dict[str, int] = {}
        while not gone.done():
            changed = self._changed  # taken before the look: what comes meanwhile is not missed
            new = {kind: one for kind, one in self._newest.items() if one[0] != sent.get(kind)}
            for kind, (number, event) in new.items():
                sent[kind] = number
                await send({"type": "http.response.body", "body": event, "more_body": True})
            if not new:
                waits: asyncio.Future[Any] = asyncio.ensure_future(changed.wait())
                await asyncio.wait([gone, waits], return_when=asyncio.FIRST_COMPLETED)
                waits.cancel()


async def _gone(receive: Callable[[], Awaitable[Message]]) -> None:
    """Wait until the viewer goes."""
    while (await receive())["type"] != "http.disconnect":
        pass
