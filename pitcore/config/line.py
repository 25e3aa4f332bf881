"""Defines the bounds of the alarms of the line, and the action on verdicts while an alarm is on."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from pitcore.config.section import Count, Section, Share

FailSafe = Literal["alarm", "maybe", "reject"]
ByLight = Literal["by_light"]
AlarmName = Literal[
    "not_judging",
    "planes_swapped",
    "camera_frozen",
    "light_off",
    "light_dim",
    "light_bright",
    "reference_strip",
    "lens_dirty",
    "planes_misaligned",
    "nothing_seen",
    "encoder_dead",
    "encoder_mismatch",
    "belt_reversing",
    "only_foreign",
    "drift",
    "unlike_card",
]


GUARD_PX = 8  # beside a strip: what its unsharp edge brightens is not searched either
MIN_STRIP_PX = 8  # each way: fewer pixels are noise
MAX_STRIP_SHARE = 1 / 16  # of the frame's width, from a lateral edge: what lies there is not searched


class ReferenceConfig(Section, frozen=True):
    """A strip of white tape at a lateral edge of a plane's picture: it shows the lamp however dark the belt is.

    From that edge to 8 px beside the strip nothing is searched, in any plane; so it must lie where no cherry comes.

    Attributes:
        plane: name of the plane that shows it; one strip for each.
        x_px: its first column, and the one after the last.
        y_px: its first row, and the one after the last; by default all rows.
    """

    plane: str
    x_px: tuple[Count, Count]
    y_px: tuple[Count, Count] | None = None

    def rows(self, height_px: int) -> slice:
        """Which rows of a plane it covers."""
        return slice(0, height_px) if self.y_px is None else slice(*self.y_px)

    @property
    def columns(self) -> slice:
        """Which columns."""
        return slice(*self.x_px)

    def is_left(self, width_px: int) -> bool:
        """Return the lateral edge of the frame at which it is."""
        return sum(self.x_px) < width_px

    def edge_px(self, width_px: int) -> int:
        """Return how many columns, from its edge of the frame on, are not searched."""
        return (self.x_px[1] if self.is_left(width_px) else width_px - self.x_px[0]) + GUARD_PX

    def misfit(self, height_px: int, width_px: int) -> str | None:
        """Return why it does not fit in a plane of this size, or None."""
        rows, most_px = self.rows(height_px), int(MAX_STRIP_SHARE * width_px)
        if self.x_px[1] > width_px or rows.stop > height_px:
            return f"it lies outside the frame of {height_px}x{width_px} px"
        if self.x_px[1] - self.x_px[0] < MIN_STRIP_PX or rows.stop - rows.start < MIN_STRIP_PX:
            return f"it must have {MIN_STRIP_PX} px each way at least"
        if self.edge_px(width_px) - GUARD_PX > most_px:
            return f"it must lie within {most_px} px of a lateral edge: what lies there is not searched for cherries"
        return None


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
        reference: strips of white tape in view, at most one for each plane.
    """

    light_off: Annotated[float, Meta(ge=0.2, le=1.0)] = 0.5
    light_low: Share = 0.85
    light_high: Annotated[float, Meta(ge=1.0, le=10.0)] = 1.2
    dirt_levels: Annotated[float, Meta(gt=0.0, le=255.0)] = 2.5
    misaligned_px: Annotated[float, Meta(gt=0.0, le=100.0)] = 3.0
    nothing_seen_s: Annotated[float, Meta(gt=0.0, le=86400.0)] = 60.0
    foreign_share: Share = 0.9
    reference: tuple[ReferenceConfig, ...] = ()

    def __post_init__(self) -> None:
        if self.light_off >= self.light_low:
            raise ValueError(f"light_off = {self.light_off} must be below light_low = {self.light_low}")
        planes = [strip.plane for strip in self.reference]
        if len(set(planes)) != len(planes):
            raise ValueError("reference: two strips of one plane; keep one")


class DriftConfig(Section, frozen=True):
    """When the line counts as changed: see docs/faults.md.

    Attributes:
        learn_cherries: single cherries after which the first ones count as usual.
        days: finished days on which is looked back; they are kept in [control] state_dir.
        psi: population stability index against the model's card from which on cherries are unlike those that the
            model was tested on. 0.25 is the usual bound: N. Siddiqi, "Credit risk scorecards", 2006.
    """

    learn_cherries: Annotated[int, Meta(ge=1000, le=1_000_000)] = 2000
    days: Annotated[int, Meta(ge=1, le=366)] = 28
    psi: Annotated[float, Meta(gt=0.0, le=100.0)] = 0.25


class FailsafeConfig(Section, frozen=True):
    """Action on verdicts while an alarm is on, for each alarm.

    ``alarm``: they are unchanged. ``maybe``: none is clean. ``reject``: none is clean, and all are rejected.

    Attributes:
        not_judging: frames arrive and belt passes unjudged; must not be "alarm".
        planes_swapped: the cameras are exchanged; must not be "alarm".
        camera_frozen: its frames are never judged; this is for the frames between, if it freezes repeatedly.
        light_off, light_dim, light_bright, reference_strip, lens_dirty, planes_misaligned: a picture that cannot be
            trusted; the first must not be "alarm".
        nothing_seen: the belt brings nothing. "by_light" is "alarm" where the light of every plane is watched, by belt
            or strip: then an empty picture is an empty belt; else it is "reject".
        encoder_dead, encoder_mismatch, belt_reversing, only_foreign: a line that does not bring what
            it should.
        drift, unlike_card: cherries that differ from those of the last weeks, and from those of the model's card.
    """

    not_judging: FailSafe = "reject"
    planes_swapped: FailSafe = "maybe"
    camera_frozen: FailSafe = "maybe"
    light_off: FailSafe = "reject"
    light_dim: FailSafe = "maybe"
    light_bright: FailSafe = "maybe"
    reference_strip: FailSafe = "maybe"
    lens_dirty: FailSafe = "maybe"
    planes_misaligned: FailSafe = "maybe"
    nothing_seen: FailSafe | ByLight = "by_light"
    encoder_dead: FailSafe = "reject"
    encoder_mismatch: FailSafe = "maybe"
    belt_reversing: FailSafe = "alarm"
    only_foreign: FailSafe = "alarm"
    drift: FailSafe = "alarm"
    unlike_card: FailSafe = "alarm"

    def __post_init__(self) -> None:
        if self.not_judging == "alarm":
            raise ValueError("not_judging must not be `alarm`: what was not judged is never clean")
        if self.planes_swapped == "alarm":
            raise ValueError("planes_swapped must not be `alarm`: what was judged in the wrong light is never clean")
        if self.light_off == "alarm":
            raise ValueError("light_off must not be `alarm`: what was judged without light is never clean")
