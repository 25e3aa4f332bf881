"""Defines the bounds of the alarms of the line, and the action on verdicts while an alarm is on."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from pitcore.config.section import Section, Share

FailSafe = Literal["alarm", "maybe", "reject"]
AlarmName = Literal[
    "not_judging",
    "planes_swapped",
    "camera_frozen",
    "light_off",
    "light_dim",
    "light_bright",
    "lens_dirty",
    "planes_misaligned",
    "nothing_seen",
    "encoder_dead",
    "encoder_mismatch",
    "belt_reversing",
    "only_foreign",
]


class LineConfig(Section, frozen=True):
    """Bounds at which alarms come on. docs/faults.md has the meaning and the fix of each.

    Attributes:
        light_off: share of its calibrated level below which a plane's belt is without light.
        light_low, light_high: shares of the calibrated levels, of belt or cherries, beyond which the light has
            drifted. At 0.82 of its level the net let 1.6 % of pits pass, so the bound lies above that.
        dirt_levels: how many grey levels a spot that does not move must differ from the belt.
        misaligned_px: largest offset between the planes' masks.
        nothing_seen_s: longest time that a moving belt may be empty.
        foreign_share: share of judged things that are not single cherries, from which on the alarm comes on.
    """

    light_off: Share = 0.5
    light_low: Share = 0.85
    light_high: Annotated[float, Meta(ge=1.0, le=10.0)] = 1.2
    dirt_levels: Annotated[float, Meta(gt=0.0, le=255.0)] = 2.5
    misaligned_px: Annotated[float, Meta(gt=0.0, le=100.0)] = 3.0
    nothing_seen_s: Annotated[float, Meta(gt=0.0, le=86400.0)] = 60.0
    foreign_share: Share = 0.9

    def __post_init__(self) -> None:
        if self.light_off >= self.light_low:
            raise ValueError(f"light_off = {self.light_off} must be below light_low = {self.light_low}")


class FailsafeConfig(Section, frozen=True):
    """Action on verdicts while an alarm is on, for each alarm.

    ``alarm``: they are unchanged. ``maybe``: none is clean. ``reject``: none is clean, and all are rejected.

    Attributes:
        not_judging: frames arrive and belt passes unjudged; must not be "alarm".
        planes_swapped: the cameras are exchanged; must not be "alarm".
        camera_frozen: its frames are never judged; this is for the frames between, if it freezes repeatedly.
        light_off, light_dim, light_bright, lens_dirty, planes_misaligned: a picture that cannot be trusted; the first
            must not be "alarm".
        nothing_seen, encoder_dead, encoder_mismatch, belt_reversing, only_foreign: a fault of the belt, the feed or the
            encoder.
    """

    not_judging: FailSafe = "reject"
    planes_swapped: FailSafe = "maybe"
    camera_frozen: FailSafe = "maybe"
    light_off: FailSafe = "reject"
    light_dim: FailSafe = "maybe"
    light_bright: FailSafe = "maybe"
    lens_dirty: FailSafe = "maybe"
    planes_misaligned: FailSafe = "maybe"
    nothing_seen: FailSafe = "alarm"
    encoder_dead: FailSafe = "reject"
    encoder_mismatch: FailSafe = "maybe"
    belt_reversing: FailSafe = "alarm"
    only_foreign: FailSafe = "alarm"

    def __post_init__(self) -> None:
        if self.not_judging == "alarm":
            raise ValueError("not_judging must not be `alarm`: what was not judged is never clean")
        if self.planes_swapped == "alarm":
            raise ValueError("planes_swapped must not be `alarm`: what was judged in the wrong light is never clean")
        if self.light_off == "alarm":
            raise ValueError("light_off must not be `alarm`: what was judged without light is never clean")
