"""Manages the store on disk: two slots, one state, and the model that the service loads.

    STORE/state.json     which slot is active, what is on trial, what failed here (``state``)
    STORE/state.backup.json   a copy, written after it: if one file is lost, no floor falls
    STORE/slots/a, b     a model bundle each; at most one of them is active, at most one on trial
    STORE/staging/       files that are being fetched; after a fault they can be fetched again
    STORE/tuf/           the trusted metadata (``trust``)

A slot counts only if each of its files has the hash in its card, and the card has the hash in the state. So the loaded
model is always verified. In the worst case it is the one that came with pitcore.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from pitcore.errors import BundleError, CardError, Refusal, UpdateError
from pitcore.model_card import DEFAULT_BUNDLE, Bundle, load_bundle
from pitcore.ota import state as states
from pitcore.ota.disk import Disk, Operation, storage_error
from pitcore.ota.state import SlotName, State, Transition

log = logging.getLogger(__name__)
Role = Literal["trial", "active", "previous", "bundled"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A verified model that may be loaded, and its role."""

    bundle: Bundle
    role: Role


class Store:
    """Manages one board's models.

    Args:
        root: the directory; ``prepare`` makes it.
        disk: carries out changes.
    """

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        self.root, self.disk = root, disk or Disk()
        self.state_path, self.backup_path = root / "state.json", root / "state.backup.json"
        self.staging, self.slots, self.tuf = root / "staging", root / "slots", root / "tuf"

    def slot(self, name: SlotName) -> Path:
        """Return the directory of a slot, which may not exist."""
        return self.slots / name

    def prepare(self) -> None:
        """Make the directories and the lock files. Raises UpdateError."""
        self.disk.make_directory(self.root)
        missing = [place for place in (self.slots, self.staging, self.tuf) if not place.is_dir()]
        for place in missing:
            self.disk.perform(Operation("mkdir", place))
        if missing:
            self.disk.perform(Operation("sync directory", self.root))
        for lock in ("update.lock", "state.lock"):
            if not (self.root / lock).exists():
                self.disk.perform(Operation("create", self.root / lock))

    def read(self) -> State:
        """Return the state: the newer whole one of its two copies. A store without a copy is fresh.

        Raises:
            UpdateError: no copy can be read, or a newer pitcore wrote one.
        """
        whole: list[State] = []
        damage: UpdateError | None = None
        for path in (self.state_path, self.backup_path):
            try:
                whole.append(states.decode(path.read_bytes(), str(path)))
            except FileNotFoundError:
                continue
            except OSError as error:
                damage = storage_error(path, error)
            except UpdateError as error:
                if error.refusal is Refusal.NEWER_STATE:
                    raise
                damage = error
        if damage is not None:
            if not whole:
                raise damage
            log.error("%s; the other copy is used, and the next change writes both", damage)
        return max(whole, key=lambda state: state.generation, default=State())

    def change(self, transition: Transition) -> State:
        """Write a transition under a lock: read, change, write.

        Raises:
            UpdateError: as ``read``; or the disk takes no write, and the old state is kept.
        """
        with self._lock("state.lock", wait=True):
            old = self.read()
            new = transition(old)
            if new != old:
                self._write(msgspec.structs.replace(new, generation=old.generation + 1))
            return new

    def start_over(self) -> None:
        """Write a fresh state if no copy can be read. The files in the slots do not count from then on.

        Raises:
            UpdateError: a copy can be read, or the disk takes no write.
        """
        with self._lock("state.lock", wait=True):
            try:
                self.read()
            except UpdateError as error:
                if error.refusal is Refusal.NEWER_STATE:
                    raise
                self._write(State())

    def _write(self, state: State) -> None:
        self.disk.replace(self.state_path, states.encode(state), copy=self.backup_path)

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Lock the store for one update. Raises UpdateError if another update is running."""
        with self._lock("update.lock", wait=False):
            yield

    def verified(self, state: State, slot: SlotName) -> Bundle:
        """Return the bundle in a slot, every file of it checked. Raises PitcoreError."""
        release = state.holds(slot)
        if release is None:
            raise BundleError(f"{self.slot(slot)}: empty")
        bundle = load_bundle(self.slot(slot))
        if bundle.sha256 != release.card_sha256:
            raise BundleError(
                f"{self.slot(slot) / 'card.json'}: hash {bundle.sha256[:12]} is not the {release.card_sha256[:12]} "
                "that was installed"
            )
        return bundle

    @contextmanager
    def _lock(self, name: str, *, wait: bool) -> Iterator[None]:
        """Hold a lock. The kernel releases it whenever the process ends."""
        try:
            fd = os.open(self.root / name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise storage_error(self.root / name, error) from error
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                message = f"{self.root}: another update is under way; wait until it has ended"
                raise UpdateError(Refusal.BUSY, message) from error
            yield
        finally:
            os.close(fd)


def installed_models(root: Path) -> Iterator[Candidate]:
    """Yield the committed models, the best first. Nothing on disk changes."""
    store = Store(root)
    yield from _candidates(store, _state_or_fresh(store), on_trial=False)


def models_to_load(root: Path, running_sha256: str | None = None) -> Iterator[Candidate]:
    """Yield the models the service may load, the best first; call this before each load.

    A model on trial comes first, but only after one of its attempts was counted *on disk*. So a model that crashes the
    process is tried only that often, and then rolled back. If the disk takes no write, it is not tried. The last one is
    always the model that came with pitcore.

    Args:
        root: of the store.
        running_sha256: of the model that runs now. Loading it again is not a new attempt.
    """
    store = Store(root)
    state = _state_or_fresh(store)
    if state.trial is None:
        yield from _candidates(store, state, on_trial=False)
        return
    release = state.holds(state.trial.slot)
    try:
        if release is not None and release.card_sha256 != running_sha256:
            state = store.change(states.spend_attempt)
            if state.trial is None:
                log.error("%s: loaded as often as a trial allows, and never committed; rolled back", release.label)
        on_trial = True
    except UpdateError as error:
        log.error("the model on trial is not loaded: its attempt cannot be counted: %s", error)  # noqa: TRY400  no traceback for users
        on_trial = False
    yield from _candidates(store, state, on_trial=on_trial)


def refund(root: Path, running_sha256: str) -> None:
    """Give an attempt back after a clean stop, if the model on trial was running. Faults are only logged."""
    _quietly(root, _if_on_trial(running_sha256, states.refund_attempt))


def give_up(root: Path, candidate: Candidate, why: str) -> None:
    """Roll back a model on trial that does not load on this machine. Faults are only logged."""
    if candidate.role == "trial":
        _quietly(root, _if_on_trial(candidate.bundle.sha256, lambda state: states.roll_back(state, why)))


def _if_on_trial(card_sha256: str, transition: Transition) -> Transition:
    """Return a transition that does nothing if this model is no longer on trial."""

    def guarded(state: State) -> State:
        release = None if state.trial is None else state.holds(state.trial.slot)
        return transition(state) if release is not None and release.card_sha256 == card_sha256 else state

    return guarded


def _candidates(store: Store, state: State, *, on_trial: bool) -> Iterator[Candidate]:
    """Yield the models that verify, in order."""
    wanted: list[tuple[Role, SlotName | None]] = []
    if on_trial and state.trial is not None:
        wanted.append(("trial", state.trial.slot))
    if state.active is not None:
        wanted += [("active", state.active), ("previous", state.previous)]
    for role, slot in wanted:
        if slot is None:
            continue
        try:
            yield Candidate(store.verified(state, slot), role)
        except (BundleError, CardError) as error:
            log.error("the %s model is skipped: %s", role, error)  # noqa: TRY400  no traceback for users
            release = state.holds(slot)
            if role == "trial" and release is not None:
                _quietly(store.root, _if_on_trial(release.card_sha256, states.drop_trial))
    yield Candidate(load_bundle(DEFAULT_BUNDLE), "bundled")


def _state_or_fresh(store: Store) -> State:
    """Return the state; if it cannot be read, a fresh one, with the model that came with pitcore."""
    try:
        return store.read()
    except UpdateError as error:
        log.error("%s", error)  # noqa: TRY400  no traceback for users
        return State()


def _quietly(root: Path, transition: Transition) -> None:
    """Write a transition if it changes something and the disk takes it. The service continues in all cases.

    A transition that changes nothing needs no lock, so no store either: a store is missing until the first install.
    """
    store = Store(root)
    try:
        state = store.read()
        if transition(state) != state:
            store.change(transition)
    except UpdateError as error:
        log.error("%s: the state could not be changed: %s", root, error)  # noqa: TRY400  no traceback for users
