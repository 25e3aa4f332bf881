"""Defines ``[source]`` of real cameras: ``kind = "picamera2"``, ``"uvc"`` and ``"video"``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from pitcore.config.section import MAX_SIDE_PX, Belt, Section
from pitcore.config.stages import FrameConfig, RuntimeConfig

BUFFERS_BESIDE_QUEUE = 6  # three may wait for their partners, one is being judged, two are with the sensor
Channel = Literal["luma", "red", "green", "blue"]
Pixel = Annotated[int, Meta(ge=0, le=4 * MAX_SIDE_PX)]  # a sensor may be larger than what it is read out as
FramesPerS = Annotated[float, Meta(gt=0.0, le=1000.0)]
BeltSpeed = Annotated[float, Meta(gt=0.0, le=1e6)]


class CameraConfig(Section, frozen=True):
    """One camera on the board's ribbon cable.

    Attributes:
        id: libcamera's, as ``rpicam-hello --list-cameras`` prints it. It names the connector, so it does not change; a
            camera's number may change.
        planes: which planes of ``[frame]`` it gives.
        channels: the source of each plane. ``luma`` is read from the camera's buffer; a colour is copied.
        exposure_us: locked for every frame. With an external trigger it is the length of the pulse.
        gain: analogue, locked for every frame.
        colour_gains: of red and blue, locked; a mono sensor has none.
        flip: mirrored left to right (``horizontal``), top to bottom (``vertical``), or turned by half (``both``).
        window_px: column and row of the camera's picture where the frame begins.
        sensor_crop_px: x, y, width, height of the part of the sensor that makes the picture; none uses the whole
            sensor.
    """

    id: Annotated[str, Meta(min_length=1)]
    planes: Annotated[tuple[str, ...], Meta(min_length=1, max_length=4)]
    channels: tuple[Channel, ...] = ("luma",)
    exposure_us: Annotated[int, Meta(ge=10, le=1_000_000)] = 500
    gain: Annotated[float, Meta(ge=1.0, le=64.0)] = 1.0
    colour_gains: tuple[Annotated[float, Meta(ge=0.0, le=32.0)], Annotated[float, Meta(ge=0.0, le=32.0)]] = (1.0, 1.0)
    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    window_px: tuple[Pixel, Pixel] = (0, 0)
    sensor_crop_px: tuple[Pixel, Pixel, Pixel, Pixel] | None = None

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.planes):
            raise ValueError(f"channels has {len(self.channels)} values for {len(self.planes)} planes; one for each")
        if "luma" in self.channels and set(self.channels) != {"luma"}:
            raise ValueError("channels: a camera is read out in grey (luma) or in colour, not in both")
        if self.sensor_crop_px is not None and min(self.sensor_crop_px[2:]) < 1:
            raise ValueError("sensor_crop_px has no area; give x, y, width, height")


class Picamera2SourceConfig(Section, frozen=True, tag_field="kind", tag="picamera2"):
    """One or two cameras of a Raspberry Pi, by libcamera.

    Attributes:
        cameras: each gives some planes of ``[frame]``, together all of them.
        frames_per_s: locked; with an external trigger the highest rate.
        picture_px: width and height of the cameras' pictures; both even. None: those of the frame.
        buffers: frame buffers of each camera, between sensor and verdict.
        trigger: ``external`` if pulses expose the cameras, as the global-shutter IMX296 can.
        trigger_ticks: encoder ticks from pulse to pulse.
        sync: ``software`` lets libcamera synchronise two free-running cameras.
        pair_within_us: largest time between the exposures of a pair; None is half a frame's time.
        startup_s: longest time until every camera has reached exposure, gain and frame time.
        px_per_s: speed of the belt, for a board without an encoder.
    """

    belt: ClassVar[Belt] = "real"
    extra: ClassVar[str | None] = None  # picamera2 is a package of the system
    cameras: Annotated[tuple[CameraConfig, ...], Meta(min_length=1, max_length=2)]
    frames_per_s: FramesPerS = 20.0
    picture_px: tuple[Pixel, Pixel] | None = None
    buffers: Annotated[int, Meta(ge=4, le=64)] = 8
    trigger: Literal["none", "external"] = "none"
    trigger_ticks: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    sync: Literal["none", "software"] = "none"
    pair_within_us: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    startup_s: Annotated[float, Meta(gt=0.0, le=60.0)] = 5.0
    px_per_s: BeltSpeed | None = None

    def __post_init__(self) -> None:
        ids = [camera.id for camera in self.cameras]
        if len(set(ids)) != len(ids):
            raise ValueError(f"two cameras have the id {ids[0]}; each connector has one of its own")
        if (self.trigger == "external") != (self.trigger_ticks is not None):
            raise ValueError('trigger = "external" and trigger_ticks belong together: give both, or neither')
        if self.trigger == "external" and self.sync == "software":
            raise ValueError('sync = "software" is for free-running cameras; the trigger already synchronises them')
        if self.picture_px is not None and (min(self.picture_px) < 16 or any(side % 2 for side in self.picture_px)):
            raise ValueError("picture_px: width and height are even, and 16 at least")
        for camera in self.cameras:
            if camera.exposure_us >= self.frame_us:
                raise ValueError(
                    f"exposure_us = {camera.exposure_us} is not below a frame's {self.frame_us} us at frames_per_s = "
                    f"{self.frames_per_s:g}; lower exposure_us or frames_per_s"
                )
        if self.pair_within_us is not None and 2 * self.pair_within_us > self.frame_us:
            raise ValueError(
                f"pair_within_us = {self.pair_within_us} is more than half a frame's {self.frame_us} us at "
                f"frames_per_s = {self.frames_per_s:g}: pairs would not be unique; lower it to at most "
                f"{self.frame_us // 2}"
            )

    @property
    def frame_us(self) -> int:
        """Return the time from frame to frame."""
        return round(1e6 / self.frames_per_s)

    @property
    def plane_names(self) -> tuple[str, ...]:
        """Every plane, camera by camera."""
        return tuple(plane for camera in self.cameras for plane in camera.planes)

    def check_fits(self, frame: FrameConfig, runtime: RuntimeConfig) -> None:
        """Raise ValueError if the cameras do not give the configured frames, or have too few buffers."""
        if sorted(self.plane_names) != sorted(frame.planes):
            raise ValueError(
                f"source.cameras give the planes {', '.join(self.plane_names)}, but frame.planes are "
                f"{', '.join(frame.planes)}"
            )
        picture = self.picture_for(frame.width_px, frame.height_px)
        for camera in self.cameras:
            check_window(camera.window_px, picture, frame)
        needed = runtime.queue_frames + BUFFERS_BESIDE_QUEUE
        if self.buffers < needed:
            raise ValueError(
                f"source.buffers = {self.buffers}: at least {needed} for runtime.queue_frames = "
                f"{runtime.queue_frames}, or frames that wait for the loop use all of them"
            )

    def picture_for(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Return width and height to read out for a frame of that size: sizes are even."""
        return self.picture_px or (width_px + width_px % 2, height_px + height_px % 2)


def check_window(window_px: tuple[int, int], picture_px: tuple[int, int], frame: FrameConfig) -> None:
    """Raise ValueError if a frame does not fit into its picture."""
    column, row = window_px
    if column + frame.width_px > picture_px[0] or row + frame.height_px > picture_px[1]:
        raise ValueError(
            f"window_px = [{column}, {row}]: a frame of {frame.width_px} x {frame.height_px} px from there does "
            f"not fit into a picture of {picture_px[0]} x {picture_px[1]}"
        )


def check_channels(channels: tuple[Channel, ...], frame: FrameConfig) -> None:
    """Raise ValueError if there is not one channel for each plane."""
    if len(channels) != len(frame.planes):
        raise ValueError(f"source.channels has {len(channels)} values, but frame.planes names {len(frame.planes)}")


class UvcSourceConfig(Section, frozen=True, tag_field="kind", tag="uvc"):
    """One camera on USB, by the kernel's Video4Linux.

    Attributes:
        device: as ``v4l2-ctl --list-devices`` prints it; names below ``/dev/v4l/by-id`` do not change.
        channels: the source of each plane of ``[frame]``.
        frames_per_s: requested from the camera.
        picture_px: width and height requested from the camera; None: those of the frame.
        window_px: column and row of the camera's picture where the frame begins.
        pixel_format: requested from the camera, by FFmpeg's name; None lets the driver choose.
        px_per_s: speed of the belt, for a board without an encoder.
    """

    belt: ClassVar[Belt] = "real"
    extra: ClassVar[str | None] = "video"
    device: Annotated[str, Meta(min_length=1)] = "/dev/video0"
    channels: Annotated[tuple[Channel, ...], Meta(min_length=1, max_length=4)] = ("red", "blue")
    frames_per_s: FramesPerS = 30.0
    picture_px: tuple[Pixel, Pixel] | None = None
    window_px: tuple[Pixel, Pixel] = (0, 0)
    pixel_format: Literal["mjpeg", "yuyv422", "rgb24", "gray"] | None = None
    px_per_s: BeltSpeed | None = None

    def check_fits(self, frame: FrameConfig, _runtime: RuntimeConfig) -> None:
        """Raise ValueError if the camera does not give the configured frames."""
        check_channels(self.channels, frame)
        check_window(self.window_px, self.picture_px or (frame.width_px, frame.height_px), frame)


class VideoSourceConfig(Section, frozen=True, tag_field="kind", tag="video"):
    """A film of the belt: any file that FFmpeg reads.

    Attributes:
        path: the file.
        channels: the source of each plane of ``[frame]``.
        window_px: column and row of the film where the frame begins.
        paced: keep the time between frames.
        px_per_s: speed of the belt in the film.
    """

    belt: ClassVar[Belt] = "recorded"
    extra: ClassVar[str | None] = "video"
    path: Annotated[str, Meta(min_length=1)]
    channels: Annotated[tuple[Channel, ...], Meta(min_length=1, max_length=4)] = ("red", "blue")
    window_px: tuple[Pixel, Pixel] = (0, 0)
    paced: bool = True
    px_per_s: BeltSpeed | None = None

    def check_fits(self, frame: FrameConfig, _runtime: RuntimeConfig) -> None:
        """Raise ValueError if the film does not give the configured planes."""
        check_channels(self.channels, frame)
