"""Shows counts and the last verdicts to a PLC over Modbus TCP (pymodbus). Read only; the reject path never goes here.

A request is answered from one picture of all registers, so that what it reads belongs together.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from pitcore.belt.lanes import Plan
from pitcore.config import ModbusConfig
from pitcore.errors import SinkError
from pitcore.metrics import Metrics
from pitcore.sinks.registers import SIZE, Registers
from pitcore.sinks.sink import Armed
from pitcore.verdict import VERDICTS, Event, Verdict

START_S = 10.0
READS = {3, 4}  # functions: read holding registers, read input registers


class ModbusSink:
    """Implements ``sink.Sink`` as a Modbus TCP server on a thread of its own.

    Args:
        config: where to listen.
        plan: where lanes are.
        arming: whether valves are driven.
        metrics: counts of the run.

    Raises:
        SinkError: pymodbus is missing, or the address cannot be had.
    """

    def __init__(self, config: ModbusConfig, plan: Plan, arming: Armed, metrics: Metrics) -> None:
        self._pymodbus = _import_pymodbus()
        self._config, self._arming, self._metrics = config, arming, metrics
        self._lock = threading.Lock()
        self._registers = Registers(plan)
        self._model = self._config_id = 0
        self._drives = bool(plan.lanes)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self.port = 0
        self._thread = threading.Thread(target=self._run, name="pitcore-modbus", daemon=True)
        self._thread.start()
        if not self._started.wait(START_S) or self._failure is not None:
            reason = self._failure or "it does not start"
            raise SinkError(
                f"[modbus] {config.bind}:{config.port} cannot be listened on: {reason}; "
                "choose another port, or an address of this machine"
            ) from self._failure

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Put the verdicts of a frame into the ring."""
        with self._lock:
            for record in records:
                if isinstance(record, Verdict):
                    self._registers.add(record)
                    self._model, self._config_id = int(record.model.sha256[:8], 16), int(record.config[:8], 16)

    def status(self) -> dict[str, Any]:
        """See ``sink.ReportsStatus``."""
        state = "ok" if self._thread.is_alive() else "ended"
        return {"kind": "modbus", "state": state, "address": f"{self._config.bind}:{self.port}"}

    def close(self) -> None:
        """Stop the server. Safe to call twice."""
        if self._loop is not None and self._done is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._done.set)
            self._thread.join()

    def image(self) -> list[int]:
        """Return every register as it is now."""
        metrics = self._metrics
        values = {
            "flags": int(self._arming.armed) | int(self._drives) << 1,
            "heartbeat": metrics.value("judged"),
            "frames": metrics.value("judged"),
            "events": metrics.value("events"),
            "late": metrics.value("rejects", "late"),
            "scheduled": metrics.value("rejects", "scheduled"),
            "openings": metrics.value("valve_openings", "driven"),
        }
        values |= {name: metrics.value("verdicts", name) for name in VERDICTS}
        with self._lock:
            values |= {"model": self._model, "config": self._config_id}
            self._registers.values = values
            return self._registers.image()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except (OSError, RuntimeError) as error:
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        pymodbus = self._pymodbus
        simulator = pymodbus.simulator

        async def fill(
            function: int, _start: int, _address: int, _count: int, registers: list[int], values: object
        ) -> Any:  # noqa: ANN401  pymodbus is an extra
            if function not in READS:
                return pymodbus.constants.ExcCodes.ILLEGAL_FUNCTION  # else it would make coils of the registers' bits
            if values is None:
                registers[:] = self.image()
            return None

        blank = simulator.SimData(0, count=SIZE, datatype=simulator.DataType.REGISTERS, readonly=True)
        device = simulator.SimDevice(0, simdata=[blank], action=fill)
        server = pymodbus.server.ModbusTcpServer(device, address=(self._config.bind, self._config.port))
        await server.serve_forever(background=True)
        self.port = server.transport.sockets[0].getsockname()[1]
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        await self._done.wait()
        await server.shutdown()


def _import_pymodbus() -> ModuleType:
    try:
        import pymodbus  # noqa: PLC0415  an extra: only who has a PLC needs it
        import pymodbus.constants  # noqa: PLC0415
        import pymodbus.server  # noqa: PLC0415
        import pymodbus.simulator  # noqa: PLC0415
    except ImportError as error:
        raise SinkError(
            f"[modbus] needs pymodbus: {error}; pip install 'pitcore[modbus]', or set enabled = false"
        ) from error
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # its complaints about a PLC's requests are the PLC's
    return pymodbus
