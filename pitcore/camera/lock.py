"""Locks exposure, gain and frame time: the controls to set, and the check of the metadata against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pitcore.health import LockedPicture

# A sensor exposes whole lines (15 us on the IMX296) and amplifies in steps (0.1 dB, 1.2 %), so the values differ a
# little from the requested ones.
_SHARE = 0.03
_LINES_US = 50


@dataclass(frozen=True, slots=True)
class Lock:
    """The settings that every frame must have.

    Attributes:
        exposure_us: exposure time in microseconds.
        gain: analogue gain.
        frame_us: interval between frames in microseconds; None if an external trigger sets interval and exposure.
    """

    exposure_us: int
    gain: float
    frame_us: int | None

    def controls(self) -> dict[str, Any]:
        """Return libcamera's controls, by name. A sensor may lack some of them."""
        controls: dict[str, Any] = {
            "AeEnable": False,
            "AwbEnable": False,
            "ExposureTime": self.exposure_us,
            "AnalogueGain": self.gain,
        }
        if self.frame_us is not None:
            controls["FrameDurationLimits"] = (self.frame_us, self.frame_us)
        return controls

    def differs(self, metadata: Mapping[str, Any]) -> str:
        """Return a sentence on how a frame's settings differ from the requested ones; empty if they do not."""
        gain = metadata.get("AnalogueGain")
        if gain is None or abs(gain - self.gain) > _SHARE * self.gain:
            return f"gain is {_shown(gain)}, asked for {self.gain:g}"
        if self.frame_us is None:
            return ""
        exposure_us, frame_us = metadata.get("ExposureTime"), metadata.get("FrameDuration")
        if exposure_us is None or abs(exposure_us - self.exposure_us) > max(_LINES_US, _SHARE * self.exposure_us):
            return f"exposure is {_shown(exposure_us, ' us')}, asked for {self.exposure_us}"
        if frame_us is None or abs(frame_us - self.frame_us) > max(_LINES_US, _SHARE * self.frame_us):
            return f"frame time is {_shown(frame_us, ' us')}, asked for {self.frame_us}: the sensor may not be as fast"
        return ""

    def confirmed(self, metadata: Mapping[str, Any]) -> LockedPicture:
        """Return the settings of a frame for which ``differs`` is empty."""
        exposure_us = self.exposure_us if self.frame_us is None else int(metadata["ExposureTime"])
        frame_us = int(metadata.get("FrameDuration", 0) or 0)
        return LockedPicture(exposure_us, float(metadata["AnalogueGain"]), frame_us)


def _shown(value: float | None, unit: str = "") -> str:
    return "not reported" if value is None else f"{value:g}{unit}"
