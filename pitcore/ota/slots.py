"""The store on disk: two slots, one state, and which model the service is to load.

    STORE/state.json     which slot is active, what is on trial, what failed here (``state``)
    STORE/state.backup.json   the same, written after it: one file may be lost, and no floor falls
    STORE/slots/a, b     a model bundle each; at most one of them is active, at most one on trial
    STORE/staging/       what is being brought in; worth nothing after a fault but the time to bring it again
    STORE/tuf/           the trusted metadata (``trust``)

A slot counts only if its every file has the hash its card states and the card has the hash that the state states. So
whatever happens to the disk, what is loaded is a model that was verified, at worst the one that came with pitcore.
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
    """A verified model that may be loaded, and as what."""

    bundle: Bundle
    role: Role


class Store:
    """One board's models.

    Args:
        root: the directory; ``prepare`` makes it.
        disk: carries out changes.
    """

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        self.root, self.disk = root, disk or Disk()
        self.state_path, self.backup_path = root / "state.json", root / "state.backup.json"
        self.staging, self.slots, self.tuf = root / "staging", root / "slots", root / "tuf"

    def slot(self, name: SlotName) -> Path:
        """Return the directory of a slot, there or not."""
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
        """Return the state; of its two copies, the later that is whole. A store without any is fresh.

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
        """Make a transition last, alone: read, change, write.

        Raises:
            UpdateError: as ``read``; or the disk takes no write, and the old state stands.
        """
        with self._lock("state.lock", wait=True):
            old = self.read()
            new = transition(old)
            if new != old:
                self._write(msgspec.structs.replace(new, generation=old.generation + 1))
            return new

    def start_over(self) -> None:
        """Write a fresh state where no copy can be read any more. What lies in the slots does not count from then on.

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
        """Hold the store for one update. Raises UpdateError where another is under way."""
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
        """Hold a lock; the kernel lets go of it when the process ends, however it ends."""
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
    """Yield the models that were committed, the best first, for whoever only looks. Nothing on disk changes."""
    store = Store(root)
    yield from _candidates(store, _state_or_fresh(store), on_trial=False)


def models_to_load(root: Path, running_sha256: str | None = None) -> Iterator[Candidate]:
    """Yield the models the service may load, the best first; call this before each load.

    A model on trial comes first, but only after one of its attempts was taken off *on disk*: a model that takes the
    process down is tried no more often than that, and then rolled back. Where the disk takes no write, it is not tried.
    The last is always the model that came with pitcore.

    Args:
        root: of the store.
        running_sha256: of the model that runs now: loading that once more is no new attempt.
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
    """Give an attempt back after a clean stop, if the model on trial was running. What goes wrong is only logged."""
    _quietly(root, _if_on_trial(running_sha256, states.refund_attempt))


def give_up(root: Path, candidate: Candidate, why: str) -> None:
    """Roll back a model on trial that does not load on this machine; what goes wrong is only logged."""
    if candidate.role == "trial":
        _quietly(root, _if_on_trial(candidate.bundle.sha256, lambda state: states.roll_back(state, why)))


def _if_on_trial(card_sha256: str, transition: Transition) -> Transition:
    """Return a transition that does nothing where another model, or none, is on trial by now."""

    def guarded(state: State) -> State:
        release = None if state.trial is None else state.holds(state.trial.slot)
        return transition(state) if release is not None and release.card_sha256 == card_sha256 else state

    return guarded


def _candidates(store: Store, state: State, *, on_trial: bool) -> Iterator[Candidate]:
    """Yield what verifies, in order."""
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
    """Return the state; one that cannot be read leaves the model that came with pitcore."""
    try:
        return store.read()
    except UpdateError as error:
        log.error("%s", error)  # noqa: TRY400  no traceback for users
        return State()


def _quietly(root: Path, transition: Transition) -> None:
    """Make a transition last where the disk lets us: the service goes on either way."""
    try:
        Store(root).change(transition)
    except UpdateError as error:
        log.error("%s: the state could not be written: %s", root, error)  # noqa: TRY400  no traceback for users
