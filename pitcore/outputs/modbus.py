"""Shows counts and the last verdicts to a PLC over Modbus TCP. Read only; rejects do not use it.

The server answers two functions, with limits on connections, bytes of a request, and bytes that wait to be sent. If all
places are taken, the connection that was idle for longest is closed. If the address cannot be opened, the server tries
again until it can; the inspection does not wait for it.

A request is answered while no verdict is added, so that its values are of one moment. ``registers`` defines the
registers. Source: "MODBUS Application Protocol Specification V1.1b3" and "MODBUS Messaging on TCP/IP Implementation
Guide V1.0b", 2006.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from pitcore.config import ModbusConfig
from pitcore.metrics import Metrics
from pitcore.output_path import listening_fix
from pitcore.outputs.registers import RING_START, SIZE, Registers
from pitcore.sinks.output_state import OutputState, reason_of
from pitcore.sinks.sink import Armed, ReportsTick
from pitcore.verdict import VERDICTS, Event, Verdict

log = logging.getLogger(__name__)

START_S = 10.0
RETRY_S = 5.0  # time between two tries to listen
MAX_CLIENTS = 16
BACKLOG = 8  # connections that asyncio accepts at once
SAY_EVERY_S = 60.0  # least time between two log lines
HEADER = struct.Struct(">HHHB")  # transaction, protocol (0), bytes that follow the length field, unit
MAX_FOLLOWING = 254  # bytes of a request after the length field: unit and 253 of the message
MAX_WAITING = 64 * 1024  # bytes that a client may leave unread
READS = {3, 4}  # functions: read holding registers, read input registers
MAX_READ = 125  # registers in one request
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3

Read = Callable[[int, int], Sequence[int]]  # from an address, a number of words


def answer(request: bytes, read: Read) -> bytes:
    """Answer one request.

    Args:
        request: function and its data, without the header.
        read: returns the words of registers.

    Returns:
        The function with the registers, or with its highest bit set and an exception code.
    """
    function = request[0]
    if function not in READS:
        return bytes([function | 0x80, ILLEGAL_FUNCTION])
    if len(request) != 5:
        return bytes([function | 0x80, ILLEGAL_VALUE])
    address, count = struct.unpack(">HH", request[1:])
    if not 1 <= count <= MAX_READ:
        return bytes([function | 0x80, ILLEGAL_VALUE])
    if address + count > SIZE:
        return bytes([function | 0x80, ILLEGAL_ADDRESS])
    return struct.pack(f">BB{count}H", function, 2 * count, *read(address, count))


class _Client(asyncio.Protocol):
    """One connection: splits received data into requests, and answers each in order."""

    def __init__(self, clients: list[_Client], read: Read, made_room: Callable[[], None]) -> None:
        self._clients, self._read, self._made_room = clients, read, made_room
        self._waiting = b""
        self.has_asked = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place. If there is none, close another connection.

        This is the oldest one that never sent a request, so that a flood does not close the PLC's; if there is none,
        the one that was idle for longest, which is the first of the list.
        """
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  a server makes no other
        self._transport = transport
        transport.set_write_buffer_limits(high=MAX_WAITING)
        self._clients.append(self)
        if len(self._clients) > MAX_CLIENTS:
            others = self._clients[:-1]
            next((one for one in others if not one.has_asked), others[0]).drop()
            self._made_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the place."""
        del exc
        with contextlib.suppress(ValueError):
            self._clients.remove(self)

    def data_received(self, data: bytes) -> None:
        """Answer every complete request; close a connection that sends other data."""
        self._waiting += data
        while len(self._waiting) >= HEADER.size:
            transaction, protocol, following, unit = HEADER.unpack_from(self._waiting)
            if protocol != 0 or not 2 <= following <= MAX_FOLLOWING:
                self.drop()  # the start of the next request is unknown
                return
            end = HEADER.size - 1 + following
            if len(self._waiting) < end:
                return
            said = answer(self._waiting[HEADER.size : end], self._read)
            self._waiting = self._waiting[end:]
            if self._transport is None or self._transport.is_closing():
                return
            self._transport.write(HEADER.pack(transaction, 0, len(said) + 1, unit) + said)
            self.has_asked = True
            self._clients.remove(self)
            self._clients.append(self)  # it was idle for the shortest time

    def pause_writing(self) -> None:
        """Close the connection of a client that does not read."""
        self.drop()

    def drop(self) -> None:
        """Close the connection without waiting for anything."""
        self.connection_lost(None)
        if self._transport is not None:
            self._transport.abort()


class ModbusSink:
    """Implements ``sink.Sink`` as a Modbus TCP server on a thread of its own.

    Args:
        config: where to listen.
        registers: the registers, which the server fills.
        arming: whether valves are driven.
        metrics: counts of the run.
        encoder: counts the encoder, if there is one.

    Attributes:
        port: port on which it listens; 0 while it does not.
    """

    def __init__(
        self,
        config: ModbusConfig,
        registers: Registers,
        arming: Armed,
        metrics: Metrics,
        encoder: ReportsTick | None = None,
    ) -> None:
        self._config, self._arming, self._metrics, self._encoder = config, arming, metrics, encoder
        self._lock = threading.Lock()
        self._registers = registers
        self._model = self._config_id = 0
        self._drives = bool(registers.plan.lanes)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self._tried = threading.Event()
        self._output_state = OutputState("modbus", RETRY_S)
        self._clients: list[_Client] = []
        self._logged_at = -SAY_EVERY_S
        self.port = 0
        self._thread = threading.Thread(target=self._run, name="pitcore-modbus", daemon=True)
        self._thread.start()
        self._tried.wait(START_S)

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Put the verdicts of a frame into the ring."""
        with self._lock:
            for record in records:
                if isinstance(record, Verdict):
                    self._registers.add(record)
                    self._model, self._config_id = int(record.model.sha256[:8], 16), int(record.config[:8], 16)

    def status(self) -> dict[str, Any]:
        """See ``sink.ReportsStatus``."""
        status = {"kind": "modbus", "address": f"{self._config.bind}:{self.port or self._config.port}"}
        if not self._thread.is_alive():
            return status | {"state": "ended"}
        status |= self._output_state.status()
        return status if self._output_state.failing else status | {"clients": len(self._clients)}

    def close(self) -> None:
        """Stop the server. Safe to call twice."""
        if self._loop is not None and self._done is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._done.set)
            self._thread.join()

    def read(self, address: int, count: int) -> list[int]:
        """Return the present words of registers."""
        with self._lock:
            if address < RING_START:
                self._registers.set(self._values())
            return self._registers.read(address, count)

    def _values(self) -> dict[str, int]:
        """Return the present values that do not come from the ring."""
        metrics = self._metrics
        values = {
            "flags": int(self._arming.armed) | int(self._drives) << 1,
            "encoder": int(self._encoder is not None),
            "heartbeat": metrics.value("judged"),
            "model": self._model,
            "config": self._config_id,
            "frames": metrics.value("judged"),
            "events": metrics.value("events"),
            "late": metrics.value("rejects", "late"),
            "scheduled": metrics.value("rejects", "scheduled"),
            "openings": metrics.value("valve_openings", "driven"),
        }
        if self._encoder is not None:
            tick, t_ns = self._encoder.tick_now()
            age_us = min((time.monotonic_ns() - t_ns) // 1000, (1 << 32) - 1)
            values |= {"tick_now": tick, "tick_age": age_us}
        return values | {name: metrics.value("verdicts", name) for name in VERDICTS}

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        """Listen until the service stops; try again while the address cannot be opened."""
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(self._log_asyncio_error)
        while not self._done.is_set():
            try:
                server = await self._loop.create_server(
                    lambda: _Client(self._clients, self.read, self._made_room),
                    self._config.bind,
                    self._config.port,
                    backlog=BACKLOG,
                )
            except OSError as error:
                self._fails(error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._done.wait(), RETRY_S)
                continue
            self.port = server.sockets[0].getsockname()[1]
            self._output_state.works(f"listens on {self._config.bind}:{self.port} now")
            self._tried.set()
            await self._done.wait()
            server.close()
            for client in list(self._clients):
                client.drop()

    def _fails(self, error: OSError) -> None:
        reason = f"{self._config.bind}:{self._config.port} cannot be opened for listening: {reason_of(error)}"
        self._output_state.fails(reason, listening_fix(error, "modbus"))
        self._tried.set()

    def _made_room(self) -> None:
        """Log that a connection was closed to make room, at most once a minute."""
        if time.monotonic() - self._logged_at >= SAY_EVERY_S:
            self._logged_at = time.monotonic()
            log.warning("[modbus] more than %d connections at once: the ones idle for longest are closed", MAX_CLIENTS)

    def _log_asyncio_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an error of asyncio, at most once a minute: there may be a thousand a second."""
        if time.monotonic() - self._logged_at >= SAY_EVERY_S:
            self._logged_at = time.monotonic()
            log.warning("[modbus] %s: %s", context.get("message"), context.get("exception"))
