"""Defines the messages between the service and its page process: msgpack over a socket, frames in shared memory."""

from __future__ import annotations

import mmap
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pitcore.config import PageConfig
from pitcore.page.tally import Count
from pitcore.verdict import Action, Reason, VerdictName

SLOTS = 3  # frames in shared memory: one is written, one waits, one is read
MAX_MESSAGE_BYTES = 1 << 17  # less than Linux's default buffer of a socket
MAX_SEEN = 400  # verdicts in one message; further ones are counted, but not drawn
# Replies of the page process: there are viewers, there are none, it is alive. Other replies are a digit, which frees a
# slot; "@" and the port on which it listens; or a sentence that says why it does not listen.
WATCHED, UNWATCHED, ALIVE = b"w", b"u", b"a"


class Start(msgspec.Struct, frozen=True):
    """The first message.

    Attributes:
        config: ``[page]`` of the configuration.
        planes: names of the planes, in order.
        shape: (height, width) of every plane, in pixels.
        shift_px: (right, down) displacement of things in every plane but the first.
        px_per_tick: belt travel for one encoder tick.
        lanes: names of the lanes, in order.
        state_dir: folder of shifts and tokens.
        control_socket: path of the service's control socket.
        store: path of the store of models; None if there is none.
        run: identifies this run of the service; counts begin at 0 with each run.
        at_s: time of this message, CLOCK_MONOTONIC in seconds.
        counts, events: as in ``Update``, at that time. They are not 0 if the page process was started again.
    """

    config: PageConfig
    planes: tuple[str, ...]
    shape: tuple[int, int]
    shift_px: tuple[int, int]
    px_per_tick: float
    lanes: tuple[str, ...]
    state_dir: str
    control_socket: str
    store: str | None
    run: str
    at_s: float
    counts: Count
    events: dict[str, int]


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """One verdict for the page. ``number`` is its running number; ``box`` is its box in the frame at ``tick``."""

    number: int
    tick: int
    box: tuple[int, int, int, int]
    lane: int
    verdict: VerdictName
    reason: Reason | None
    probabilities: dict[str, float] | None
    action: Action


class PictureRef(msgspec.Struct, frozen=True):
    """A frame in a slot of the shared memory. ``t_ns``: CLOCK_MONOTONIC at mid-exposure."""

    slot: int
    seq: int
    tick: int
    t_ns: int


class LineNow(msgspec.Struct, frozen=True):
    """The state of the line at one time.

    Attributes:
        state, version, uptime_s: state, version and uptime of the service.
        armed, armed_by, armed_at: whether, by whom and when the air jets were armed.
        arming_possible: True if this board drives valves.
        model, frames, cameras: as in ``pitcore status``; see ``pitcore.control.status``, which is not imported here
            because it imports the loop.
        alarms: as in ``pitcore status``, with the parts of ``detail``: ``measured``, and ``effect`` on verdicts.
        looked_ns: time of the last frame that could be searched, CLOCK_MONOTONIC; None before the first.
        latency_ms: p50 and p99 from exposure to verdict since the last message; None if no frame was judged.
        busy: share of the time since the last message in which the loop worked.
        rejects: numbers of rejects by outcome: scheduled, known, late, skipped.
        spare_ms: least time from a verdict to act on until its valve must open, since the last message; None if there
            was no such verdict.
        sinks: status of each sink.
        machine: temperature, throttling, load.
        points: operating points of the model's card.
        valves: number of valves that the board drives.
        less_safe: the configured values that are less safe than the defaults.
        reloading, reload: whether a reload is running, and the result of the last one.
    """

    state: str
    version: str
    uptime_s: float
    armed: bool
    armed_by: str | None
    armed_at: str | None
    arming_possible: bool
    model: dict[str, Any]
    frames: dict[str, int]
    alarms: list[dict[str, Any]]
    cameras: list[dict[str, Any]]
    looked_ns: int | None
    latency_ms: tuple[float, float] | None
    busy: float | None
    rejects: dict[str, int]
    spare_ms: float | None
    sinks: list[dict[str, Any]]
    machine: dict[str, Any]
    less_safe: list[str]
    points: list[str]
    valves: int
    reloading: bool
    reload: str | None


class Update(msgspec.Struct, frozen=True):
    """Every message after the first.

    Attributes:
        at_s: time of this message, CLOCK_MONOTONIC in seconds. It may be read much later, because messages queue
            while the page process starts.
        counts: numbers of verdicts since the start of the run, by lane and verdict.
        events: numbers of events since the start of the run, by name.
        seen: verdicts since the last message.
        picture: a frame, if one was copied.
        now: state of the line, about twice a second; None otherwise.
        last: True in the last message of the run.
    """

    at_s: float
    counts: Count
    events: dict[str, int]
    seen: list[Seen]
    picture: PictureRef | None = None
    now: LineNow | None = None
    last: bool = False


class FrameSlots:
    """Maps the shared memory of ``SLOTS`` frames.

    Args:
        fd: descriptor of a memfd of ``size`` bytes.
        planes, shape: number of planes and (height, width) of a frame.

    Attributes:
        frames: (SLOTS, planes, height, width) uint8.
    """

    def __init__(self, fd: int, planes: int, shape: tuple[int, int]) -> None:
        self._memory = mmap.mmap(fd, self.size(planes, shape))
        self.frames: NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8).reshape(SLOTS, planes, *shape)

    @staticmethod
    def size(planes: int, shape: tuple[int, int]) -> int:
        """Return the size of the shared memory in bytes."""
        return SLOTS * planes * shape[0] * shape[1]
