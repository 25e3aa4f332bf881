"""Builds the valves and the encoder of a board from its configuration."""

from __future__ import annotations

from pitcore.actuation.arming import Arming
from pitcore.actuation.gpio import GpioSink
from pitcore.actuation.lines import shut_lines
from pitcore.actuation.valve_process import RealChip, SteadyChip
from pitcore.belt.lanes import Lane, Plan
from pitcore.config import ActuationConfig, Config, ModbusConfig
from pitcore.metrics import Metrics
from pitcore.preprocess.search_rules import window_of


def belt_plan(config: Config) -> Plan:
    """Return the lanes of a configuration; there are none if nothing is driven."""
    window, actuation = window_of(config), config.actuation
    lanes = () if actuation.kind == "none" else actuation.lanes
    first_row = window.origin[1]
    return Plan(
        px_per_tick=config.px_per_tick,
        rows_px=(first_row, first_row + window.shape[0]),
        cherry_px=config.actuation.cherry_px,
        lanes=tuple(Lane(lane.x_px, lane.distance_ticks, lane.pulse_ticks, lane.action) for lane in lanes),
    )


def what_is_armed(actuation: ActuationConfig, modbus: ModbusConfig) -> str | None:
    """Return what acts while the board is armed, in words that change with the valves; None if nothing does.

    The lines are named, not where their lanes are: who measures a lane again must not stop a running line. A PLC reads
    whether the board is armed, so it counts where no line is driven.
    """
    if actuation.kind == "none" or not actuation.lanes:
        return "no valve, but a PLC over Modbus" if modbus.enabled else None
    chip = actuation.chip if actuation.kind == "gpio" else "a simulated chip"
    return f"lines {', '.join(str(line) for line in sorted(lane.line for lane in actuation.lanes))} of {chip}"


def follow_belt(config: Config, ticks_per_s: float, arming: Arming, metrics: Metrics) -> GpioSink:
    """Open encoder and valves, and start to follow the belt.

    Args:
        config: configuration of the board; its actuation is not ``none``.
        ticks_per_s: speed of a simulated belt.
        arming: says whether valves may be driven.
        metrics: metrics of the run.

    Raises:
        SinkError: the chip or a line does not exist or is in use.
    """
    actuation = config.actuation
    chip = RealChip(actuation.chip) if actuation.kind == "gpio" else SteadyChip(ticks_per_s)
    return GpioSink(belt_plan(config), actuation, chip, arming, metrics)


def shut_valves(actuation: ActuationConfig) -> int:
    """Shut every valve and release the lines, while no service runs.

    Returns:
        The number of valves.

    Raises:
        SinkError: the chip or a line does not exist or is in use.
    """
    if actuation.kind != "gpio" or not actuation.lanes:
        return 0
    shut_lines(actuation)
    return len(actuation.lanes)
