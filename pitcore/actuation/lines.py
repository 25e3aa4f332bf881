"""Reads encoder edges and drives valves with gpiod. The chip may be the board's or one in memory.

Only this module and ``simulated_chip`` know gpiod.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from pitcore.belt.encoder import Edge
from pitcore.config import ActuationConfig
from pitcore.errors import SinkError

CONSUMER = "pitcore"
BUFFERED_EDGES = 1024  # largest buffer of the kernel: 75 ms at 13,600 edges a second


class Request(Protocol):
    """The used part of ``gpiod.LineRequest``."""

    def get_values(self, lines: Any = None) -> Sequence[Any]:  # noqa: ANN401  gpiod's enums, which may not be installed
        """Return the levels of lines."""
        ...

    def set_values(self, values: dict[Any, Any]) -> None:
        """Drive lines."""
        ...

    def wait_edge_events(self, timeout: float | None = None) -> bool:
        """Wait for an edge; return False if none arrived in ``timeout`` seconds."""
        ...

    def read_edge_events(self, max_events: int | None = None) -> Sequence[Any]:
        """Return the waiting edges."""
        ...

    def release(self) -> None:
        """Release the lines."""
        ...


class Chip(Protocol):
    """The used part of ``gpiod.Chip``."""

    def request_lines(
        self, config: dict[Any, Any], consumer: str | None = None, event_buffer_size: int | None = None
    ) -> Request:
        """Request lines for exclusive use."""
        ...

    def close(self) -> None:
        """Close the chip; requests stay."""
        ...


def import_gpiod() -> ModuleType:
    """Return gpiod with its enums. Raises SinkError if it is not installed."""
    try:
        import gpiod  # noqa: PLC0415  an extra that only boards with valves or encoder need
        import gpiod.line  # noqa: PLC0415
    except ImportError as error:
        raise SinkError(
            f"[actuation] kind needs gpiod: {error}; pip install 'pitcore[gpio]', or set kind = \"none\""
        ) from error
    return gpiod


def open_chip(label: str, folder: Path = Path("/dev")) -> Chip:
    """Open a chip by its label, since its number differs between kernels.

    Args:
        label: label of the chip, which ``gpiodetect`` shows in brackets.
        folder: folder of the devices.

    Raises:
        SinkError: no chip has that label, or it may not be opened.
    """
    gpiod = import_gpiod()
    labels, refused = [], []
    for path in sorted(folder.glob("gpiochip*")):
        try:
            chip = gpiod.Chip(str(path))
        except OSError as error:
            refused.append(f"{path}: {error.strerror}")
            continue
        name = chip.get_info().label
        if name == label:
            opened: Chip = chip
            return opened
        chip.close()
        labels.append(name)
    there = f"there are: {', '.join(labels)}" if labels else "there is none that can be opened"
    why = f" ({'; '.join(refused)}; is the user in the group gpio?)" if refused else ""
    raise SinkError(f"[actuation] chip: no GPIO chip is labelled `{label}`; {there}{why}; gpiodetect lists them")


def shut_lines(config: ActuationConfig) -> None:
    """Shut every valve, and release the lines. Raises SinkError."""
    Lines(open_chip(config.chip), config).close()


class Lines:
    """Encoder and valves on one chip.

    Args:
        chip: the open chip; it is closed here.
        config: offsets and electrical settings of the lines.

    Raises:
        SinkError: a line does not exist, or another program holds it.
    """

    def __init__(self, chip: Chip, config: ActuationConfig) -> None:
        self._gpiod = import_gpiod()
        self._config = config
        self._encoder: Request | None = None
        self._valves: Request | None = None
        self._offsets = [lane.line for lane in config.lanes]
        self._driven = 0
        try:
            if self._offsets:  # requested first, so that the valves are shut even if the rest fails
                self._valves = chip.request_lines({tuple(self._offsets): self._valve_settings()}, CONSUMER)
            if config.encoder.line_a is not None:
                inputs = tuple(line for line in (config.encoder.line_a, config.encoder.line_b) if line is not None)
                settings = self._encoder_settings()
                self._encoder = chip.request_lines({inputs: settings}, CONSUMER, event_buffer_size=BUFFERED_EDGES)
        except (OSError, ValueError) as error:
            self.close()
            reason = getattr(error, "strerror", None) or str(error)
            raise SinkError(
                f"[actuation] lanes {', '.join(map(str, self._offsets))} or encoder of chip `{config.chip}`: {reason}; "
                "gpioinfo lists the lines and the programs that hold them"
            ) from error
        finally:
            chip.close()

    def levels(self) -> tuple[int, int]:
        """Return the levels of encoder lines A and B; 0 for a missing line."""
        if self._encoder is None:
            return 0, 0
        active = self._gpiod.line.Value.ACTIVE
        levels = [int(value == active) for value in self._encoder.get_values()]
        return levels[0], levels[1] if len(levels) > 1 else 0

    def wait(self, timeout_s: float) -> bool:
        """Wait for an encoder edge; return False if none arrived in ``timeout_s`` seconds."""
        return self._encoder is not None and self._encoder.wait_edge_events(timeout_s)

    def read(self) -> list[Edge]:
        """Return the waiting edges in order."""
        if self._encoder is None:
            return []
        rising, line_b = self._gpiod.EdgeEvent.Type.RISING_EDGE, self._config.encoder.line_b
        edges: list[Edge] = []
        while self._encoder.wait_edge_events(0):
            for event in self._encoder.read_edge_events():
                line, is_rising = int(event.line_offset == line_b), event.event_type is rising
                edges.append(Edge(event.timestamp_ns, line, is_rising, event.global_seqno))
        return edges

    def drive(self, mask: int) -> None:
        """Open the valves of the set bits and shut the others; only changes are written to the chip."""
        changed = mask ^ self._driven
        if changed and self._valves is not None:
            value = self._gpiod.line.Value
            self._valves.set_values(
                {
                    offset: value.ACTIVE if mask >> number & 1 else value.INACTIVE
                    for number, offset in enumerate(self._offsets)
                    if changed >> number & 1
                }
            )
        self._driven = mask

    def close(self) -> None:
        """Shut every valve and release the lines."""
        if self._valves is not None:
            self._valves.set_values(dict.fromkeys(self._offsets, self._gpiod.line.Value.INACTIVE))
            self._valves.release()
        if self._encoder is not None:
            self._encoder.release()
        self._valves = self._encoder = None

    def _valve_settings(self) -> Any:  # noqa: ANN401  gpiod.LineSettings
        line = self._gpiod.line
        return self._gpiod.LineSettings(
            direction=line.Direction.OUTPUT, output_value=line.Value.INACTIVE, active_low=self._config.active_low
        )

    def _encoder_settings(self) -> Any:  # noqa: ANN401  gpiod.LineSettings
        line, encoder = self._gpiod.line, self._config.encoder
        return self._gpiod.LineSettings(
            direction=line.Direction.INPUT,
            edge_detection=line.Edge.RISING if encoder.line_b is None else line.Edge.BOTH,
            bias=line.Bias[encoder.bias.upper()],
            debounce_period=timedelta(microseconds=encoder.debounce_us),
            event_clock=line.Clock.MONOTONIC,  # the cameras' clock
        )
