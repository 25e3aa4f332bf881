"""Places objects along the belt. Renders no frames: see ``surface``.

The belt consists of sections. Sections with even numbers are laid first; odd sections fit between their neighbours. So
the contents of a section depend only on the seed and its number, not on the order in which frames are requested.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np

from pitcore.camera.truth import Truth
from pitcore.emulator.patch import Patch, body_box
from pitcore.emulator.seeds import Stream, generator
from pitcore.emulator.spec import BeltSpec
from pitcore.errors import SourceError

GAP_PX = 4  # between patches that do not touch, so that any segmenter separates them
_MIN_SECTION_PX = 256
_IDS_PER_SECTION = 4096
_SECTIONS_IN_STRETCH = 4
_KEPT_SECTIONS = 16


@dataclass(frozen=True, slots=True)
class Item:
    """An object before it is placed: its pixels, its offset in its group, and its truth without a place."""

    patch: Patch
    truth: Truth
    dx_px: int = 0
    dy_px: int = 0


@dataclass(frozen=True, slots=True)
class PlacedItem:
    """A placed object: left column, and belt position of the patch's upper edge."""

    patch: Patch
    truth: Truth
    x_px: int
    belt_px: int


class Stock(Protocol):
    """Supplies the objects of a belt."""

    may_be_cut: bool  # False: objects are completely between the side edges

    def groups(self, section: int, rng: np.random.Generator) -> Iterator[tuple[Item, ...]]:
        """Yield the groups of a section: a single object, or several that touch."""
        ...


class Layout:
    """All objects of a belt, section by section.

    Args:
        spec: the belt.
        stock: supplies the objects.
    """

    def __init__(self, spec: BeltSpec, stock: Stock) -> None:
        self._spec = spec
        self._stock = stock
        self._loop_px, self._loop_sections, self.section_px = sections_of(spec)
        self._first_section = -math.ceil((spec.height_px + 512) / self.section_px)
        self._lay = lru_cache(maxsize=max(_KEPT_SECTIONS, self._loop_sections))(self._lay_uncached)

    def between(self, first_tick: int, last_tick: int) -> list[PlacedItem]:
        """Return the objects that are at least partly in view at some tick of first..last, in order of their ids."""
        newest_px = self._spec.shift_px(last_tick)
        oldest_px = self._spec.shift_px(first_tick) - self._spec.height_px
        reach = _MIN_SECTION_PX
        first = math.floor((oldest_px - reach) / self.section_px)
        last = math.floor((newest_px + reach) / self.section_px)
        near = (placed for section in range(first, last + 1) for placed in self._section(section))
        return [p for p in near if p.belt_px - p.patch.height_px < newest_px and p.belt_px > oldest_px]

    def _section(self, section: int) -> list[PlacedItem]:
        """Return a section's objects with their final positions and ids."""
        lap, base = divmod(section, self._loop_sections) if self._loop_sections else (0, section)
        shift_px = lap * self._loop_px
        first_id = (section - self._first_section) * _IDS_PER_SECTION
        return [_moved(placed, shift_px, first_id) for placed in self._lay(base)]

    def _lay_uncached(self, section: int) -> list[PlacedItem]:
        """Lay a section; ids count from 0."""
        taken = []
        if section % 2:
            taken = [*self._section(section - 1), *self._section(section + 1)]
        rng = generator(self._spec.seed, Stream.LAYOUT, section)
        laid: list[PlacedItem] = []
        for group in self._stock.groups(section, rng):
            laid += self._place(group, section, rng, taken + laid)
        return [_numbered(placed, index, laid) for index, placed in enumerate(laid)]

    def _place(
        self, group: tuple[Item, ...], section: int, rng: np.random.Generator, taken: list[PlacedItem]
    ) -> list[PlacedItem]:
        """Try random places until the group has a free one. A procedural group without a free place is left out."""
        width_px = max(item.dx_px + item.patch.width_px for item in group)
        height_px = max(item.dy_px + item.patch.height_px for item in group)
        overhang = 0.35 if self._stock.may_be_cut else -2.0 / width_px
        tries = 60 if self._stock.may_be_cut else 2000
        if not self._stock.may_be_cut and (height_px + GAP_PX > self.section_px or width_px + 4 > self._spec.width_px):
            tries = 0  # sections of one parity are laid independently, so no object may reach from one to the next
        for _ in range(tries):
            across, along = rng.random(2)
            room_px = self._spec.width_px - sum(self._spec.rails_px)
            x_px = round(-overhang * width_px + across * (room_px - (1 - 2 * overhang) * width_px))
            x_px += self._spec.rails_px[0]
            belt_px = math.floor((section + along) * self.section_px + height_px / 2)
            here = [self._put(item, x_px + item.dx_px, belt_px - item.dy_px) for item in group]
            if not any(_too_close(one, other) for one in here for other in taken):
                return here
        if self._stock.may_be_cut:
            return []
        raise SourceError(
            f"belt: a crop of {width_px}x{height_px} px does not fit; widen the frame, lay fewer crops or smaller ones"
        )

    def _put(self, item: Item, x_px: int, belt_px: int) -> PlacedItem:
        body = body_box(item.patch)
        left_px = x_px + body.x_px
        truth = replace(
            item.truth,
            x_px=left_px + body.width_px / 2,
            belt_px=belt_px - body.y_px - body.height_px / 2,
            width_px=body.width_px,
            height_px=body.height_px,
            cut_lateral=left_px < self._spec.rails_px[0]
            or left_px + body.width_px > self._spec.width_px - self._spec.rails_px[1],
        )
        return PlacedItem(item.patch, truth, x_px, belt_px)


def sections_of(spec: BeltSpec) -> tuple[int, int, float]:
    """Return (loop length in px, sections in a loop, length of a section in px); 0, 0 for an endless belt."""
    aimed_px = float(_MIN_SECTION_PX)
    if spec.cherries_per_px > 0:
        aimed_px = max(1, round(_MIN_SECTION_PX * spec.cherries_per_px)) / spec.cherries_per_px
    loop_px = spec.ring * spec.advance_px
    if not loop_px:
        return 0, 0, min(aimed_px, 16.0 * _MIN_SECTION_PX)
    count = 2 * max(1, round(loop_px / aimed_px / 2))  # even, so that even and odd sections alternate at the seam too
    return loop_px, count, loop_px / count


def cherries_in(spec: BeltSpec, section: int) -> int:
    """Return the number of cherries of a section: uneven, with empty stretches; right on average, or over a loop."""
    _, loop_sections, section_px = sections_of(spec)
    weight = _weight(spec.seed, section)
    if loop_sections:
        weight *= loop_sections / sum(_weight(spec.seed, other) for other in range(loop_sections))
    spare = generator(spec.seed, Stream.LAYOUT, section, 1).random()
    return math.floor(section_px * spec.cherries_per_px * weight + spare)


def _weight(seed: int, section: int) -> float:
    """Return the relative density of a section, 1 on average."""
    stretch = section // _SECTIONS_IN_STRETCH
    if generator(seed, Stream.LAYOUT, stretch, 2).random() < 0.05:
        return 0.1
    return float(generator(seed, Stream.LAYOUT, section, 3).uniform(0.8, 1.2)) * (1.0 - 0.05 * 0.1) / 0.95


def _too_close(one: PlacedItem, other: PlacedItem) -> bool:
    return (
        one.x_px < other.x_px + other.patch.width_px + GAP_PX
        and other.x_px < one.x_px + one.patch.width_px + GAP_PX
        and one.belt_px > other.belt_px - other.patch.height_px - GAP_PX
        and other.belt_px > one.belt_px - one.patch.height_px - GAP_PX
    )


def _numbered(placed: PlacedItem, index: int, laid: list[PlacedItem]) -> PlacedItem:
    """Set an object's id to its index, and the id of its group to the index of the group's first object."""
    group = placed.truth.touching
    first = next((i for i, other in enumerate(laid) if other.truth.touching == group), None)
    return replace(placed, truth=replace(placed.truth, id=index, touching=None if group is None else first))


def _moved(placed: PlacedItem, shift_px: int, first_id: int) -> PlacedItem:
    truth = placed.truth
    moved = replace(
        truth,
        id=truth.id + first_id,
        belt_px=truth.belt_px + shift_px,
        touching=None if truth.touching is None else truth.touching + first_id,
    )
    return replace(placed, truth=moved, belt_px=placed.belt_px + shift_px)
