"""Supplies the objects on the belt: procedural cherries with leaves, stems and stones, or real crops."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from pitcore.camera.crops import LABELS, crop_hash, labelled_files, read_crop
from pitcore.camera.truth import Truth
from pitcore.emulator.cherry import Cherry, render_cherry
from pitcore.emulator.foreign import render_foreign
from pitcore.emulator.layout import Item, cherries_in, sections_of
from pitcore.emulator.patch import Patch, touching_offset, trimmed
from pitcore.emulator.seeds import Stream, generator
from pitcore.emulator.spec import BeltSpec, RealCrops

_UNPLACED = Truth(id=0, kind="cherry", label="", x_px=0.0, belt_px=0.0, width_px=0, height_px=0)


def draw_cherry(seed: int, section: int, index: int, pit_share: float) -> Cherry:
    """Draw a cherry of a belt. Equal arguments give equal pixels; the size of the frame has no influence."""
    rng = generator(seed, Stream.OBJECT, section, index)
    return render_cherry(rng, int(rng.random() < pit_share))


class ProceduralStock:
    """Supplies cherries drawn from the belt's seed, some of them touching, and foreign objects between them."""

    may_be_cut = True

    def __init__(self, spec: BeltSpec) -> None:
        self._spec = spec

    def groups(self, section: int, rng: np.random.Generator) -> Iterator[tuple[Item, ...]]:
        """Yield the section's cherries, then its foreign objects."""
        share = self._spec.touching_share
        left, index = cherries_in(self._spec, section), 0
        foreign = int(rng.binomial(left, self._spec.foreign_share))
        while left > 0:
            pair = left > 1 and rng.random() < share / (2.0 - share)
            yield self._pair(section, index) if pair else (self._cherry(section, index, None),)
            left -= 2 if pair else 1
            index += 2 if pair else 1
        for number in range(foreign):
            yield (self._foreign(section, index + number),)

    def _cherry(self, section: int, index: int, group: int | None) -> Item:
        cherry = draw_cherry(self._spec.seed, section, index, self._spec.pit_share)
        label = LABELS[cherry.label]
        truth = replace(_UNPLACED, label=label, touching=group, pit_visibility=cherry.pit_visibility)
        return Item(cherry.patch, truth)

    def _pair(self, section: int, index: int) -> tuple[Item, ...]:
        first, second = self._cherry(section, index, index), self._cherry(section, index + 1, index)
        angle = generator(self._spec.seed, Stream.OBJECT, section, index, 1).uniform(0.0, 2 * np.pi)
        dx_px, dy_px = touching_offset(first.patch.pixels, second.patch.pixels, float(angle))
        left_px, top_px = min(dx_px, 0), min(dy_px, 0)
        return (
            Item(first.patch, first.truth, -left_px, -top_px),
            Item(second.patch, second.truth, dx_px - left_px, dy_px - top_px),
        )

    def _foreign(self, section: int, index: int) -> Item:
        rng = generator(self._spec.seed, Stream.OBJECT, section, index)
        return Item(Patch(render_foreign(rng)), replace(_UNPLACED, kind="foreign"))


class CropStock:
    """Supplies real crops, each once in a pass, in an order shuffled by the belt's seed. Reads them when needed.

    Args:
        spec: the belt; with ``frames`` None and no ring there is one pass and then an empty belt.
        crops: the folder of the crops and their number.

    Raises:
        DataError: the folder or one of its classes is missing or empty.
    """

    may_be_cut = False

    def __init__(self, spec: BeltSpec, crops: RealCrops) -> None:
        self._spec = spec
        self._folder = crops.folder
        self._names = labelled_files(crops.folder)
        self._limit = len(self._names) if crops.limit is None else max(1, min(crops.limit, len(self._names)))
        self._chosen = generator(spec.seed, Stream.SHUFFLE).permutation(len(self._names))[: self._limit]
        _, _, self._section_px = sections_of(spec)
        self._per_section = max(1, round(self._section_px * spec.cherries_per_px))
        # A loop's sections are numbered from 0; any other pass begins just before the cameras' view at the first tick.
        self._first_section = 0 if spec.ring else math.ceil(spec.shift_px(spec.start_tick) / self._section_px)
        self._single_pass = spec.frames is None and not spec.ring
        self._order = lru_cache(maxsize=4)(self._order_uncached)

    @property
    def frames_per_pass(self) -> int:
        """Number of frames from an empty belt until every crop was completely in view."""
        sections = self._first_section - (-self._limit // self._per_section)
        travel_px = sections * self._section_px - self._spec.shift_px(self._spec.start_tick)
        return int((travel_px + self._spec.height_px) // self._spec.advance_px) + 1

    def groups(self, section: int, rng: np.random.Generator) -> Iterator[tuple[Item, ...]]:
        """Yield the section's crops; before the first section the belt is empty."""
        del rng  # the shuffle alone determines the order of the crops
        first = (section - self._first_section) * self._per_section
        for number in range(max(first, 0), first + self._per_section):
            lap, position = divmod(number, self._limit)
            if lap and self._single_pass:
                return
            yield (self._crop(self._names[self._order(lap)[position]]),)

    def _order_uncached(self, lap: int) -> list[int]:
        order = generator(self._spec.seed, Stream.SHUFFLE, lap + 1).permutation(self._limit)
        return [int(self._chosen[i]) for i in order]

    def _crop(self, name: tuple[int, Path]) -> Item:
        label, path = name
        pixels = read_crop(path)
        truth = replace(
            _UNPLACED,
            label=LABELS[label],
            pit_visibility=float(label),
            path=path.relative_to(self._folder).as_posix(),
            hash=crop_hash(pixels),
        )
        return Item(Patch(trimmed(pixels), exact=True), truth)
