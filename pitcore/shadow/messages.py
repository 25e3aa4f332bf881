"""Messages between the service and the candidate's process: msgpack over a socket, crops in shared memory."""

from __future__ import annotations

import mmap

import msgspec
import numpy as np
from numpy.typing import NDArray

from pitcore.config import DecisionConfig
from pitcore.preprocess.prepare import WHOLE_PX

MAX_MESSAGE_BYTES = 1 << 16  # 1024 probabilities take 9 KiB


class Start(msgspec.Struct, frozen=True):
    """The first message of the service.

    Attributes:
        bundle: directory of the candidate.
        planes: names, in order.
        capacity: number of crops that fit in the shared memory.
    """

    bundle: str
    planes: tuple[str, ...]
    capacity: int


class Ask(msgspec.Struct, frozen=True):
    """Every other message of the service: judge the first ``count`` crops.

    Attributes:
        count: number of crops in the shared memory.
        decision: present configuration of the board; the candidate uses the thresholds of its operating point.
    """

    count: int
    decision: DecisionConfig


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The candidate is loaded and tested: its name, version and hash."""

    name: str
    version: str
    sha256: str


class Answer(msgspec.Struct, frozen=True, tag=True):
    """The candidate's verdicts of the crops.

    Attributes:
        p_pit: calibrated probability of each crop; NaN if the network's output is not finite; None if every pixel of
            the crop is zero.
        accept, reject: the candidate's thresholds.
    """

    p_pit: list[float | None]
    accept: float
    reject: float


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The reason why the candidate cannot be used; the process ends."""

    reason: str


class CropMemory:
    """The shared memory: the crops of one frame.

    Args:
        fd: descriptor of a memfd of ``size`` bytes.
        capacity: number of crops.
        planes: number of planes of a crop.

    Attributes:
        crops: (capacity, WHOLE_PX, WHOLE_PX, planes) uint8, 64-byte aligned.
    """

    def __init__(self, fd: int, capacity: int, planes: int) -> None:
        # All pages are taken now: else the loop would take them, one by one, while it copies the first cherries.
        memory = mmap.mmap(fd, self.size(capacity, planes), mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self.crops: NDArray[np.uint8] = np.frombuffer(memory, np.uint8).reshape(capacity, WHOLE_PX, WHOLE_PX, planes)

    @staticmethod
    def size(capacity: int, planes: int) -> int:
        """Return its size in bytes."""
        return capacity * WHOLE_PX * WHOLE_PX * planes
