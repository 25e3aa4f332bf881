"""Exposure, gain and frame time: what is asked of a camera, and whether its metadata says that it does so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pitcore.health import LockedPicture

# A sensor exposes whole lines (15 us on the IMX296) and amplifies in steps (0.1 dB, 1.2 %): it comes near, not equal.
_SHARE = 0.03
_LINES_US = 50


@dataclass(frozen=True, slots=True)
class Lock:
    """What every frame shall be like.

    Attributes:
        exposure_us: how long.
        gain: analogue.
        frame_us: from frame to frame; None if a trigger decides, as it then does for the exposure too.
    """

    exposure_us: int
    gain: float
    frame_us: int | None

    def controls(self) -> dict[str, Any]:
        """Return libcamera's controls, by name. A sensor has not all of them: ``ColourGains`` only one with colours."""
        wanted: dict[str, Any] = {
            "AeEnable": False,
            "AwbEnable": False,
            "ExposureTime": self.exposure_us,
            "AnalogueGain": self.gain,
        }
        if self.frame_us is not None:
            wanted["FrameDurationLimits"] = (self.frame_us, self.frame_us)
        return wanted

    def differs(self, metadata: Mapping[str, Any]) -> str:
        """Return how a frame differs from what was asked, for a person; empty if it does not."""
        gain = metadata.get("AnalogueGain")
        if gain is None or abs(gain - self.gain) > _SHARE * self.gain:
            return f"gain is {_said(gain)}, asked for {self.gain:g}"
        if self.frame_us is None:
            return ""
        exposure_us, frame_us = metadata.get("ExposureTime"), metadata.get("FrameDuration")
        if exposure_us is None or abs(exposure_us - self.exposure_us) > max(_LINES_US, _SHARE * self.exposure_us):
            return f"exposure is {_said(exposure_us)} us, asked for {self.exposure_us}"
        if frame_us is None or abs(frame_us - self.frame_us) > max(_LINES_US, _SHARE * self.frame_us):
            return f"frame time is {_said(frame_us)} us, asked for {self.frame_us}: the sensor may not be as fast"
        return ""

    def confirmed(self, metadata: Mapping[str, Any]) -> LockedPicture:
        """Return what a frame that does not differ says."""
        exposure_us = self.exposure_us if self.frame_us is None else int(metadata["ExposureTime"])
        frame_us = int(metadata.get("FrameDuration", 0) or 0)
        return LockedPicture(exposure_us, float(metadata["AnalogueGain"]), frame_us)


def _said(value: float | None) -> str:
    return "not told" if value is None else f"{value:g}"
