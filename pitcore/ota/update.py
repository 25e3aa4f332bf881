"""Runs an update in an order that never leaves the board without a verified model.

    lock -> make room -> empty the inactive slot -> fetch the archive, whole or by patch -> unpack, sync, move in
    -> self-test -> TRIAL, the only commit point -> the service loads it -> health gate -> COMMITTED, and only now
    success

``trust`` decides what is genuine and current. ``install`` and ``slots`` change files. ``trial`` has the steps after
TRIAL. This module has the order of the steps and the actions after a failure. See docs/life_of_an_update.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pitcore.errors import (
    BundleError,
    CardError,
    ControlError,
    NotRunningError,
    Refusal,
    UnreadableBundleError,
    UpdateError,
)
from pitcore.ota import install
from pitcore.ota import state as states
from pitcore.ota.gate import Gate, Health, Service
from pitcore.ota.repository import Offer, Repository
from pitcore.ota.selftest_process import SelfTestReport
from pitcore.ota.slots import Store, installed_models
from pitcore.ota.staging import Bringer
from pitcore.ota.state import SlotContent, State
from pitcore.ota.trial import TrialRun, UpdateOutcome


@dataclass(frozen=True, slots=True)
class Means:
    """The parts that an update works with.

    Attributes:
        repository: source of models; None for commands that fetch nothing.
        self_test: tests a bundle against the running one; raises UpdateError.
        service: the running service.
        gate: the requirements for a model on trial.
        attempts: how often the service may load a model on trial.
        tell: takes a progress line.
    """

    repository: Repository | None
    self_test: Callable[[Path, Path], SelfTestReport]
    service: Service
    gate: Gate = field(default_factory=Gate)
    attempts: int = 3
    tell: Callable[[str], None] = lambda line: None  # noqa: ARG005  nobody listens


class Updater:
    """Implements the commands of `pitcore update` on one store.

    Args:
        store: of the board.
        means: the parts that it works with.
    """

    def __init__(self, store: Store, means: Means) -> None:
        self._store, self._means = store, means
        self._trial = TrialRun(store, means.service, means.gate, means.tell)

    def check(self) -> UpdateOutcome:
        """Return whether a release is offered. Raises UpdateError."""
        with self._ready():
            found = self._wanted()
            if isinstance(found, UpdateOutcome):
                return found
            return UpdateOutcome(
                "available",
                f"{found.target} (release {found.release_seq}) is available; `pitcore update install` installs it",
            )

    def fetch(self) -> UpdateOutcome:
        """Fetch and verify the offered release, and stop there. Raises UpdateError."""
        with self._ready():
            self._check_no_trial()
            self._leave_damaged()
            found = self._wanted()
            if isinstance(found, UpdateOutcome):
                return found
            install.make_room(self._store, found)
            self._bring(found)
            return UpdateOutcome(
                "fetched", f"{found.target} is downloaded and verified; `pitcore update install` continues with it"
            )

    def install(self, *, again: bool = False) -> UpdateOutcome:
        """Run all steps, or finish an earlier update that was interrupted.

        Args:
            again: install a release that failed here before.

        Raises:
            UpdateError: it failed; the previous model keeps running, or runs again.
        """
        with self._ready():
            if self._store.read().trial is not None:
                return self._trial.finish()
            return self._install(again=again)

    def install_order(self) -> UpdateOutcome:
        """Run all steps for the release that a fleet's server ordered. An earlier trial is not finished here.

        So the result is always that of the ordered release.

        Raises:
            UpdateError: as ``install``; or a model is on trial already.
        """
        with self._ready():
            self._check_no_trial()
            return self._install(again=False)

    def commit(self) -> UpdateOutcome:
        """Judge the model on trial now. Raises UpdateError."""
        with self._ready():
            if self._store.read().trial is None:
                raise UpdateError(
                    Refusal.NOTHING_TO_DO, "no model is on trial; `pitcore update status` shows what is here"
                )
            return self._trial.finish()

    def rollback(self) -> UpdateOutcome:
        """Go back from the model on trial, or the active one, to the previous. Raises UpdateError."""
        with self._ready():
            before = self._store.read()
            after = self._store.change(lambda state: states.roll_back(state, "rolled back by hand"))
            if after == before:
                raise UpdateError(
                    Refusal.NOTHING_TO_DO, "the model that came with pitcore runs: there is no earlier one"
                )
            told = self._trial.tell_service()
            return UpdateOutcome("rolled back", f"back to {_label(after)}; {told}")

    def _check_no_trial(self) -> None:
        """Raise UpdateError if a model is on trial."""
        if self._store.read().trial is not None:
            raise UpdateError(Refusal.BUSY, "a model is on trial in that slot: `pitcore update commit` judges it first")

    def _install(self, *, again: bool) -> UpdateOutcome:
        """Run all steps, while no model is on trial. Raises UpdateError."""
        self._leave_damaged()
        offer = self._wanted(again=again)
        if isinstance(offer, UpdateOutcome):
            return offer
        before = self._health_before()
        self._put(offer, before)
        return self._trial.begin()

    @contextmanager
    def _ready(self) -> Iterator[None]:
        """Lock the store, and make sure that its state can be read. Raises UpdateError."""
        store, tell = self._store, self._means.tell
        store.prepare()
        with store.updating():
            try:
                store.read()
            except UpdateError as error:
                if error.refusal is Refusal.NEWER_STATE:
                    raise
                tell(f"{error}; starting over from the model that came with pitcore")
                store.start_over()
            yield

    def _leave_damaged(self) -> None:
        """Go from a damaged active model to the previous one, so that the repair keeps the previous one."""
        state = self._store.read()
        while state.trial is None and state.active is not None:
            try:
                self._store.verified(state, state.active)
            except (BundleError, CardError) as error:
                self._means.tell(f"the active model is damaged and left: {error}")
                state = self._store.change(states.leave_damaged)
            else:
                return

    def _wanted(self, *, again: bool = False) -> Offer | UpdateOutcome:
        """Return the offer to install, or the outcome if there is nothing to do. Raises UpdateError."""
        offer, state = self._repository().check(), self._store.read()
        if offer is None:
            return UpdateOutcome("none", "no release is offered to this board")
        running = next(installed_models(self._store.root)).bundle
        if offer.card_sha256 == running.sha256:
            return UpdateOutcome("current", f"{running.label} runs already, and is the release that is offered")
        if again:
            self._store.change(lambda state: states.forgive(state, offer.card_sha256))
        elif offer.card_sha256 in state.bad:
            reason = state.bad[offer.card_sha256]
            return UpdateOutcome(
                "refused here",
                f"{offer.target} failed here before ({reason}); wait for the next release, or give --again",
            )
        if offer.release_seq < state.release_seq_floor:
            raise UpdateError(
                Refusal.ROLLED_BACK,
                f"{offer.target}: release {offer.release_seq} is older than {state.release_seq_floor}, which ran here; "
                "to go back, publish the old model under a new release",
            )
        return offer

    def _health_before(self) -> Health | None:
        """Return the service's health; None if no service runs.

        Raises:
            UpdateError: it runs, but cannot be asked. A trial would then fail, although the model may be good.
        """
        try:
            return self._means.service.health()
        except NotRunningError:
            return None
        except ControlError as error:
            message = f"the service could not be asked to load it, so nothing was changed: {error}"
            raise UpdateError(Refusal.NOT_SET_UP, message) from error

    def _put(self, offer: Offer, before: Health | None) -> None:
        """From the offer to TRIAL, with the verdicts and faults of the model that runs. Raises UpdateError."""
        means, store = self._means, self._store
        slot = install.make_room(store, offer)
        packed = self._bring(offer)
        try:
            bundle = install.fill(store, slot, packed, offer.card_sha256)
            running = next(installed_models(store.root)).bundle
            means.tell(f"self-test of {bundle.label}")
            report = means.self_test(bundle.directory, running.directory)
        except UnreadableBundleError as error:
            raise self._unjudged(offer, packed, UpdateError(Refusal.UNJUDGED, str(error))) from error
        except (BundleError, CardError) as error:
            raise self._refused(offer, packed, UpdateError(Refusal.SELF_TEST, str(error))) from error
        except UpdateError as error:
            if error.refusal is Refusal.UNJUDGED:
                raise self._unjudged(offer, packed, error) from error
            if error.refusal is not Refusal.SELF_TEST:
                raise
            raise self._refused(offer, packed, error) from error
        means.tell(_describe(report))
        store.disk.remove_tree(packed)
        release = SlotContent(bundle.sha256, offer.release_seq, bundle.label)
        verdicts, usual = (None, None) if before is None else (before.recent, before.shares)
        store.change(lambda state: states.begin_trial(state, release, means.attempts, verdicts, usual))

    def _bring(self, offer: Offer) -> Path:
        running = next(installed_models(self._store.root)).bundle
        return Bringer(self._repository(), self._store, self._means.tell).bring(offer, running)

    def _repository(self) -> Repository:
        if self._means.repository is None:
            raise UpdateError(Refusal.NOT_SET_UP, "no repository is set up")
        return self._means.repository

    def _unjudged(self, offer: Offer, packed: Path, error: UpdateError) -> UpdateError:
        """Record that the machine could not judge an offer, and return the message.

        The archive is kept: it has the signed hash, and the next run does not have to fetch it again.
        """
        why = str(error)
        state = self._store.change(lambda state: states.count_unjudged(state, offer.card_sha256, why))
        if offer.card_sha256 in state.bad:
            return self._refused(offer, packed, UpdateError(Refusal.SELF_TEST, state.bad[offer.card_sha256]))
        times = state.unjudged[offer.card_sha256]
        return UpdateError(
            error.refusal,
            f"{offer.target}: {why}; this does not mean that the model is bad: the next run tries it again (try "
            f"{times} of {states.UNJUDGED_LIMIT})",
        )

    def _refused(self, offer: Offer, packed: Path, error: UpdateError) -> UpdateError:
        """Record that an offer is bad, and return the message."""
        self._store.disk.remove_tree(packed)
        self._store.change(lambda state: states.refuse(state, offer.card_sha256, str(error)))
        return UpdateError(
            error.refusal, f"{offer.target}: {error}; it will not be installed again, and the old model keeps running"
        )


def _label(state: State) -> str:
    release = None if state.active is None else state.holds(state.active)
    return "the model that came with pitcore" if release is None else release.label


def _describe(report: SelfTestReport) -> str:
    ratio = (
        "the running model does not load" if report.ratio is None else f"{report.ratio:.2f} times the running model's"
    )
    return f"self-test passed: {report.latency_ms:.1f} ms a call, {ratio}; {report.peak_mb:.0f} MB"
