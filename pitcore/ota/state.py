"""Defines the state of a board's models and its transitions. Pure: no disk.

A transition takes a ``State`` and returns the next. ``slots`` writes it, in the right order with the files.
docs/life_of_an_update.md has a diagram.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pitcore.errors import Refusal, UpdateError, first_line
from pitcore.model_card import Sha256
from pitcore.ota.gate import FaultShares
from pitcore.ota.shares import Verdicts

VERSION = 5
UNJUDGED_LIMIT = 3  # then a model is not tried again, because the model itself may be the cause
SlotName = Literal["a", "b"]
SLOTS: tuple[SlotName, SlotName] = ("a", "b")
Transition = Callable[["State"], "State"]


class SlotContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a slot.

    Attributes:
        card_sha256: identifies the bundle; a slot whose card has another hash does not count.
        release_seq: its number, signed offline.
        label: ``name@version``, for people.
    """

    card_sha256: Sha256
    release_seq: Annotated[int, Meta(ge=0)]
    label: str


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model that runs, but is not committed yet.

    Attributes:
        attempts_left: how often it may still be loaded before it counts as a crash loop.
        attempts: how often it could be loaded at the start of the trial.
        before: verdicts of the model before it in its last minutes; None where no service ran.
        usual: faults with the model before it; None where no service ran.
    """

    slot: SlotName
    attempts_left: Annotated[int, Meta(ge=0, le=100)]
    attempts: Annotated[int, Meta(ge=1, le=100)]
    before: Verdicts | None = None
    usual: FaultShares | None = None


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The state of all models of a board.

    Attributes:
        active: the slot that was committed last; None is the model that came with pitcore.
        a, b: contents of the slots; None is empty, even if files are on the disk.
        trial: the model on trial; never in the active slot.
        bad: ``card_sha256`` of each model that failed here, with the reason; it is refused.
        unjudged: ``card_sha256`` of each model that could not be judged here, with the number of tries.
        release_seq_floor: highest number that was ever committed; lower ones are refused.
        generation: grows with each write; of the two copies on disk the newer one is used.
    """

    version: Literal[5] = 5
    generation: Annotated[int, Meta(ge=0)] = 0
    active: SlotName | None = None
    a: SlotContent | None = None
    b: SlotContent | None = None
    trial: Trial | None = None
    bad: dict[Sha256, str] = {}
    unjudged: dict[Sha256, Annotated[int, Meta(ge=1)]] = {}
    release_seq_floor: Annotated[int, Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.active is not None and self.holds(self.active) is None:
            raise ValueError(f"slot {self.active} is active, but empty")
        if self.trial is not None and self.holds(self.trial.slot) is None:
            raise ValueError(f"slot {self.trial.slot} is on trial, but empty")
        if self.trial is not None and self.trial.slot == self.active:
            raise ValueError(f"slot {self.active} is active and on trial")

    def holds(self, slot: SlotName) -> SlotContent | None:
        """Return the content of a slot."""
        return self.a if slot == "a" else self.b

    @property
    def inactive(self) -> SlotName:
        """Return the slot for the next model."""
        return "b" if self.active == "a" else "a"

    @property
    def previous(self) -> SlotName | None:
        """Return the slot to go back to; None is the model that came with pitcore."""
        other = self.inactive
        release = self.holds(other)
        on_trial = self.trial is not None and self.trial.slot == other
        return None if release is None or on_trial or self.active is None or self.is_bad(release) else other

    def is_bad(self, release: SlotContent) -> bool:
        """Return whether a release failed here before."""
        return release.card_sha256 in self.bad


def empty(state: State, slot: SlotName) -> State:
    """Mark a slot as empty, before its files change. Never for the active slot or one on trial."""
    return _replace(state, **{slot: None})


def begin_trial(
    state: State,
    release: SlotContent,
    attempts: int,
    before: Verdicts | None = None,
    usual: FaultShares | None = None,
) -> State:
    """Start a trial, the commit point of an install: from here on the inactive slot is loaded."""
    slot = state.inactive
    trial = Trial(slot, attempts_left=attempts, attempts=attempts, before=before, usual=usual)
    return _replace(state, **{slot: release, "trial": trial})


def spend_attempt(state: State) -> State:
    """Use up one attempt before a trial's model is loaded; if none is left, roll back."""
    trial = state.trial
    if trial is None:
        return state
    if trial.attempts_left == 0:
        return roll_back(state, f"loaded {trial.attempts} times on trial, and each time the service died")
    return _replace(state, trial=msgspec.structs.replace(trial, attempts_left=trial.attempts_left - 1))


def refund_attempt(state: State) -> State:
    """Give an attempt back: the service that had loaded the trial's model was stopped and did not crash."""
    trial = state.trial
    if trial is None or trial.attempts_left == trial.attempts:
        return state
    return _replace(state, trial=msgspec.structs.replace(trial, attempts_left=trial.attempts_left + 1))


def commit(state: State) -> State:
    """Make the trial's model active. The previous model stays in the other slot."""
    if state.trial is None:
        return state
    release = state.holds(state.trial.slot)
    assert release is not None, "a trial's slot holds a release"  # noqa: S101  State checks it
    floor = max(state.release_seq_floor, release.release_seq)
    return _replace(state, active=state.trial.slot, trial=None, release_seq_floor=floor, unjudged={})


def roll_back(state: State, reason: str) -> State:
    """Leave the trial's model; without a trial, go from the active model to the previous. The left one is bad."""
    if state.trial is not None:
        left: SlotName | None = state.trial.slot
        active = state.active
    else:
        left, active = state.active, state.previous
    if left is None:
        return state
    release = state.holds(left)
    assert release is not None, "what ran held a release"  # noqa: S101  State checks it
    return refuse(_replace(state, active=active, trial=None, **{left: None}), release.card_sha256, reason)


def drop_trial(state: State) -> State:
    """Leave the trial's model because its files are damaged. It may be installed again."""
    return state if state.trial is None else _replace(state, trial=None, **{state.trial.slot: None})


def leave_damaged(state: State) -> State:
    """Go from the active model to the previous because its files are damaged. It may be installed again."""
    if state.active is None:
        return state
    return _replace(state, active=state.previous, **{state.active: None})


def count_unjudged(state: State, card_sha256: str, reason: str) -> State:
    """Count that the machine could not judge a model. After the limit the model is bad."""
    times = state.unjudged.get(card_sha256, 0) + 1
    if times < UNJUDGED_LIMIT:
        return _replace(state, unjudged=state.unjudged | {card_sha256: times})
    on_trial = None if state.trial is None else state.holds(state.trial.slot)
    reason = f"could not be judged {times} times, the last time: {reason}"
    if on_trial is not None and on_trial.card_sha256 == card_sha256:
        return roll_back(state, reason)
    return refuse(state, card_sha256, reason)


def refuse(state: State, card_sha256: str, reason: str) -> State:
    """Mark a model as bad, so that it is refused."""
    return _replace(state, bad=state.bad | {card_sha256: reason}, unjudged=_without(state.unjudged, card_sha256))


def forgive(state: State, card_sha256: str) -> State:
    """Remove the mark that a model is bad: a technician wants to try it again."""
    return _replace(state, bad=_without(state.bad, card_sha256), unjudged=_without(state.unjudged, card_sha256))


def _without(known: dict[str, Any], card_sha256: str) -> dict[str, Any]:
    return {key: value for key, value in known.items() if key != card_sha256}


def _replace(state: State, **changes: Any) -> State:  # noqa: ANN401  fields of different types
    return msgspec.structs.replace(state, **changes)


def _from_1(fields: dict[str, Any]) -> dict[str, Any]:
    """Migrate version 1, which had no reasons and one copy on disk."""
    return fields | {
        "version": 2,
        "generation": 0,
        "bad": dict.fromkeys(fields["bad"], "failed here; an older pitcore kept no reason"),
    }


def _from_2(fields: dict[str, Any]) -> dict[str, Any]:
    """Migrate version 2, which did not count models that could not be judged."""
    return fields | {"version": 3, "unjudged": {}}


def _from_3(fields: dict[str, Any]) -> dict[str, Any]:
    """Migrate version 3, which did not have the verdicts of the previous model."""
    return fields | {"version": 4}


def _from_4(fields: dict[str, Any]) -> dict[str, Any]:
    """Migrate version 4, which did not have the faults with the previous model."""
    return fields | {"version": 5}


MIGRATIONS: dict[Any, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1, 2: _from_2, 3: _from_3, 4: _from_4}


def encode(state: State) -> bytes:
    """Return the bytes of a state on disk."""
    return msgspec.json.format(msgspec.json.encode(state), indent=1) + b"\n"


def decode(raw: bytes, where: str) -> State:
    """Read a state.

    Raises:
        UpdateError: a newer pitcore wrote it, or it is damaged.
    """
    try:
        fields = msgspec.json.decode(raw, type=dict[str, Any])
        version = fields.get("version")
        if isinstance(version, int) and version > VERSION:
            raise UpdateError(
                Refusal.NEWER_STATE,
                f"{where}: written by a newer pitcore (version {version}, this one knows {VERSION}); nothing was "
                "changed: install the newer pitcore again",
            )
        while (migrate := MIGRATIONS.get(fields.get("version"))) is not None:
            fields = migrate(fields)
        if missing := set(State.__struct_fields__) - set(fields):  # the defaults are for a fresh board only
            raise msgspec.ValidationError(f"missing: {', '.join(sorted(missing))}")
        return msgspec.convert(fields, type=State)
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:  # ValidationError is a DecodeError
        raise UpdateError(Refusal.STORAGE, f"{where}: damaged: {first_line(error)}") from error
