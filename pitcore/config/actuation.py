"""Defines the sections of encoder, valves, fail-safe, and the registers of a PLC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from pitcore.config.section import MAX_SIDE_PX, Section

LineOffset = Annotated[int, Meta(ge=0, le=511)]
Ticks = Annotated[int, Meta(ge=1, le=10_000_000)]


class EncoderConfig(Section, frozen=True):
    """The lines of the belt's encoder.

    Attributes:
        line_a: offset of channel A; None means no encoder.
        line_b: offset of channel B. Without it every rising edge of A is a tick forward, and a belt that runs backwards
            is not detected.
        reverse: B leads when the belt runs forward.
        bias: of both lines.
        debounce_us: shorter pulses are disturbances.
    """

    line_a: LineOffset | None = None
    line_b: LineOffset | None = None
    reverse: bool = False
    bias: Literal["as_is", "pull_up", "pull_down", "disabled"] = "as_is"
    debounce_us: Annotated[int, Meta(ge=0, le=10_000)] = 0

    def __post_init__(self) -> None:
        if self.line_b is not None and self.line_a in {None, self.line_b}:
            raise ValueError("encoder.line_b needs encoder.line_a, and the two must differ")
        if self.reverse and self.line_b is None:
            raise ValueError("encoder.reverse needs a line_b: one channel has no direction")


class LaneConfig(Section, frozen=True):
    """One valve.

    Attributes:
        line: offset of its output.
        x_px: the first column of the frame that it serves, and the one after the last. Lanes may overlap.
        distance_ticks: travel from the point that row 0 of the frame shows to the nozzle. Measure it with a tape: mm,
            times px per mm, divided by px per tick.
        pulse_ticks: how far the belt moves while the valve is open for one cherry.
        action: ``reject`` or ``review``, done to the cherries that it hits.
    """

    line: LineOffset
    x_px: tuple[Annotated[int, Meta(ge=0, le=MAX_SIDE_PX)], Annotated[int, Meta(ge=1, le=MAX_SIDE_PX)]]
    distance_ticks: Ticks
    pulse_ticks: Annotated[int, Meta(ge=1, le=100_000)]
    action: Literal["reject", "review"] = "reject"

    def __post_init__(self) -> None:
        if self.x_px[0] >= self.x_px[1]:
            raise ValueError(f"x_px = [{self.x_px[0]}, {self.x_px[1]}] is empty: the second must be larger")


class ActuationConfig(Section, frozen=True):
    """Valves and encoder.

    Attributes:
        kind: ``gpio`` drives lines of this board, ``simulated`` a chip in memory, ``none`` nothing.
        chip: label of the chip; numbers differ between kernels (``gpiodetect`` lists the labels).
        encoder: of the belt.
        lanes: the valves. Without lanes the encoder is read for the cameras, and nothing is driven.
        active_low: a valve is open while its line is low.
        latency_us: from the line to the air at the nozzle; valves are opened and closed earlier by it.
        cherry_px: length and width of the largest single cherry; a larger box may hold several.
        jitter_ticks: a belt that moves back by no more only trembles; by more, it reverses. A stopped belt runs again
            after it has moved forward by more.
        max_on_ms: a belt that has not moved forward for this long is stopped, and no valve is open.
        fail_safe: what happens to belt that reaches the nozzles without a verdict, and at a late verdict.
        review_by_plc: a PLC, not a lane, removes cherries for review.
        spin_share: largest share of one core for polling before a valve is due, since a sleeping process wakes late. 0:
            it only sleeps.
    """

    kind: Literal["none", "gpio", "simulated"] = "none"
    chip: str = "pinctrl-rp1"
    encoder: EncoderConfig = EncoderConfig()
    lanes: Annotated[tuple[LaneConfig, ...], Meta(max_length=32)] = ()
    active_low: bool = False
    latency_us: Annotated[int, Meta(ge=0, le=100_000)] = 0
    cherry_px: Annotated[int, Meta(ge=1, le=MAX_SIDE_PX)] = 100
    jitter_ticks: Annotated[int, Meta(ge=0, le=100)] = 2
    max_on_ms: Annotated[int, Meta(ge=1, le=10_000)] = 200
    fail_safe: Literal["reject", "pass"] = "reject"
    review_by_plc: bool = False
    spin_share: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.2

    def __post_init__(self) -> None:
        lines = [lane.line for lane in self.lanes]
        lines += [line for line in (self.encoder.line_a, self.encoder.line_b) if line is not None]
        twice = sorted({line for line in lines if lines.count(line) > 1})
        if twice:
            raise ValueError(f"line {twice[0]} is used twice; every lane and encoder channel has a line of its own")
        if self.kind != "none" and self.encoder.line_a is None:
            raise ValueError("actuation needs encoder.line_a: valves are timed by the belt")

    def misfit(self, *, height_px: int, width_px: int, px_per_tick: float, actions: Mapping[str, str]) -> str | None:
        """Return the conflict with the rest of the configuration, or None.

        Args:
            height_px: of the frame.
            width_px: of the frame.
            px_per_tick: of the belt.
            actions: possible actions, each with the keys that request it.
        """
        if self.kind == "none" or not self.lanes:
            return None
        return self._lane_misfit(max(0.0, height_px / px_per_tick), width_px) or self._action_misfit(width_px, actions)

    def _lane_misfit(self, frame_ticks: float, width_px: int) -> str | None:
        for number, lane in enumerate(self.lanes):
            place = f"actuation.lanes[{number}]"
            if lane.x_px[1] > width_px:
                return f"{place}.x_px ends at {lane.x_px[1]}, but frame.width_px is {width_px}"
            if lane.distance_ticks - lane.pulse_ticks / 2 < frame_ticks:
                return (
                    f"{place}.distance_ticks = {lane.distance_ticks}: the pulse would begin before the cherry has left "
                    f"the frame, {frame_ticks:.0f} ticks behind row 0"
                )
        return None

    def _action_misfit(self, width_px: int, actions: Mapping[str, str]) -> str | None:
        for action, keys in sorted(actions.items()):
            if action == "pass":
                continue
            spans = sorted(lane.x_px for lane in self.lanes if lane.action == action)
            if not spans and action == "review" and self.review_by_plc:
                continue
            if not spans:
                fix = ", or set actuation.review_by_plc" if action == "review" else ""
                return f"{keys} say `{action}`, but no lane of actuation does it: add one, change {keys}{fix}"
            served = 0
            for first, end in spans:
                if first <= served:
                    served = max(served, end)
            if served < width_px:
                return f"no `{action}` lane of actuation serves column {served} of {width_px}: widen or add a lane"
        return None


class ModbusConfig(Section, frozen=True):
    """Modbus TCP server: a PLC can read verdicts, and write nothing. See docs/modbus.md.

    Attributes:
        enabled: run the server.
        bind: address to listen on; Modbus has no passwords, so use an address of the machine's own network only.
            "0.0.0.0" means every interface.
        port: the standard port 502 needs a privilege.
    """

    enabled: bool = False
    bind: Annotated[str, Meta(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 1502
