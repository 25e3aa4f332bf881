"""Defines and reads the file of ``pitcore calibrate``, and the section that names it.

The board's TOML is never rewritten. Measured values are in a separate JSON file and replace those of the TOML.
``pitcore.calibration.store`` writes the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pitcore.config.section import MAX_SIDE_PX, MIN_PX_PER_TICK, Count, Level, Section, cannot_be_read
from pitcore.errors import ConfigError
from pitcore.plain_text import check_json, decode_text

GAIN_ONE = 256  # of a flat field: the pixel stays as it is
MAX_GAIN = 4 * GAIN_ONE

Step = Literal["exposure", "flat", "align", "belt"]


class PlaneCalibration(Section, frozen=True):
    """One plane.

    Attributes:
        exposure_us, gain: of its camera; None if not measured.
        background: grey level of the empty belt for each column; empty if not measured.
        flat_field: factor in 1/256 for each column that corrects cherries there; empty as above.
        belt_level, cherry_level: mean grey level of the empty belt and of cherries when the flat field was measured;
            the watch over the light compares with them.
        strip_level: mean grey level of its reference strip, measured with these.
    """

    exposure_us: Annotated[float, Meta(gt=0.0, le=1e6)] | None = None
    gain: Annotated[float, Meta(ge=1.0, le=1e3)] | None = None
    background: tuple[Level, ...] = ()
    flat_field: tuple[Annotated[int, Meta(ge=GAIN_ONE, le=MAX_GAIN)], ...] = ()
    belt_level: Annotated[float, Meta(ge=0.0, le=255.0)] | None = None
    cherry_level: Annotated[float, Meta(ge=0.0, le=255.0)] | None = None
    strip_level: Annotated[float, Meta(ge=0.0, le=255.0)] | None = None


class BeltScale(Section, frozen=True):
    """Travel for one encoder tick, in pixels, and its standard error."""

    px_per_tick: Annotated[float, Meta(ge=-1000.0, le=1000.0)]
    error: Annotated[float, Meta(ge=0.0)]

    def __post_init__(self) -> None:
        if abs(self.px_per_tick) < MIN_PX_PER_TICK:
            raise ValueError("belt.px_per_tick must not be 0: without it frames cannot be matched")


class AlignmentConfig(Section, frozen=True):
    """Offset of the second plane's picture from the first's, to the right and down, in whole pixels.

    Frames are cut down to what both planes show; no pixel is moved.

    Attributes:
        dx_px, dy_px: whole pixels, to the right and down.
    """

    dx_px: Annotated[int, Meta(ge=-256, le=256)] = 0
    dy_px: Annotated[int, Meta(ge=-256, le=256)] = 0

    @property
    def shift_px(self) -> tuple[int, int]:
        """Right and down."""
        return self.dx_px, self.dy_px


class BoardCalibration(Section, frozen=True):
    """All measurements so far; a step replaces its own part.

    Attributes:
        serial: number of this state; ``previous`` is that of the state before, 0 for none.
        step: last measurement; ``measured_at`` is its time (UTC, ISO 8601).
        height_px, width_px: of the frames it was measured on.
        planes: by name.
        belt, alignment: None if not measured.
    """

    schema: Literal["pitcore.calibration/1"]
    height_px: Annotated[int, Meta(ge=16, le=MAX_SIDE_PX)]
    width_px: Annotated[int, Meta(ge=16, le=MAX_SIDE_PX)]
    planes: dict[str, PlaneCalibration]
    serial: Count = 0
    previous: Count = 0
    step: Step | None = None
    measured_at: str = ""
    belt: BeltScale | None = None
    alignment: AlignmentConfig | None = None

    def __post_init__(self) -> None:
        for name, plane in self.planes.items():
            for key in ("background", "flat_field"):
                count = len(getattr(plane, key))
                if count not in {0, self.width_px}:
                    raise ValueError(f"planes.{name}.{key} has {count} values for width_px = {self.width_px}")


class CalibrationConfig(Section, frozen=True):
    """The file of the measured values.

    Attributes:
        file: JSON; relative to the configuration file. The first ``pitcore calibrate`` creates it.
        values: read from the file; not for the TOML.
    """

    file: str | None = None
    values: BoardCalibration | None = None


def read_calibration(path: Path) -> BoardCalibration | None:
    """Read a calibration; None if there is none yet.

    Raises:
        ConfigError: it cannot be read, or is not a calibration.
    """
    fix = "restore the previous one with 'pitcore calibrate undo', or remove it and calibrate again"
    try:
        text = decode_text(path.read_bytes())
        check_json(text)
        return msgspec.json.decode(text, type=BoardCalibration)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(cannot_be_read(path, error, "correct [calibration] file")) from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigError(f"{path}: damaged: {error}; {fix}") from error
