"""Applies lamps, glass and exposure to an emulated frame after it was rendered.

Knows neither the belt nor a clock. The sensor's dark noise stays: a plane without light is dark noise, not zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pitcore.camera.source import Exposure, ExposureLimits
from pitcore.config import DisturbanceConfig
from pitcore.emulator.seeds import Stream, generator
from pitcore.emulator.spec import BeltSpec
from pitcore.errors import SourceError

REFERENCE = Exposure(1000.0, 1.0)  # with it the emulated cherries are as bright as real ones
LIMITS = ExposureLimits(20.0, 8000.0, 16.0)
SETTLE_FRAMES = 3  # like real cameras
_SPARE_PX = 32  # the floor's noise tile is this much larger than a frame


class Optics:
    """Light and glass between the belt and the two emulated sensors.

    Args:
        spec: the belt.
        disturbance: faults to emulate, if any.
        planes: number of planes.
    """

    def __init__(self, spec: BeltSpec, disturbance: DisturbanceConfig | None, planes: int) -> None:
        self._spec, self._disturbance = spec, disturbance or DisturbanceConfig()
        self._wanted = (REFERENCE,) * planes
        self._before = self._wanted
        self._settled_at = 0  # frame from which on the wanted exposures show
        self._across = np.linspace(-1.0, 1.0, spec.width_px) ** 2  # 0 in the middle, 1 at the edges
        self._floor: NDArray[np.uint8] | None = None

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        """The last requested exposures."""
        return self._wanted

    def set_exposures(self, wanted: Sequence[Exposure], index: int, *, running: bool) -> None:
        """Set exposures that take effect ``SETTLE_FRAMES`` frames after frame ``index``. Raises SourceError."""
        for exposure in wanted:
            if not (LIMITS.min_us <= exposure.exposure_us <= LIMITS.max_us and 1.0 <= exposure.gain <= LIMITS.max_gain):
                raise SourceError(
                    f"the emulated camera: {exposure.exposure_us:g} us at gain {exposure.gain:g} is beyond "
                    f"{LIMITS.min_us:g}..{LIMITS.max_us:g} us and 1..{LIMITS.max_gain:g}; ask for less"
                )
        if len(wanted) != len(self._wanted):
            raise SourceError(
                f"the emulated camera: {len(wanted)} exposures for {len(self._wanted)} planes; give each one"
            )
        self._before = self._shown(index)
        self._wanted = tuple(wanted)
        self._settled_at = index + SETTLE_FRAMES if running else index

    def shares(self, index: int) -> tuple[float, ...]:
        """Return the brightness factor of each plane of a frame; 1 is as rendered."""
        wrong = self._disturbance
        progress = 0.0
        if wrong.holds(index):
            progress = min(1.0, (index - wrong.first + 1) / wrong.dim_frames) if wrong.dim_frames else 1.0
        lamps = (1.0 + (share - 1.0) * progress for share in wrong.light)
        reference = REFERENCE.exposure_us * REFERENCE.gain
        return tuple(
            lamp * one.exposure_us * one.gain / reference for lamp, one in zip(lamps, self._shown(index), strict=True)
        )

    def alters(self, index: int) -> bool:
        """Return True if ``apply`` would change the frame."""
        wrong = self._disturbance
        glass = wrong.holds(index) and (wrong.edge_light != (1.0, 1.0) or bool(wrong.spots))
        return glass or any(share != 1.0 for share in self.shares(index))

    def apply(self, planes: tuple[NDArray[np.uint8], ...], index: int) -> None:
        """Change rendered (height, width) uint8 planes in place into the sensors' output."""
        wrong = self._disturbance
        holds = wrong.holds(index)
        edges = wrong.edge_light if holds else (1.0, 1.0)
        for plane, share, edge in zip(planes, self.shares(index), edges, strict=True):
            if (share, edge) != (1.0, 1.0):
                factor = np.rint(256.0 * share * (1.0 - (1.0 - edge) * self._across)).astype(np.uint32)
                plane[:] = np.minimum((plane * factor + 128) >> 8, 255)
                np.maximum(plane, self._floor_of(index), out=plane)
        for spot in wrong.spots if holds else ():
            _soil(planes[spot.plane], (spot.x_px, spot.y_px, spot.radius_px), spot.share, spot.glow)

    def _shown(self, index: int) -> tuple[Exposure, ...]:
        return self._wanted if index >= self._settled_at else self._before

    def _floor_of(self, index: int) -> NDArray[np.uint8]:
        """Return the dark noise of a frame, (height, width) uint8."""
        rows, columns = self._spec.height_px, self._spec.width_px
        if self._floor is None:
            rng = generator(self._spec.seed, Stream.NOISE, -1 % 2**32)
            noise = rng.standard_normal((rows + _SPARE_PX, columns + _SPARE_PX), dtype=np.float32) * self._spec.noise
            self._floor = np.rint(np.clip(noise, 0.0, 100.0)).astype(np.uint8)
        y, x = generator(self._spec.seed, Stream.NOISE, index, 1).integers(0, _SPARE_PX, 2)
        return self._floor[y : y + rows, x : x + columns]


def _soil(plane: NDArray[np.uint8], place: tuple[int, int, int], share: float, glow: int) -> None:
    """Draw a dirty spot, a disc (x, y, radius), on a plane: it transmits a share of the light and adds ``glow``."""
    x, y, radius = place
    top, left = max(0, y - radius), max(0, x - radius)
    here = plane[top : y + radius + 1, left : x + radius + 1]
    rows, columns = np.ogrid[top : top + here.shape[0], left : left + here.shape[1]]
    disc = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    here[disc] = np.minimum(here[disc] * share + glow, 255).astype(np.uint8)
