"""Builds the source of frames that a configuration names, and checks that its geometry fits the configuration.

Only this module and ``pitcore.loop.app`` build concrete sources.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TypedDict

from pitcore.belt.encoder import Encoder
from pitcore.camera.picamera import PicameraSource
from pitcore.camera.recording import read_manifest
from pitcore.camera.replay import ReplaySource
from pitcore.camera.source import Adjustable, Exposure, Source
from pitcore.camera.ticks import ConstantSpeed
from pitcore.camera.uvc import UvcSource
from pitcore.camera.video import VideoSource
from pitcore.config import (
    CameraSourceConfig,
    Config,
    DisturbanceConfig,
    EmulatedSourceConfig,
    Picamera2SourceConfig,
    ReplaySourceConfig,
    SourceConfig,
    UvcSourceConfig,
    VideoSourceConfig,
)
from pitcore.config.address import is_address
from pitcore.emulator.emulated import Delivery, EmulatedSource
from pitcore.emulator.spec import BeltSpec, RealCrops, Strip
from pitcore.errors import ConfigError, RecordingError, SourceError
from pitcore.frame import Geometry
from pitcore.loop.capture import SILENT_S


def belt_spec(config: Config, *, frames: int | None, ring: int, seed: int | None = None) -> BeltSpec:
    """Return the emulated belt of a configuration; with another configured source, one with the reference load.

    Args:
        config: the configuration; its frame size and belt scale are always used.
        frames: number of frames; None is endless.
        ring: number of frames to render at the start and repeat; 0 renders each frame when it is read.
        seed: replaces the configured seed if given.

    Raises:
        ConfigError: the values do not make a belt.
    """
    belt = config.source if isinstance(config.source, EmulatedSourceConfig) else EmulatedSourceConfig()
    return BeltSpec(
        height_px=config.frame.height_px,
        width_px=config.frame.width_px,
        seed=belt.seed if seed is None else seed,
        cherries_per_frame=belt.cherries_per_frame,
        pit_share=belt.pit_share,
        advance_px=belt.advance_px,
        px_per_tick=belt.true_px_per_tick or config.belt.px_per_tick,
        frames_per_s=belt.frames_per_s,
        frames=frames,
        ring=ring,
        belt_level=belt.belt_level,
        **_strips(config),
    )


class _Strips(TypedDict):
    """The arguments of ``BeltSpec`` for reference strips."""

    strips: tuple[Strip, ...]
    rails_px: tuple[int, int]


def _strips(config: Config) -> _Strips:
    """Return the configured reference strips as the emulated belt renders them, and the widths that they take."""
    names, height_px, width_px = config.frame.planes, config.frame.height_px, config.frame.width_px
    reference = config.line.reference
    drawn = (Strip(names.index(one.plane), one.rows(height_px), one.columns) for one in reference)
    left_px = (one.edge_px(width_px) for one in reference if one.is_left(width_px))
    right_px = (one.edge_px(width_px) for one in reference if not one.is_left(width_px))
    return {"strips": tuple(drawn), "rails_px": (max(left_px, default=0), max(right_px, default=0))}


def emulated_belt(config: Config, *, frames: int | None, seed: int | None, crops: Path | None) -> EmulatedSource:
    """Build an emulated belt that delivers a frame when it is read.

    Args:
        config: size, load and scale of the belt.
        frames: number of frames; None is one pass over the crops.
        seed: replaces the configured seed if given.
        crops: folder of real crops to lay instead of procedural cherries.

    Raises:
        ConfigError: the values do not make a belt.
        DataError, ImageError: the crops cannot be used.
    """
    spec = belt_spec(config, frames=frames, ring=0, seed=seed)
    laid = None if crops is None else RealCrops(crops)
    return EmulatedSource(spec, crops=laid, disturbance=_disturbance(config))


def build_source(config: Config, encoder: Encoder | None = None) -> Source:
    """Build the configured source for the service.

    Args:
        config: configuration of the board.
        encoder: gives the ticks of camera frames; without one, they are computed from the configured belt speed.

    Raises:
        PitcoreError: a camera is missing, or a value does not fit.
    """
    if isinstance(config.source, ReplaySourceConfig):
        return ReplaySource(Path(config.source.path), paced=config.source.paced)
    if isinstance(config.source, CameraSourceConfig):
        return _camera_source(config, config.source, encoder)
    spec = belt_spec(config, frames=None, ring=config.source.ring_frames)
    return EmulatedSource(spec, Delivery(paced=True), disturbance=_disturbance(config))


def check_recorded(source: SourceConfig) -> None:
    """Refuse a recording or a film that is not there. Raises ConfigError."""
    if isinstance(source, ReplaySourceConfig):
        try:
            read_manifest(Path(source.path))
        except RecordingError as error:
            raise ConfigError(f"[source] path: {error}") from error
    elif isinstance(source, VideoSourceConfig) and not is_address(source.path) and not Path(source.path).exists():
        raise ConfigError(f"[source] path: {source.path}: No such file or directory; name a film")


def _disturbance(config: Config) -> DisturbanceConfig | None:
    return config.source.disturbance if isinstance(config.source, EmulatedSourceConfig) else None


def _camera_source(config: Config, source: CameraSourceConfig, encoder: Encoder | None) -> Source:
    """Build the source of real cameras, or of a film."""
    frame = config.frame
    geometry = Geometry(frame.planes, frame.height_px, frame.width_px, config.px_per_tick)
    if encoder is None and source.px_per_s is None:
        raise ConfigError("[source] px_per_s: without an encoder the belt's speed must be given, in pixels a second")
    ticks = encoder or ConstantSpeed(source.px_per_s or 0.0, config.belt.px_per_tick)
    if isinstance(source, Picamera2SourceConfig):
        return PicameraSource(source, geometry, ticks)
    if isinstance(source, UvcSourceConfig):
        return UvcSource(source, geometry, ticks)
    return VideoSource(source, geometry, ticks)


def set_exposures(source: Source, config: Config) -> None:
    """Set the calibrated exposures, if there are any and the source can be adjusted.

    Raises:
        SourceError: a camera refuses; the previous exposures are set again.
    """
    values = config.calibration.values
    if values is None or not isinstance(source, Adjustable):
        return
    planes = [values.planes[name] for name in config.frame.planes]
    pairs = [(plane.exposure_us, plane.gain) for plane in planes]
    wanted = [
        Exposure(exposure_us, gain) for exposure_us, gain in pairs if exposure_us is not None and gain is not None
    ]
    before = source.exposures
    if len(wanted) == len(planes) and tuple(wanted) != before:
        try:
            source.set_exposures(wanted)
        except SourceError:
            with contextlib.suppress(SourceError):  # the first of two cameras may have accepted its exposure
                source.set_exposures(before)
            raise


def silent_s(config: Config) -> float:
    """Return ``silent_s`` of ``Capture`` for a configuration, in seconds."""
    startup_s = config.source.startup_s if isinstance(config.source, Picamera2SourceConfig) else 0.0
    return max(SILENT_S, 2 * startup_s)  # longer than the camera's own limit, whose error is more precise


def check_geometry(config: Config, found: Geometry) -> None:
    """Check that the geometry of a source is that of the configuration. Raises ConfigError."""
    frame, px_per_tick = config.frame, config.belt.px_per_tick
    if config.px_per_tick != px_per_tick:  # calibrated: the source's scale is not compared
        px_per_tick = found.px_per_tick
    elif isinstance(config.source, EmulatedSourceConfig):
        px_per_tick = config.source.true_px_per_tick or px_per_tick
    expected = Geometry(frame.planes, frame.height_px, frame.width_px, px_per_tick)
    if found != expected:
        raise ConfigError(
            f"the source gives {_describe(found)}, but the configuration says {_describe(expected)}; "
            "set [frame] and [belt] to what the source gives"
        )


def _describe(geometry: Geometry) -> str:
    names = ", ".join(geometry.plane_names)
    return f"planes {names} of {geometry.height_px}x{geometry.width_px} px at {geometry.px_per_tick:g} px a tick"
