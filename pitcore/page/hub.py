"""Sends the newest event of each kind to every viewer. A slow viewer skips events; nothing waits for a viewer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]

MAX_VIEWERS = 64
CHECK_S = 1.0  # between two checks whether a viewer may still see the page
BUDGET_BYTES_PER_S = 4_000_000  # of pictures to all viewers together: with many viewers each gets fewer pictures


class Hub:
    """Keeps the newest event of each kind, and streams it to viewers.

    Args:
        on_viewers: called with the number of viewers when it changes.
    """

    def __init__(self, on_viewers: Callable[[int], None]) -> None:
        self._newest: dict[str, tuple[int, bytes]] = {}
        self._changed = asyncio.Event()
        self._on_viewers = on_viewers
        self.viewers = 0

    def put(self, kind: str, event: bytes) -> None:
        """Replace the newest event of a kind.

        Args:
            kind: name of the event.
            event: data of the event, one line.
        """
        number = self._newest.get(kind, (0, b""))[0] + 1
        self._newest[kind] = (number, b"event: %s\ndata: %s\n\n" % (kind.encode(), event))
        self._changed.set()
        self._changed = asyncio.Event()

    def period_s(self, event_bytes: int) -> float:
        """Return the least interval between two pictures of this size, so that the budget is kept, in seconds."""
        return self.viewers * event_bytes / BUDGET_BYTES_PER_S

    async def stream(
        self,
        first: bytes,
        may_look: Callable[[], bool],
        receive: Callable[[], Awaitable[Message]],
        send: Any,  # noqa: ANN401  ASGI's
    ) -> None:
        """Send server-sent events until the viewer disconnects or may not see them any more.

        Args:
            first: the first events, only for this viewer.
            may_look: returns whether the viewer may still see the page; called once every ``CHECK_S``.
            receive: ASGI's ``receive``.
            send: ASGI's ``send``.
        """
        self.viewers += 1
        self._on_viewers(self.viewers)
        gone = asyncio.ensure_future(_gone(receive))
        try:
            headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": first, "more_body": True})
            await self._send_all(gone, may_look, send)
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            self.viewers -= 1
            self._on_viewers(self.viewers)

    async def _send_all(
        self,
        gone: asyncio.Future[None],
        may_look: Callable[[], bool],
        send: Any,  # noqa: ANN401  ASGI's
    ) -> None:
        """Send new events until the viewer disconnects or may not see them any more."""
        clock = asyncio.get_running_loop().time
        sent: dict[str, int] = {}
        checked_s = clock()  # the caller has checked
        while not gone.done():
            if clock() - checked_s >= CHECK_S:
                if not may_look():
                    return
                checked_s = clock()
            changed = self._changed  # taken before reading the events, so that no later event is missed
            new = {kind: one for kind, one in self._newest.items() if one[0] != sent.get(kind)}
            for kind, (number, event) in new.items():
                sent[kind] = number
                await send({"type": "http.response.body", "body": event, "more_body": True})
            if not new:
                waits: asyncio.Future[Any] = asyncio.ensure_future(changed.wait())
                await asyncio.wait([gone, waits], timeout=CHECK_S, return_when=asyncio.FIRST_COMPLETED)
                waits.cancel()


async def _gone(receive: Callable[[], Awaitable[Message]]) -> None:
    """Wait until the viewer disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass
