"""libcamera without a kernel: enough for the real picamera2 to open cameras, configure them and take frames.

Only what picamera2 0.3 calls is here, by libcamera's names. Buffers are real files in memory, mapped by picamera2's own
allocator; a thread of each camera writes pictures into those that are queued, and overwrites the ones that come back.
``stubs`` are the modules to put into ``sys.modules`` before picamera2 is imported.
"""

import contextlib
import enum
import mmap
import os
import threading
import time
import types
from unittest import mock

import numpy as np

POISON = 0xAA
ALIGN = 64  # of rows on a Raspberry Pi 5


class Value:
    """A class with any attributes that compares by identity, like most classes of libcamera."""

    def __init__(self, **given):
        vars(self).update(given)


class ControlType(enum.Enum):
    Plain, Rectangle, Size = range(3)


class Orientation(enum.Enum):
    Rotate0, Rotate0Mirror, Rotate180, Rotate180Mirror, Rotate90, Rotate90Mirror, Rotate270, Rotate270Mirror = range(8)


class StreamRole(enum.Enum):
    Raw, StillCapture, VideoRecording, Viewfinder = range(4)


class Transform:
    def __init__(self, other=None, *, hflip=0, vflip=0, transpose=0):
        other = other or Value(hflip=hflip, vflip=vflip, transpose=transpose)
        self.hflip, self.vflip, self.transpose = bool(other.hflip), bool(other.vflip), bool(other.transpose)

    def __str__(self):
        return f"{self.hflip} {self.vflip} {self.transpose}"


class ColorSpace:
    YcbcrEncoding, Range = Value(Null=0), Value(Full=0)

    def __init__(self, other="other"):
        self.primaries = self.transferFunction = getattr(other, "primaries", other)
        self.ycbcrEncoding = self.range = 1

    def __str__(self):
        return self.primaries


for name in ("Sycc", "Smpte170m", "Rec709", "Raw"):
    setattr(ColorSpace, name, staticmethod(lambda name=name: ColorSpace(name)))


class Size:
    def __init__(self, width=0, height=0):
        self.width, self.height = width, height


class Rectangle:
    def __init__(self, x, y, width, height):
        self.x, self.y, self.width, self.height = x, y, width, height


class PixelFormat(str):
    __slots__ = ()


class FrameBuffer:
    class Plane(Value):
        pass

    def __init__(self, planes):
        self.planes = planes
        self.metadata = Value(status=FrameMetadata.Status.Success, planes=[Value(bytes_used=planes[0].length)])


class FrameMetadata:
    class Status(enum.Enum):
        Success, Error, Startup = range(3)


class Request:
    class Status(enum.Enum):
        Pending, Complete, Cancelled = range(3)

    def __init__(self, cookie):
        self.cookie, self.buffers, self.metadata, self.status, self.set = cookie, {}, {}, Request.Status.Pending, {}

    def add_buffer(self, stream, buffer):
        self.buffers[stream] = buffer

    def set_control(self, control, value):
        self.set[control.name] = value

    def reuse(self):
        self.status, self.metadata, self.set = Request.Status.Pending, {}, {}


class ControlId:
    def __init__(self, name, kind=ControlType.Plain):
        self.name, self.type = name, kind


IDS = {
    name: ControlId(name, ControlType.Rectangle if name.startswith("ScalerCrop") else ControlType.Plain)
    for name in (
        *("AeEnable", "AwbEnable", "ColourGains", "ExposureTime", "ExposureTimeMode", "AnalogueGain"),
        *("AnalogueGainMode", "FrameDurationLimits", "FrameDuration", "ScalerCrop", "NoiseReductionMode"),
        *("SensorTimestamp", "Model", "Location", "Rotation", "ColorFilterArrangement"),
    )
}


class SensorConfiguration(Value):
    pass


class CameraConfiguration:
    class Status(enum.Enum):
        Valid, Adjusted, Invalid = range(3)

    def __init__(self, roles):
        sizes = Value(pixel_formats=["R10"], sizes=lambda _: [Size(1456, 1088)])
        self.streams = [Value(formats=sizes, stream=Value(), color_space=None) for _ in roles]
        self.sensor_config, self.orientation = None, None

    def at(self, index):
        return self.streams[index]

    def __iter__(self):
        return iter(self.streams)

    def validate(self):
        for stream in self.streams:
            samples = 3 if stream.pixel_format == "RGB888" else 1
            stream.stride = -(-stream.size.width * samples // ALIGN) * ALIGN + ALIGN  # always padded here
            rows = stream.size.height if samples == 3 else stream.size.height * 3 // 2
            stream.frame_size = rows * stream.stride
        return CameraConfiguration.Status.Valid


class Camera:
    """One camera that exposes every ``frame_us`` into the next buffer that is queued.

    It shows an even grey, or what ``scene`` returns for the number of the exposure: a grey level or an (H, W) picture.
    """

    def __init__(self, camera_id, grey):
        self.id, self.grey, self.scene = camera_id, grey, None
        self.properties = {
            IDS[name]: value
            for name, value in {"Model": "imx296", "Location": 2, "Rotation": 0, "ColorFilterArrangement": 5}.items()
        }
        limits = Value(min=0, max=1_000_000, default=0)
        mono = ("AwbEnable", "ColourGains")
        told = ("SensorTimestamp", "FrameDuration", "Model", "Location", "Rotation", "ColorFilterArrangement", *mono)
        self.controls = {control: limits for name, control in IDS.items() if name not in told}
        self.queued, self.started_with, self.number, self.hanging = [], {}, 0, False
        self._stop, self._thread = threading.Event(), None
        self.stream = None

    def acquire(self):
        pass

    def release(self):
        pass

    def generate_configuration(self, roles):
        return CameraConfiguration(roles)

    def configure(self, configuration):
        self.stream = configuration.at(0)
        return 0

    def create_request(self, cookie):
        return Request(cookie)

    def queue_request(self, request):
        (buffer,) = request.buffers.values()
        self._write(buffer, None)
        self.queued.append(request)

    def start(self, controls):
        self.started_with = {control.name: value for control, value in controls.items()}
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join()
        self.queued.clear()

    def _run(self):
        frame_ns = self.started_with["FrameDurationLimits"][0] * 1000
        next_ns = (time.monotonic_ns() // frame_ns + 2) * frame_ns
        while not self._stop.wait(max(0.0, (next_ns - time.monotonic_ns()) / 1e9)):
            if self.queued and not self.hanging:
                self._expose(self.queued.pop(0), next_ns)
            next_ns += frame_ns

    def _expose(self, request, t_ns):
        (buffer,) = request.buffers.values()
        self._write(buffer, self.grey if self.scene is None else self.scene(self.number))
        controls = self.started_with | request.set
        values = {
            "SensorTimestamp": t_ns,
            "ExposureTime": controls["ExposureTime"],
            "AnalogueGain": controls["AnalogueGain"],
            "FrameDuration": self.started_with["FrameDurationLimits"][0],
        }
        request.metadata = {IDS[name]: value for name, value in values.items()}
        request.status = Request.Status.Complete
        started = self.number >= 2
        buffer.metadata.status = FrameMetadata.Status.Success if started else FrameMetadata.Status.Startup
        self.number += 1
        CameraManager.singleton().complete(request)

    def _write(self, buffer, shown):
        plane = buffer.planes[0]
        with mmap.mmap(plane.fd, plane.length) as memory:
            rows = np.frombuffer(memory, np.uint8).reshape(-1, self.stream.stride)
            rows[:] = POISON
            if shown is not None:
                samples = 3 if self.stream.pixel_format == "RGB888" else 1
                for sample in range(samples):
                    rows[: self.stream.size.height, sample : self.stream.size.width * samples : samples] = (
                        shown + sample
                    )
            del rows


class CameraManager:
    _only = None

    def __init__(self):
        self.cameras, self.event_fd = [], os.eventfd(0, os.EFD_NONBLOCK)
        self._ready, self._lock = [], threading.Lock()

    @staticmethod
    def singleton():
        CameraManager._only = CameraManager._only or CameraManager()
        return CameraManager._only

    def complete(self, request):
        with self._lock:
            self._ready.append(request)
        os.eventfd_write(self.event_fd, 1)

    def get_ready_requests(self):
        with self._lock:
            ready, self._ready = self._ready, []
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.event_fd)
        return ready


class MemoryHeap:
    """In place of picamera2's ``DmaHeap``: files in memory instead of buffers that a camera can write."""

    def __init__(self):
        self.isValid = True

    def alloc(self, name, size):
        fd = os.memfd_create(name)
        os.truncate(fd, size)
        return Value(get=lambda: fd, isValid=lambda: True)

    def close(self):
        pass


def stubs():
    """Modules that exist on a board only, by name."""
    libcamera = types.ModuleType("libcamera")
    vars(libcamera).update({name: value for name, value in globals().items() if isinstance(value, type)})
    enums = Value(
        draft=Value(NoiseReductionModeEnum=Value(Minimal=3, HighQuality=2, Fast=1)),
        rpi=Value(SyncModeEnum=Value(Server=1, Client=2)),
    )
    libcamera.controls = Value(**IDS, **vars(enums))
    libcamera.properties = Value(draft=Value(ColorFilterArrangementEnum=Value(MONO=5)))
    libcamera._libcamera = libcamera
    modules = {"libcamera": libcamera}
    # Needed for the import alone: displays, child processes and DNG files, none of which a line has.
    for name, words in {
        "prctl": (),
        "pykms": ("PixelFormat",),
        "pidng": (),
        "pidng.camdefs": ("Picamera2Camera",),
        "pidng.core": ("PICAM2DNG",),
    }.items():
        modules[name] = types.ModuleType(name)
        vars(modules[name]).update({word: mock.MagicMock() for word in words})
    return modules
