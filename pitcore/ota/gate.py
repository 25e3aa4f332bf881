"""Decides whether a model on trial works as well in the service as the model before it.

``judge`` is pure. ``pitcore.control`` implements ``Service``, which the gate asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from pitcore.ota.shares import Verdicts, cherries_needed, stops_too_few

NOTHING_JUDGED = Verdicts()
_Share = Annotated[float, Meta(ge=0.0)]


class FaultShares(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Faults for each judged frame, as counted in ``Health``. Not bounded by 1: a frame may have several."""

    model: _Share = 0.0
    all: _Share = 0.0


NO_FAULTS = FaultShares()


@dataclass(frozen=True, slots=True)
class Health:
    """The state that the service reports.

    Attributes:
        model_sha256: ``card_sha256`` of the model that judges now.
        frames: judged since this model was taken.
        model_faults: events since then that mean a fault which a model can cause (``MODEL_FAULTS``).
        faults: all faults since then. Of those that a model can cause, each frame or thing counts. Of the others each
            event counts: a cable that is loose for a second is one fault, however many frames are lost.
        infer_ms: 99th percentile of the network's time for a frame since then; None before the first.
        verdicts: of the network since then.
        recent: those of the last minutes.
    """

    model_sha256: str
    frames: int
    model_faults: int
    faults: int
    infer_ms: float | None
    verdicts: Verdicts = NOTHING_JUDGED
    recent: Verdicts = NOTHING_JUDGED

    @property
    def shares(self) -> FaultShares:
        """Faults for each judged frame."""
        return _shares(self.frames, self.model_faults, self.faults)


class Service(Protocol):
    """The running service."""

    def reload(self) -> None:
        """Load the model that the store names, between two frames, and return when it judges.

        Raises:
            NotRunningError: no service answers.
            ControlError: the service refused, and why.
        """

    def health(self) -> Health:
        """Return the state of the service. Raises as ``reload``."""

    def lives(self) -> bool:
        """Return whether its process runs, even if it does not answer."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The requirements for a model on trial.

    Attributes:
        frames: at least this many must be judged.
        cherries: and at least as many of these; more where no model before is known (``shares``).
        timeout_s: within this time.
        max_infer_ms: bound of the 99th percentile of the network's time; 0 means no bound. The default leaves 50 of the
            150 ms from exposure to reject for everything else.
        more_troubles: by how much the faults for each frame may rise.
        poll_s: time between two looks.
    """

    frames: int = 200
    timeout_s: float = 120.0
    max_infer_ms: float = 100.0
    more_troubles: float = 0.02
    poll_s: float = 0.5
    cherries: int = 300


@dataclass(frozen=True, slots=True)
class Passed:
    """The model passed."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The model failed and is rolled back.

    Attributes:
        why: for people.
    """

    why: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """The model is not committed while faults are this frequent, but they may be those of the machine.

    Attributes:
        why: for people.
    """

    why: str


def judge(
    gate: Gate, start: Health, now: Health, usual: FaultShares | None = None, verdicts: Verdicts | None = None
) -> Passed | Failed | Unclear | None:
    """Judge a model on trial.

    Args:
        gate: what it must show.
        start: the first state with the new model.
        now: the last state.
        usual: faults with the old model; None where they are not known, and none are allowed for.
        verdicts: of the old model in its last minutes; None where they are not known.

    Returns:
        None where it takes more frames, or cherries, to tell.
    """
    frames = now.frames - start.frames
    if frames < gate.frames or now.verdicts.total < cherries_needed(verdicts, gate.cherries):
        return None
    if now.verdicts.total and (fault := stops_too_few(verdicts, now.verdicts)) is not None:
        return Failed(fault)
    found = _shares(frames, now.model_faults - start.model_faults, now.faults - start.faults)
    usual = usual or NO_FAULTS
    if found.model > usual.model + gate.more_troubles:
        return Failed(f"frames are late or dropped too often: {_compared(frames, found.model, usual.model)}")
    if gate.max_infer_ms and now.infer_ms is not None and now.infer_ms > gate.max_infer_ms:
        return Failed(
            f"the network takes {now.infer_ms:.0f} ms for the slowest 1 % of frames, but at most "
            f"{gate.max_infer_ms:g} ms are allowed"
        )
    if found.all > usual.all + gate.more_troubles:
        return Unclear(f"too many faults, perhaps of the machine: {_compared(frames, found.all, usual.all)}")
    return Passed()


def _shares(frames: int, model_faults: int, faults: int) -> FaultShares:
    return FaultShares(model_faults / frames, faults / frames) if frames > 0 else NO_FAULTS


def _compared(frames: int, found: float, usual: float) -> str:
    return f"{found * frames:.0f} in {frames} frames, {100 * usual:.1f} in 100 frames are usual"
