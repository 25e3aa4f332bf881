"""Emulates two cameras over an emulated belt: a ``Source`` that needs no hardware and knows the true objects.

It renders a frame when it is read, or renders a loop of frames at the start (``BeltSpec.ring``), so that reading costs
no time. ``surface`` renders frames and ``layout`` places objects; this module has clocks, buffers and faults.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pitcore.camera.source import Exposure, ExposureLimits
from pitcore.camera.truth import Truth
from pitcore.config import DisturbanceConfig
from pitcore.emulator.buffers import BufferRing, Planes
from pitcore.emulator.faults import Faults, Injected
from pitcore.emulator.layout import Layout
from pitcore.emulator.optics import LIMITS, SETTLE_FRAMES, Optics
from pitcore.emulator.spec import BeltSpec, RealCrops
from pitcore.emulator.stock import CropStock, ProceduralStock
from pitcore.emulator.surface import PLANES, Surface, View
from pitcore.errors import ConfigError, SourceError
from pitcore.frame import Frame, Geometry, Noise
from pitcore.health import CameraHealth

PLANE_NAMES = ("top", "bottom")


@dataclass(frozen=True, slots=True)
class Delivery:
    """How frames are delivered.

    Attributes:
        paced: True keeps ``frames_per_s``, so that a slow reader loses frames; False delivers a frame when it is read.
        buffers: number of frames that may be lent at a time.
        poison: overwrite released frames with 0xAA; in ring mode this costs a copy of each frame.
    """

    paced: bool = False
    buffers: int = 8
    poison: bool = False


class EmulatedSource:
    """Implements ``camera.source.Source`` and ``camera.source.Adjustable``.

    Args:
        spec: the belt.
        delivery: pace and buffers.
        faults: faults of frames to inject.
        crops: lay these real crops instead of procedural cherries.
        disturbance: faults of light, glass, alignment, belt or encoder to emulate.

    Attributes:
        injected: the faults injected so far, in the order of delivery.
        lost: frames that a paced source skipped because the reader was too slow.
    """

    def __init__(
        self,
        spec: BeltSpec | None = None,
        delivery: Delivery | None = None,
        faults: Faults | None = None,
        crops: RealCrops | None = None,
        disturbance: DisturbanceConfig | None = None,
    ) -> None:
        self._spec = spec or BeltSpec()
        self._delivery = delivery or Delivery()
        self._faults = None if faults is None or faults.none else faults
        stock = CropStock(self._spec, crops) if crops else ProceduralStock(self._spec)
        self._frames = self._spec.frames
        if isinstance(stock, CropStock) and self._frames is None and not self._spec.ring:
            self._frames = stock.frames_per_pass
        if self._delivery.buffers < 1:
            raise ConfigError(f"camera: buffers = {self._delivery.buffers}; at least one frame must be lent")
        if self._frames is None and self._faults and self._faults.dropped == 1.0:
            raise ConfigError("faults: dropped = 1.0 of an endless belt leaves nothing to read; lower it")
        self._layout = Layout(self._spec, stock)
        self._disturbance = disturbance or DisturbanceConfig()
        self._optics = Optics(self._spec, disturbance, PLANES)
        self._surface: Surface | None = None
        self._buffers: BufferRing | None = None
        self._loop: list[Planes] = []
        self._kept: Planes | None = None  # the picture that a frozen camera repeats
        self._index = 0
        self._repeat: int | None = None
        self._shown = -1  # number of the exposure that the last frame showed; -1 before the first
        self._start_ns = 0
        self._delivered = 0
        self._last_ns: int | None = None
        self.injected: list[Injected] = []
        self.lost = 0

    @property
    def geometry(self) -> Geometry:
        """Shape, plane names and belt scale of every frame."""
        return Geometry(PLANE_NAMES, self._spec.height_px, self._spec.width_px, self._spec.px_per_tick)

    @property
    def ring_bytes(self) -> int:
        """Size of the frames that it shows in a loop."""
        return self._spec.ring * len(PLANE_NAMES) * self._spec.height_px * self._spec.width_px

    @property
    def started_ns(self) -> int | None:
        """CLOCK_MONOTONIC at which the belt of a paced source started; None while it is stopped."""
        return self._start_ns or None

    @property
    def live(self) -> bool:
        """True if paced."""
        return self._delivery.paced

    @property
    def noise(self) -> Noise:
        """``sensor`` if the belt is rendered with sensor noise, else ``none``."""
        return "sensor" if self._spec.noise > 0 else "none"

    @property
    def frames(self) -> int | None:
        """Number of frames, or None if the source is endless."""
        return self._frames

    exposure_limits: ExposureLimits = LIMITS
    settle_frames: int = SETTLE_FRAMES

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        """See ``Adjustable.exposures``."""
        return self._optics.exposures

    def set_exposures(self, wanted: Sequence[Exposure]) -> None:
        """Set the exposures; see ``Adjustable.set_exposures``."""
        self._optics.set_exposures(wanted, self._index, running=self._surface is not None)

    def truths(self, first_tick: int, last_tick: int) -> list[Truth]:
        """Return every object that is at least partly in view at some tick of first..last, by rising id."""
        return [placed.truth for placed in self._layout.between(first_tick, last_tick)]

    def all_truths(self) -> list[Truth]:
        """Return every object that is in view in any frame of a finite source.

        Raises:
            SourceError: the belt is endless.
        """
        if self._frames is None:
            raise SourceError(
                "the belt is endless, and so is its truth; give a number of frames, or ask for a range of ticks"
            )
        if self._frames == 0:
            return []
        return self.truths(self._spec.tick_of(0), self._spec.tick_of(self._frames - 1))

    def start(self) -> None:
        """Allocate buffers and, in ring mode, draw the loop. Restarts if started before."""
        spec = self._spec
        self._surface = Surface(spec, self._layout)
        shape = (PLANES, spec.height_px, spec.width_px)
        self._buffers = BufferRing(self._delivery.buffers, shape, poison=self._delivery.poison)
        self._loop = [self._draw_for_loop(index, shape) for index in range(spec.ring)]
        self._index, self._repeat, self._shown, self.lost = 0, None, -1, 0
        self._kept = None
        self.injected = []
        self._start_ns = time.monotonic_ns() if self._delivery.paced else 0

    def read(self, timeout_s: float) -> Frame | None:
        """Lend the next frame; see ``Source.read``."""
        if self._surface is None:
            raise SourceError("the emulated camera is not started; call start first")
        deadline_ns = time.monotonic_ns() + round(timeout_s * 1e9)
        fault = self._next_delivered()
        if self._frames is not None and self._index >= self._frames:
            return None
        if self._delivery.paced:
            self._wait_for_exposure(deadline_ns)
        index = self._index
        shown = self._shown if fault == "stuck" else index
        planes, release = self._lend(shown, fault, deadline_ns)
        self._shown = shown
        if fault:
            self.injected.append(Injected(index, fault))
        self._repeat = index if fault == "duplicated" else None
        if fault != "duplicated":
            self._index += 1
        t_ns, tick = self._stamps(index, fault)
        self._delivered, self._last_ns = self._delivered + 1, time.monotonic_ns()
        return Frame(index, t_ns, tick, planes, release)

    def health(self) -> tuple[CameraHealth, ...]:
        """Report both emulated cameras as one, because they fail together; see ``Source.health``."""
        dropped = sum(fault.kind == "dropped" for fault in self.injected)
        causes = {"injected": dropped, "reader_slow": self.lost}
        lost = {cause: count for cause, count in causes.items() if count}
        due = self._frames is None or self._index < self._frames
        return (CameraHealth("emulated", PLANE_NAMES, self._delivered, self._last_ns, due, lost),)

    def close(self) -> None:
        """Free the buffers; borrowed frames stay readable."""
        self._surface = None
        self._buffers = None
        self._loop = []

    def _next_delivered(self) -> str | None:
        """Skip dropped frames and frames that a slow reader lost. Return the fault of the next frame, if any."""
        if self._delivery.paced:
            late = (time.monotonic_ns() - self._start_ns) * self._spec.frames_per_s / 1e9 - self._index
            if late > self._delivery.buffers:  # a real camera keeps that many frames and drops the others
                # The last frame is never skipped: it stays in the buffers, and no later frame could show the gap.
                left = int(late) if self._frames is None else max(0, self._frames - 1 - self._index)
                skipped = min(int(late), left)
                self.lost += skipped
                self._index += skipped
                self._repeat = None
        while self._faults and (self._frames is None or self._index < self._frames):
            fault = self._faults.of(self._index)
            if fault != "dropped":
                return self._effective(fault)
            self.injected.append(Injected(self._index, fault))
            self._index += 1
        return None

    def _effective(self, fault: str | None) -> str | None:
        """Return the fault that can happen here: a first frame cannot be stuck, a repeated one is not repeated again.

        An empty string means that the repetition of a duplicated frame is delivered.
        """
        if fault == "stuck" and self._shown < 0:
            return None
        return "" if fault == "duplicated" and self._repeat == self._index else fault

    def _wait_for_exposure(self, deadline_ns: int) -> None:
        exposed_ns = self._start_ns + round(self._index * 1e9 / self._spec.frames_per_s)
        wait_ns = min(exposed_ns, deadline_ns) - time.monotonic_ns()
        if wait_ns > 0:
            time.sleep(wait_ns / 1e9)
        if exposed_ns > deadline_ns:
            raise SourceError("the emulated camera: no frame within the time allowed; allow more than a frame's period")

    def _stamps(self, index: int, fault: str | None) -> tuple[int, int]:
        """Return (t_ns, tick) of a frame."""
        t_ns = self._start_ns + round(index * 1e9 / self._spec.frames_per_s)
        late_ns, off_ticks = self._faults.jitter_of(index) if self._faults and fault == "jitter" else (0, 0)
        dead = self._disturbance.encoder == "dead" and self._disturbance.holds(index)
        return t_ns + late_ns, self._spec.tick_of(self._disturbance.first if dead else index) + off_ticks

    def _lend(self, shown: int, fault: str | None, deadline_ns: int) -> tuple[Planes, Callable[[], None]]:
        """Return planes that show an exposure, and the function that releases them."""
        altered = self._view(shown) is not None or self._optics.alters(shown) or self._freezes(shown)
        altered = altered or self._swaps(shown) or fault in {"black", "white", "torn"}
        if self._loop and not self._delivery.poison and not altered:
            return self._loop[shown % len(self._loop)], _nothing
        if self._buffers is None:
            raise SourceError("the emulated camera is closed; call start first")
        taken = self._buffers.take(max(0.0, (deadline_ns - time.monotonic_ns()) / 1e9))
        if taken is None:
            raise SourceError(
                f"the emulated camera: all {self._buffers.count} buffers are lent; release frames, or raise buffers"
            )
        planes, release = taken
        if fault in {"black", "white"}:
            for plane in planes:
                plane.fill(0 if fault == "black" else 255)
        else:
            self._draw(planes, shown)
        if fault == "torn":
            self._tear(planes, shown)
        return planes, release

    def _draw(self, planes: Planes, index: int) -> None:
        """Fill planes with a frame from the loop or the belt, and apply the disturbances of light and camera."""
        view = self._view(index)
        seen = planes[::-1] if self._swaps(index) else planes
        if view is not None and self._surface is not None:
            stopped = self._disturbance.belt == "stands"
            tick = self._spec.tick_of(self._disturbance.first if stopped else index)
            self._surface.render(seen, tick, index, view)
        elif self._loop:
            for plane, drawn in zip(seen, self._loop[index % len(self._loop)], strict=True):
                np.copyto(plane, drawn)  # copies: changes to this frame must not change the loop
        elif self._surface is not None:
            self._surface.render(seen, self._spec.tick_of(index), index)
        if self._optics.alters(index):
            self._optics.apply(planes, index)
        if self._freezes(index):
            self._kept = self._kept or tuple(plane.copy() for plane in planes)  # copies: the buffers are reused
            for plane, kept, frozen in zip(planes, self._kept, self._disturbance.frozen, strict=True):
                if frozen:
                    np.copyto(plane, kept)

    def _freezes(self, index: int) -> bool:
        return any(self._disturbance.frozen) and self._disturbance.holds(index)

    def _swaps(self, index: int) -> bool:
        return self._disturbance.swapped and self._disturbance.holds(index)

    def _view(self, index: int) -> View | None:
        """Return the view under a disturbance of alignment or belt; None if there is none."""
        wrong = self._disturbance
        if not wrong.holds(index) or (wrong.shift_px, wrong.shows, wrong.belt) == ((0, 0), "all", "runs"):
            return None
        return View(wrong.shift_px, "" if wrong.shows == "all" else wrong.shows)

    def _tear(self, planes: Planes, index: int) -> None:
        """Replace the upper 40 % of the rows by rows of the next frame."""
        after = tuple(np.empty_like(plane) for plane in planes)
        self._draw(after, index + 1)
        cut = self._spec.height_px * 2 // 5
        for plane, later in zip(planes, after, strict=True):
            plane[:cut] = later[:cut]

    def _draw_for_loop(self, index: int, shape: tuple[int, int, int]) -> Planes:
        planes = tuple(np.empty(shape[1:], np.uint8) for _ in range(shape[0]))
        if self._surface is not None:
            self._surface.render(planes, self._spec.tick_of(index), index)
        for plane in planes:
            plane.flags.writeable = False  # lent many times: must not be changed
        return planes


def _nothing() -> None:
    return None
