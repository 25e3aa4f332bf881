"""What the service tells its page process: msgpack over a socket, frames in shared memory."""

from __future__ import annotations

import mmap
import os
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pitcore.config import PageConfig
from pitcore.page.tally import Count
from pitcore.verdict import Action, Reason, VerdictName

SLOTS = 3  # frames under way: one is filled, one waits, one is looked at
MAX_MESSAGE_BYTES = 1 << 17  # below the bytes that a socket of Linux holds for its reader by default
MAX_SEEN = 400  # cherries of one message; further ones are counted, but not drawn
# What the page process says: somebody looks, nobody looks. Besides a digit, which frees a slot; "@" and the port on
# which it listens; or, as a sentence, why it does not.
WATCHED, UNWATCHED = b"w", b"u"


class Start(msgspec.Struct, frozen=True):
    """The first message.

    Attributes:
        config: of the page.
        planes: names, in order.
        shape: (height, width) of every plane, pixels.
        shift_px: right and down, by which things lie displaced in every plane but the first.
        px_per_tick: belt travel for one encoder tick.
        lanes: names, in order.
        state_dir: where shifts and tokens are kept.
        control_socket: of the service.
        store: of the models; None where there is none.
        run: names this run of the service; counts begin at 0 with each.
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


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """One verdict, as the page shows it. ``number`` counts them; ``box`` is of the frame at ``tick``."""

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
    """What is known of the line at one moment.

    Attributes:
        state, version, uptime_s: of the service.
        armed, armed_by, armed_at: of the air jet.
        arming_possible: this board drives valves.
        model, frames, alarms, cameras: as in ``pitcore status``; see ``pitcore.control.status``, which brings the loop
            with it and is not imported here.
        looked_ns: CLOCK_MONOTONIC of the last frame that could be searched; None before the first.
        latency_ms: p50 and p99 from exposure to verdict since the last message; None where nothing was judged.
        busy: share of the time since the last message that the loop worked.
        rejects: what became of rejects so far: scheduled, known, late, skipped.
        sinks: what each tells of itself.
        machine: temperature, throttling, load.
        points: of the model's card.
        valves: that the board drives.
        less_safe: what the configuration takes off the safety of the defaults.
        reloading, reload: whether one is under way, and how the last one went.
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
    sinks: list[dict[str, Any]]
    machine: dict[str, Any]
    less_safe: list[str]
    points: list[str]
    valves: int
    reloading: bool
    reload: str | None


class Told(msgspec.Struct, frozen=True):
    """Every other message.

    Attributes:
        counts: verdicts since the start of the run, by lane and verdict.
        events: since the start of the run, by name.
        seen: verdicts since the last message.
        picture: a frame, if one was copied.
        now: of the line, about twice a second.
        last: the run ends.
    """

    counts: Count
    events: dict[str, int]
    seen: list[Seen]
    picture: PictureRef | None = None
    now: LineNow | None = None
    last: bool = False


class FrameSlots:
    """The shared memory: ``SLOTS`` frames.

    Args:
        fd: of a memfd of ``size`` bytes.
        planes, shape: of a frame.

    Attributes:
        frames: (SLOTS, planes, height, width) uint8.
    """

    def __init__(self, fd: int, planes: int, shape: tuple[int, int]) -> None:
        self._memory = mmap.mmap(fd, self.size(planes, shape))
        self.frames: NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8).reshape(SLOTS, planes, *shape)

    @staticmethod
    def size(planes: int, shape: tuple[int, int]) -> int:
        """Return how many bytes it takes."""
        return SLOTS * planes * shape[0] * shape[1]

    @classmethod
    def create(cls, planes: int, shape: tuple[int, int]) -> tuple[FrameSlots, int]:
        """Make one; returns it with its descriptor, which may be handed to another process. Raises OSError."""
        fd = os.memfd_create("pitcore-page")
        os.ftruncate(fd, cls.size(planes, shape))
        return cls(fd, planes, shape), fd
