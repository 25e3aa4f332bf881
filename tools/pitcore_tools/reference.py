"""Provides the reference load in memory, and pitcore's search over it, as the baseline of benchmarks."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from pitcore.config import Config, EmulatedSourceConfig
from pitcore.emulator.emulated import Delivery, EmulatedSource
from pitcore.loop.sources import belt_spec
from pitcore.preprocess.prepare import CropSpec, Preparer, SegmentSpec, aligned_batch

RING = 24  # frames, 59 MB: more than the caches of any board and of most servers
BATCH = 24  # cherries in view at the reference load
CAPACITY = 256

Planes = tuple[NDArray[np.uint8], ...]


class OurSearch:
    """Runs pitcore's search and extraction, with buffers that are allocated once.

    Args:
        config: configuration, for frame and segmentation.
        size_px: side of a crop.
    """

    def __init__(self, config: Config, size_px: int) -> None:
        frame, rule = config.frame, config.segmentation
        segment = SegmentSpec(rule.background, rule.threshold, rule.polarity, rule.combine, rule.min_area_px)
        crop = CropSpec(size_px, "centre", len(frame.planes))
        self._preparer = Preparer(frame.height_px, frame.width_px, segment, crop)
        self._out = aligned_batch(CAPACITY, (size_px, size_px, len(frame.planes)), np.uint8)

    def run(self, planes: Planes) -> tuple[NDArray[np.void], NDArray[np.uint8]]:
        """Return things and (N, S, S, P) uint8 crops: views, valid until the next call."""
        things = self._preparer.segment(planes)
        self._preparer.extract(planes, np.arange(len(things), dtype=np.int32), self._out[: len(things)])
        return things, self._out[: len(things)]


def ring(config: Config, advance_px: int) -> list[Planes]:
    """Render the frames of the reference load."""
    config = at_belt(config, EmulatedSourceConfig(advance_px=advance_px))
    source = EmulatedSource(belt_spec(config, frames=RING, ring=0), Delivery())
    source.start()
    frames = []
    while (frame := source.read(1.0)) is not None:
        with frame:
            frames.append(tuple(plane.copy() for plane in frame.planes))  # copies: the source reuses its buffers
    source.close()
    return frames


def copied(room: Planes, planes: Planes) -> None:
    """Copy a frame's planes into ``room``."""
    for to, plane in zip(room, planes, strict=True):
        np.copyto(to, plane)  # copies: a plain copy is the baseline of the comparison


def at_belt(config: Config, belt: EmulatedSourceConfig, threads: int = 1) -> Config:
    """Return the configuration with an emulated belt as source, and a number of threads."""
    runtime = msgspec.structs.replace(config.runtime, threads=threads)
    return msgspec.structs.replace(config, source=belt, runtime=runtime)
