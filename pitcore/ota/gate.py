"""The health gate: whether a model on trial does in the running service what the model before it did.

``judge`` is pure. ``Service`` is what the gate asks; ``pitcore.control`` implements it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Health:
    """What the service says of itself.

    Attributes:
        model_sha256: ``card_sha256`` of the model that judges now.
        frames: judged since this model was taken.
        troubles: events since then that tell of a fault: frames lost, dropped, unreadable.
        infer_ms: 99th percentile of the network's time for a frame since then; None before the first.
    """

    model_sha256: str
    frames: int
    troubles: int
    infer_ms: float | None


class Service(Protocol):
    """The running service."""

    def reload(self) -> None:
        """Take the model that the store says, between two frames; return when it judges.

        Raises:
            NotRunningError: no service answers.
            ControlError: the service refused, and why.
        """

    def health(self) -> Health:
        """Return what the service says of itself. Raises as ``reload``."""

    def lives(self) -> bool:
        """Tell whether its process lives, whether it answers or not."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What a model on trial must show.

    Attributes:
        frames: it judged at least as many.
        timeout_s: within this time.
        max_infer_ms: 99th percentile of the network's time at most; 0 asks for nothing. The default leaves 50 of the
            150 ms from exposure to reject for everything else.
        more_troubles: share of frames with an event, at most this much above the share before the change.
        poll_s: time between two looks.
    """

    frames: int = 200
    timeout_s: float = 120.0
    max_infer_ms: float = 100.0
    more_troubles: float = 0.02
    poll_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Passed:
    """The model has proved itself."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It must go.

    Attributes:
        why: for people.
    """

    why: str


def judge(gate: Gate, before: Health | None, start: Health, now: Health) -> Passed | Failed | None:
    """Judge a model on trial.

    Args:
        gate: what it must show.
        before: the service just before the change, with the old model; None where that is not known.
        start: the first look at it with the new one.
        now: the last look.

    Returns:
        None where it takes more frames to tell.
    """
    frames, troubles = now.frames - start.frames, now.troubles - start.troubles
    usual = before.troubles / before.frames if before is not None and before.frames else 0.0
    if frames < gate.frames:
        return None
    if troubles / frames > usual + gate.more_troubles:
        return Failed(f"{troubles} events in {frames} frames, {100 * usual:.1f} in 100 frames are usual")
    if gate.max_infer_ms and now.infer_ms is not None and now.infer_ms > gate.max_infer_ms:
        return Failed(
            f"the network takes {now.infer_ms:.0f} ms for the slowest 1 % of frames, but at most "
            f"{gate.max_infer_ms:g} ms are allowed"
        )
    return Passed()
