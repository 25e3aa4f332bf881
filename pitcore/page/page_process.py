"""Runs the page process, which ``hand_over`` starts: receives the service's messages, draws pictures, answers browsers.

It is a separate process with a low priority, because encoding pictures and answering many browsers would take the
interpreter from the loop. It ends when the service does, and leaves signals to the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pitcore.child_process import begin_child, first_message
from pitcore.errors import UpdateError, first_line
from pitcore.output_path import listening_fix
from pitcore.page.messages import ALIVE, MAX_MESSAGE_BYTES, UNWATCHED, WATCHED, FrameSlots, PictureRef, Start, Update

log = logging.getLogger("pitcore.page")

TICK_S = 0.5  # interval between two updates for viewers
RETRY_S = 5.0  # between two tries to listen
ROLLOUT_EVERY_S = 5.0


def main() -> None:
    """Entry point. The last two arguments are the descriptors of socket and shared memory."""
    connection, memory = begin_child()
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # invalid requests must not fill the log
    try:
        import pitcore.page.guard  # noqa: F401, PLC0415  uvicorn may be missing, which is reported below
    except ImportError as error:
        with contextlib.suppress(OSError):  # the service has ended
            connection.send(f"it needs {error.name}, which is not installed; pip install 'pitcore[page]'".encode())
        return
    start = msgspec.msgpack.decode(first_message(connection, MAX_MESSAGE_BYTES), type=Start)
    connection.setblocking(False)  # noqa: FBT003  socket's
    asyncio.run(PageProcess(connection, FrameSlots(memory, len(start.planes), start.shape), start).run())


class PageProcess:
    """The page process, from the first message to the last.

    Args:
        connection: socket to the service.
        slots: shared memory with frames.
        start: the first message.
    """

    def __init__(self, connection: socket.socket, slots: FrameSlots, start: Start) -> None:
        from pitcore.page.board_view import BoardView  # noqa: PLC0415
        from pitcore.page.hub import Hub  # noqa: PLC0415
        from pitcore.page.pictures import Album  # noqa: PLC0415
        from pitcore.page.roles import FILE, Sessions  # noqa: PLC0415
        from pitcore.page.server import Site  # noqa: PLC0415
        from pitcore.page.shifts import ShiftBook  # noqa: PLC0415

        self._connection, self._slots, self._start = connection, slots, start
        self._view, self._album = BoardView(start), Album(start)
        self._hub = Hub(self._report_viewers)
        state, page = Path(start.state_dir), start.config
        self._book = ShiftBook(state / "shifts", page.shifts, start.lanes, start.run, page.keep_shifts)
        self._site = Site(self._view, self._album, self._hub, Sessions(state / FILE), self._book)
        self._ended = asyncio.Event()
        self._drawing: asyncio.Task[None] | None = None
        self._drawn_s = 0.0
        self._event_bytes = 0

    async def run(self) -> None:
        """Serve until the service ends."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._connection, self._receive)
        works = (self._tick(), self._listen(), self._follow_rollout())
        tasks: list[asyncio.Future[None]] = [asyncio.ensure_future(work) for work in works]
        ended: asyncio.Future[Any] = asyncio.ensure_future(self._ended.wait())
        done, _ = await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
        loop.remove_reader(self._connection)
        for task in tasks:
            task.cancel()
        self._count_shift()
        self._book.save()
        for task in done - {ended}:
            task.result()  # raises an unexpected error: it is logged, and the service restarts the page

    def _receive(self) -> None:
        """Process a message of the service."""
        try:
            raw = self._connection.recv(MAX_MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            raw = b""
        if not raw:
            self._ended.set()
            return
        update = msgspec.msgpack.decode(raw, type=Update)
        self._view.take(update)
        if update.picture is not None:
            self._draw(update.picture)
        if update.last:
            self._ended.set()

    def _draw(self, ref: PictureRef) -> None:
        """Draw a picture, if the last one is finished and the budget allows another."""
        now_s = time.monotonic()
        if self._drawing is not None or now_s - self._drawn_s < self._hub.period_s(self._event_bytes):
            self._free(ref.slot)
            return
        self._drawn_s = now_s
        self._drawing = asyncio.ensure_future(self._draw_now(ref))

    async def _draw_now(self, ref: PictureRef) -> None:
        try:
            seen = list(self._view.seen)
            picture = await asyncio.to_thread(self._album.draw, self._slots.frames[ref.slot], ref, seen)
            event = self._site.picture(picture)
            self._event_bytes = len(event)
            self._hub.put("picture", event)
        finally:
            self._free(ref.slot)
            self._drawing = None

    def _free(self, slot: int) -> None:
        self._reply(b"%d" % slot)

    def _reply(self, text: bytes) -> None:
        with contextlib.suppress(OSError):  # the service is gone, or hangs
            self._connection.send(text)

    def _report_viewers(self, viewers: int) -> None:
        self._reply(WATCHED if viewers else UNWATCHED)

    async def _tick(self) -> None:
        while True:
            self._reply(ALIVE)
            self._count_shift()
            self._hub.put("now", self._site.now())
            await asyncio.sleep(TICK_S)

    def _count_shift(self) -> None:
        self._book.update(dt.datetime.now(dt.UTC), time.monotonic(), self._view.total, self._view.events)

    async def _follow_rollout(self) -> None:
        """Read the store of models every five seconds."""
        while self._start.store is not None:
            self._site.rollout = await asyncio.to_thread(rollout_of, Path(self._start.store))
            await asyncio.sleep(ROLLOUT_EVERY_S)
        await self._ended.wait()

    async def _listen(self) -> None:
        """Answer browsers as soon as the address is free. An error is reported, and the attempt is repeated."""
        from pitcore.page.guard import BoundedHttp  # noqa: PLC0415

        sweeping = asyncio.ensure_future(BoundedHttp.sweep())
        page = self._start.config
        try:
            while True:
                try:
                    listener = _listener(page.bind, page.port)
                except OSError as error:
                    why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
                    text = f"cannot listen on {page.bind}:{page.port}: {why}; {listening_fix(error, 'page')}"
                    self._reply(text.encode())
                    await asyncio.sleep(RETRY_S)
                    continue
                try:
                    with listener:
                        await self._serve(listener)
                except (OSError, ssl.SSLError) as error:
                    self._reply(f"certificate and key cannot be used: {first_line(error)}".encode())
                    await asyncio.sleep(RETRY_S)
        finally:
            sweeping.cancel()

    async def _serve(self, listener: socket.socket) -> None:
        """Answer browsers. Raises OSError or ssl.SSLError if certificate and key cannot be used."""
        import uvicorn  # noqa: PLC0415

        from pitcore.page.guard import MAX_HEADER_BYTES, REQUEST_S, BoundedHttp  # noqa: PLC0415

        page = self._start.config

        class Server(uvicorn.Server):
            """A server that installs no signal handlers."""

            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield

            def install_signal_handlers(self) -> None:
                return

        config = uvicorn.Config(
            self._site.app(),
            http=BoundedHttp,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(REQUEST_S),
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            ssl_certfile=page.certificate,
            ssl_keyfile=page.key,
        )
        config.load()
        self._reply(b"@%d" % listener.getsockname()[1])
        await Server(config).serve(sockets=[listener])


def rollout_of(root: Path) -> dict[str, Any]:
    """Return the labels of the models in a store: active, on trial, and the number of refused ones."""
    from pitcore.ota.slots import Store  # noqa: PLC0415  most boards have none

    try:
        state = Store(root).read()
    except UpdateError as error:
        return {"trouble": str(error)}
    active = None if state.active is None else state.holds(state.active)
    trial = None if state.trial is None else state.holds(state.trial.slot)
    return {
        "active": None if active is None else active.label,
        "trial": None if trial is None else trial.label,
        "attempts_left": None if state.trial is None else state.trial.attempts_left,
        "refused": len(state.bad),
    }


def _listener(bind: str, port: int) -> socket.socket:
    """Return a listening socket. Raises OSError."""
    family, _, _, _, address = socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(address[:2], family=family, backlog=64)
