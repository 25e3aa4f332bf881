"""Collects the output of `pitcore update status`: models, faults and fixes. Changes nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from pitcore.errors import BundleError, CardError, Refusal, UpdateError
from pitcore.ota.last_update import LastUpdate, last_update
from pitcore.ota.slots import Role, Store, installed_models
from pitcore.ota.state import SLOTS, SlotName, State

LOW_BYTES = 32 * 1024 * 1024  # a bundle of today, its archive, and as much again


class SlotView(msgspec.Struct, frozen=True):
    """One slot.

    Attributes:
        role: of its model; ``empty`` even if files are on the disk.
        damage: why it is not usable; None if every file is whole.
    """

    slot: SlotName
    role: Literal["active", "trial", "previous", "failed", "empty"]
    label: str | None
    release_seq: int | None
    card_sha256: str | None
    damage: str | None


class Trouble(msgspec.Struct, frozen=True):
    """A fault and its fix."""

    what: str
    fix: str


class RunningModel(msgspec.Struct, frozen=True):
    """The model that the service reports.

    Attributes:
        label: ``name@version``.
        sha256: of its card.
        directory: that the service loaded it from.
    """

    label: str
    sha256: str
    directory: str


class Overview(msgspec.Struct, frozen=True):
    """The overview of a store.

    Attributes:
        store: its directory.
        is_made: False before the first update; this is no fault.
        serves: the model that a service would run if it started now, without a model on trial.
        role: of that model.
        running: the model that the service reports; None if it does not answer.
        bad: ``card_sha256`` of each refused model, with the reason.
        unjudged: ``card_sha256`` of each model that could not be judged yet, with the number of tries.
        free_bytes: on the store's disk.
    """

    schema: Literal["pitcore.update-status/1"]
    store: str
    is_made: bool
    serves: str
    role: Role
    running: str | None
    slots: tuple[SlotView, ...]
    attempts_left: int | None
    release_seq_floor: int
    bad: dict[str, str]
    unjudged: dict[str, int]
    free_bytes: int
    last: LastUpdate | None
    troubles: tuple[Trouble, ...]


def look(store: Store, running: RunningModel | None) -> Overview:
    """Look at a store.

    Args:
        store: it does not have to exist yet.
        running: the model that the service runs; None if it does not answer.
    """
    troubles: list[Trouble] = []
    try:
        state = store.read()
    except UpdateError as error:
        state = State()
        troubles.append(_unreadable(error))
    views = tuple(_view(store, state, slot) for slot in SLOTS)
    first = next(installed_models(store.root))
    last = last_update(store)
    trial = state.trial
    on_trial = None if trial is None else state.holds(trial.slot)
    troubles += [
        Trouble(
            f"slot {view.slot} ({view.role}) is damaged: {view.damage}", "`pitcore update install` installs it again"
        )
        for view in views
        if view.damage is not None
    ]
    free, disk_troubles = _disk(store.root)
    troubles += disk_troubles
    if running is None:
        troubles.append(Trouble("the service does not answer", "`systemctl status pitcore` shows why it does not run"))
    elif running.label != first.bundle.label and (on_trial is None or running.label != on_trial.label):
        troubles.append(_other_model(running, first.bundle.label, state, views))
    if on_trial is not None:
        fix = "`pitcore update commit` tests and keeps it, `pitcore update rollback` removes it"
        troubles.append(Trouble(f"{on_trial.label} is on trial and not committed", fix))
    if last is not None and last.refusal is not None:
        troubles.append(
            Trouble(
                f"the last update failed ({last.refusal}): {last.message}", "fix that, then `pitcore update install`"
            )
        )
    return Overview(
        schema="pitcore.update-status/1",
        store=str(store.root),
        is_made=store.root.exists(),
        serves=first.bundle.label,
        role=first.role,
        running=None if running is None else running.label,
        slots=views,
        attempts_left=None if trial is None else trial.attempts_left,
        release_seq_floor=state.release_seq_floor,
        bad=state.bad,
        unjudged=state.unjudged,
        free_bytes=free,
        last=last,
        troubles=tuple(troubles),
    )


def _other_model(running: RunningModel, next_label: str, state: State, views: tuple[SlotView, ...]) -> Trouble:
    """Return the fault of a service that runs another model than it would load now.

    A reload gives up the running model. It is advised only if that model is refused here, or could be loaded again.
    """
    whole = {view.card_sha256 for view in views if view.label is not None and view.damage is None}
    from_slot = Path(running.directory).name in SLOTS
    if running.sha256 in state.bad or running.sha256 in whole or not from_slot:
        return Trouble(f"the service runs {running.label}, not {next_label}", "`pitcore reload`")
    return Trouble(
        f"{running.label} is only in the service's memory: it would load {next_label} if it started now",
        "`pitcore update install`; do not restart the service before",
    )


def _view(store: Store, state: State, slot: SlotName) -> SlotView:
    release = state.holds(slot)
    if release is None:
        return SlotView(slot, "empty", None, None, None, None)
    role: Literal["active", "trial", "previous", "failed"]
    if slot == state.active:
        role = "active"
    elif state.trial is not None and slot == state.trial.slot:
        role = "trial"
    else:
        role = "failed" if state.is_bad(release) else "previous"
    damage = None
    try:
        store.verified(state, slot)
    except (BundleError, CardError) as error:
        damage = str(error)
    return SlotView(slot, role, release.label, release.release_seq, release.card_sha256, damage)


def _unreadable(error: UpdateError) -> Trouble:
    if error.refusal is Refusal.NEWER_STATE:
        return Trouble(
            str(error), "install the newer pitcore again; the next start loads the model that came with pitcore"
        )
    return Trouble(
        str(error), "`pitcore update install` starts over; the next start loads the model that came with pitcore"
    )


def _disk(root: Path) -> tuple[int, list[Trouble]]:
    """Return the free bytes, and the faults that prevent writing."""
    if not root.exists():
        holds = next(folder for folder in root.absolute().parents if folder.exists())
        found = os.statvfs(holds)
        return found.f_bavail * found.f_frsize, []
    found = os.statvfs(root)
    free, troubles = found.f_bavail * found.f_frsize, []
    if found.f_flag & os.ST_RDONLY:
        fix = "`dmesg` says why; a card that fails turns read-only: replace it"
        troubles.append(Trouble(f"{root}: the disk is read-only, no update can be taken", fix))
    elif not os.access(root, os.W_OK):
        fix = "run it as the service's user: `sudo -u pitcore pitcore update ...`"
        troubles.append(Trouble(f"{root}: not writable for this user", fix))
    if free < LOW_BYTES:
        fix = f"make room: `df -h {root}`, `journalctl --vacuum-size=50M`, older verdict files"
        troubles.append(Trouble(f"{root}: {free / 1e6:.1f} MB free, an update may not fit", fix))
    return free, troubles
