"""picamera2 over cameras that do not exist: the names and signatures of the real one, and the faults of real cameras.

Installed by ``tests.camera.board``. The buffers of a camera are a ring, rows padded as on a board, and one that was
released is overwritten at once, so that a later use is noticed. ``test_contract`` compares the signatures with
those of the real picamera2.
"""

import contextlib
import threading
import time
import types

import numpy as np

POISON = 0xAA
STRIDE = 128  # of YUV420 on a Raspberry Pi 5


class Bench:
    """The connected cameras with their faults. One for each test."""

    def __init__(self):
        self.cameras = []
        self.opened = []
        self.started = threading.Event()

    def connect(self, *cameras):
        self.cameras = list(cameras)
        return self

    def by_id(self, camera_id):
        return next(camera for camera in self.opened if camera.sensor.id == camera_id)


class Sensor:
    """One camera on a cable.

    Args:
        id: libcamera's.
        num: libcamera's number, which follows what booted first.
        frame_us: its real frame time; None takes what was asked for.
        lit_at_us: the exposure that shows the scene as bright as it is; None shows it so at any.
        by_time: number the frames for ``scene`` by the time of exposure, the same for every camera.
        scene: called with the frame's number, returns its grey level, or picture of (H, W), or (H, W, 3) BGR.
        faults: see ``Faults``.
    """

    def __init__(self, id, num=0, *, frame_us=None, scene=None, faults=None, lit_at_us=None, by_time=False):  # noqa: A002  libcamera's
        self.id, self.num, self.lit_at_us = id, num, lit_at_us
        self.frame_us, self.faults, self.by_time = frame_us, faults or Faults(), by_time
        self.scene = scene or (lambda number: 10 + number % 200)


class Faults:
    """The faults of one camera; frames are given by their numbers.

    Attributes:
        startup: frames that still show another exposure.
        never_locks: the sensor never takes the requested exposure.
        unlock: frames with another exposure.
        dropped: never leave the sensor.
        repeated: delivered twice, with the same stamp.
        stale: delivered with a stamp two seconds old.
        spoilt: libcamera reports a failed transfer.
        freeze_at: from here on every frame shows this one's picture, with new stamps.
        hang_at, unplug_at: from here on nothing comes; unplugged, it does not close either.
        late_ns: how much later than its partner it exposes.
        ahead_ns: by how much the clock of the stamps is before CLOCK_MONOTONIC.
        no_stamp: metadata without a stamp.
        open_error, start_error: raised instead.
    """

    def __init__(self, **given):
        self.startup, self.never_locks, self.unlock = 0, False, ()
        self.dropped, self.repeated, self.stale, self.spoilt = (), (), (), ()
        self.freeze_at = self.hang_at = self.unplug_at = None
        self.late_ns, self.ahead_ns, self.no_stamp = 0, 0, False
        self.open_error = self.start_error = None
        unknown = set(given) - set(vars(self))
        assert not unknown, unknown
        vars(self).update(given)


BENCH = Bench()


class Request(dict):
    """libcamera's, of one stream; ``buffers`` is as its Python binding has it."""

    def __init__(self, status, **content):
        super().__init__(**content)
        said = types.SimpleNamespace(status=types.SimpleNamespace(name=status))
        self.buffers = {"main": types.SimpleNamespace(metadata=said)}


class CompletedRequest:
    """A frame of the ring."""

    def __init__(self, request, picam2):
        self.request, self.picam2 = request, picam2
        self.ref_count = 1
        self.lock = picam2.request_lock
        self.config = picam2.camera_config

    def acquire(self):
        with self.lock:
            if self.ref_count == 0:
                raise RuntimeError("CompletedRequest: acquiring lock with ref_count 0")
            self.ref_count += 1

    def release(self):
        with self.lock:
            self.ref_count -= 1
            if self.ref_count < 0:
                raise RuntimeError("CompletedRequest: lock now has negative ref_count")
            if self.ref_count == 0:
                self.picam2.give_back(self.request["buffer"])

    def get_metadata(self):
        return dict(self.request["metadata"])


class MappedArray:
    """The memory of a request's stream, shaped as ``Helpers._make_array_shared`` shapes it."""

    def __init__(self, request, stream, reshape=True, write=True):
        assert request.request is not None
        self._request, self._stream = request, stream
        self.array = None

    def __enter__(self):
        assert self._request.ref_count > 0, "mapped after it was released"
        config = self._request.config[self._stream]
        width, height = config["size"]
        flat = self._request.picam2.buffers[self._request.request["buffer"]]
        if config["format"] == "YUV420":
            self.array = flat.reshape((height * 3 // 2, config["stride"]))
        else:
            self.array = flat.reshape((height, config["stride"]))[:, : width * 3].reshape((height, width, 3))
        return self

    def __exit__(self, exc_type, exc_value, exc_traceback):
        self.array = None


class Picamera2:
    """One opened camera: a thread that exposes frames into the ring."""

    @staticmethod
    def global_camera_info():
        cameras = [{"Model": "imx296", "Location": 2, "Rotation": 0, "Id": s.id, "Num": s.num} for s in BENCH.cameras]
        return sorted(cameras, key=lambda camera: camera["Id"], reverse=True)  # as the real one: not by Num

    def __init__(self, camera_num=0, verbose_console=None, tuning=None, allocator=None):
        wanted = self.global_camera_info()[camera_num]["Id"]
        self.sensor = next(sensor for sensor in BENCH.cameras if sensor.id == wanted)
        if self.sensor.faults.open_error is not None:
            raise self.sensor.faults.open_error
        self.request_lock, self.lock = threading.Lock(), threading.Lock()
        self.pre_callback, self.camera_config, self.controls = None, {}, {}
        self.buffers, self._free, self.released = [], [], 0
        self.number, self.starved, self.closed = 0, 0, False
        self._frozen = None  # the picture at which it froze
        self._stop = threading.Event()
        self._thread = None
        BENCH.opened.append(self)

    @property
    def camera_controls(self):
        names = ("AeEnable", "ExposureTime", "AnalogueGain", "FrameDurationLimits", "ScalerCrop", "SyncMode")
        return dict.fromkeys(names, (0, 1_000_000, None))  # a mono sensor: no AwbEnable, no ColourGains

    def create_video_configuration(
        self,
        main={},
        lores=None,
        raw={},
        transform=None,
        colour_space=None,
        buffer_count=6,
        controls={},
        display="main",
        encode="main",
        queue=True,
        sensor={},
        use_case="video",
    ):
        assert raw is None, "a raw stream would be allocated"
        main = {"format": "XBGR8888", "size": (1280, 720)} | main
        main["size"] = tuple(side - side % 2 for side in main["size"])
        return {"main": main, "raw": raw, "buffer_count": buffer_count, "controls": controls, "transform": transform}

    def configure(self, camera_config=None):
        unknown = set(camera_config["controls"]) - set(self.camera_controls)
        if unknown:
            raise RuntimeError(f"Control {unknown.pop()} is not advertised by libcamera")
        self.camera_config = camera_config
        main = camera_config["main"]
        width, height = main["size"]
        row_bytes = width if main["format"] == "YUV420" else 3 * width
        main["stride"] = -(-row_bytes // STRIDE) * STRIDE + STRIDE
        rows = height * 3 // 2 if main["format"] == "YUV420" else height
        self.buffers = [np.full(rows * main["stride"], POISON, np.uint8) for _ in range(camera_config["buffer_count"])]
        self._free = list(range(len(self.buffers)))
        self.controls = dict(camera_config["controls"])

    def camera_configuration(self):
        return self.camera_config

    def set_controls(self, controls):
        self.controls |= controls

    def start(self, config=None, show_preview=False):
        if self.sensor.faults.start_error is not None:
            raise self.sensor.faults.start_error
        self._thread = threading.Thread(target=self._run, name=f"fake {self.sensor.id}", daemon=True)
        self._thread.start()
        BENCH.started.set()

    def stop(self):
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(60)

    def close(self):
        if self._unplugged():
            threading.Event().wait(300)  # as libcamera waits for a sensor that is gone
        self.stop()
        self.closed = True

    def give_back(self, buffer):
        self.buffers[buffer].fill(POISON)
        self.released += 1
        self._free.append(buffer)

    @property
    def lent(self):
        """Return the number of buffers that are lent."""
        return len(self.buffers) - len(self._free)

    def _unplugged(self):
        unplug_at = self.sensor.faults.unplug_at
        return unplug_at is not None and self.number >= unplug_at

    def _run(self):
        faults, (asked_us, _) = self.sensor.faults, self.controls.get("FrameDurationLimits", (50_000, 0))
        frame_ns = (self.sensor.frame_us or asked_us) * 1000
        # Both cameras of a bench expose on one grid, as triggered or synchronised ones do.
        next_ns = (time.monotonic_ns() // frame_ns + 2) * frame_ns + faults.late_ns
        while not self._stop.is_set():
            wait_s = (next_ns - time.monotonic_ns()) / 1e9
            if wait_s > 0 and self._stop.wait(wait_s):
                return
            if (faults.hang_at is not None and self.number >= faults.hang_at) or self._unplugged():
                self._stop.wait(0.01)
                continue
            self._expose(next_ns)
            next_ns += frame_ns
            self.number += 1

    def _expose(self, t_ns):
        faults, number = self.sensor.faults, self.number
        if number in faults.dropped:
            return
        if not self._free:
            self.starved += 1
            return
        buffer = self._free.pop(0)
        main = self.camera_config["main"]
        width, height = main["size"]
        rows = self.buffers[buffer].reshape(-1, main["stride"])
        frame_ns = 1000 * (self.sensor.frame_us or self.controls["FrameDurationLimits"][0])
        shown = self.sensor.scene((t_ns - faults.late_ns) // frame_ns if self.sensor.by_time else number)
        if faults.freeze_at is not None and number >= faults.freeze_at:
            shown = self._frozen = shown if self._frozen is None else self._frozen
        if self.sensor.lit_at_us is not None:
            light = self.controls["ExposureTime"] * self.controls["AnalogueGain"] / self.sensor.lit_at_us
            shown = np.minimum(shown * light, 255)
        if main["format"] == "YUV420":
            rows[:height, :width] = shown
        else:  # three bytes a pixel
            rows[:height, : 3 * width] = np.broadcast_to(shown, (height, width, 3)).reshape(height, -1)
        stamp_ns = t_ns + faults.ahead_ns - (2_000_000_000 if number in faults.stale else 0)
        self._deliver(buffer, self._metadata(number, stamp_ns))
        if number in faults.repeated and self._free:
            self._deliver(self._free.pop(0), self._metadata(number, stamp_ns))

    def _metadata(self, number, stamp_ns):
        faults = self.sensor.faults
        exposure_us = self.controls["ExposureTime"]
        if faults.never_locks or number < faults.startup or number in faults.unlock:
            exposure_us = 3 * exposure_us + 100
        asked_us, _ = self.controls.get("FrameDurationLimits", (50_000, 0))
        metadata = {
            "SensorTimestamp": stamp_ns,
            "ExposureTime": exposure_us,
            "AnalogueGain": self.controls["AnalogueGain"] * 1.004,  # sensors have steps
            "FrameDuration": self.sensor.frame_us or asked_us,
        }
        if "SyncMode" in self.controls:
            metadata["SyncReady"] = number >= 3
        if faults.no_stamp:
            del metadata["SensorTimestamp"]
        return metadata

    def _deliver(self, buffer, metadata):
        status = "Error" if self.number in self.sensor.faults.spoilt else "Success"
        request = CompletedRequest(Request(status, buffer=buffer, metadata=metadata), self)
        with self.lock:  # the real one holds it too
            callback = self.pre_callback
            if callback is not None:
                callback(request)
        request.release()


@contextlib.contextmanager
def fresh_bench():
    """Start without cameras, and end all threads."""
    BENCH.__init__()
    try:
        yield BENCH
    finally:
        for camera in BENCH.opened:
            camera._stop.set()
