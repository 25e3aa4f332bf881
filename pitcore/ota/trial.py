"""Runs a trial: the service loads the model, and the model is committed or rolled back.

An earlier run may have been interrupted at any point, and the service may have rolled back by itself. So each step
reads the state on disk again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pitcore.errors import ControlError, NotRunningError, Refusal, UpdateError
from pitcore.ota import state as states
from pitcore.ota.gate import Failed, Gate, Health, Passed, Service, Unclear, judge
from pitcore.ota.shares import cherries_needed
from pitcore.ota.slots import Store
from pitcore.ota.state import SlotContent, State

Result = Literal["none", "current", "refused here", "available", "fetched", "committed", "on trial", "rolled back"]


@dataclass(frozen=True, slots=True)
class UpdateOutcome:
    """The result of a command that did not fail.

    Attributes:
        result: ``on trial`` is not a success yet: the service does not run, or its belt is stopped.
        message: for people.
    """

    result: Result
    message: str


class TrialRun:
    """Runs the trial on one store.

    Args:
        store: locked by the caller.
        service: the running service.
        gate: the requirements for the model.
        tell: takes a progress line.
    """

    def __init__(self, store: Store, service: Service, gate: Gate, tell: Callable[[str], None]) -> None:
        self._store, self._service, self._gate, self._tell = store, service, gate, tell

    def begin(self) -> UpdateOutcome:
        """Tell the service to load the model on trial, and judge it. Raises UpdateError if it was rolled back."""
        return self._change_over(self._on_trial())

    def finish(self) -> UpdateOutcome:
        """Continue a trial that an earlier run left, or that the service started by itself. Raises UpdateError."""
        release = self._on_trial()
        self._tell(f"{release.label} is on trial since an earlier run")
        health = self.health()
        if health is not None and health.model_sha256 == release.card_sha256:
            return self._watch(release)
        self._check_still_on_trial(release)  # asked for its health, the service may have died of the model
        return self._change_over(release)

    def _change_over(self, release: SlotContent) -> UpdateOutcome:
        try:
            self._service.reload()
        except NotRunningError:
            return UpdateOutcome(
                "on trial",
                f"{release.label} is installed on trial, but the service does not run: start it, then "
                "`pitcore update commit`",
            )
        except ControlError as error:
            # Not the model's fault: one that does not load here, the service rolls back by itself, and takes another.
            self._tell(f"the service did not confirm that it loaded it: {error}")
        return self._watch(release)

    def _watch(self, release: SlotContent) -> UpdateOutcome:
        """Poll the service until the gate can decide. Raises UpdateError."""
        gate = self._gate
        deadline = time.monotonic() + gate.timeout_s
        start: Health | None = None
        health: Health | None = None
        verdict: Passed | Failed | Unclear | None = None
        trial = self._store.read().trial
        verdicts, usual = (None, None) if trial is None else (trial.before, trial.usual)
        cherries = cherries_needed(verdicts, gate.cherries)
        self._tell(f"health gate: {gate.frames} frames and {cherries} cherries of {release.label}")
        while time.monotonic() < deadline:
            health = self.health()
            self._check_still_on_trial(release)
            if health is not None and health.model_sha256 == release.card_sha256:
                start = health if start is None or health.frames < start.frames else start  # fewer: it restarted
                verdict = judge(gate, start, health, usual, verdicts)
                if isinstance(verdict, Failed):
                    raise self._failed(release, verdict.why)
                if isinstance(verdict, Passed):
                    return self._commit(release)
            time.sleep(gate.poll_s)
        if health is not None and health.model_sha256 != release.card_sha256:
            return self._unjudged(release, f"the service does not run it after {gate.timeout_s:g} s, see its log")
        if health is None and self._service.lives():
            return self._unjudged(release, f"the service runs, but did not answer for {gate.timeout_s:g} s: restart it")
        if health is None and self._died():
            raise self._failed(release, "the service died while it ran it")
        if isinstance(verdict, Unclear):
            return self._unjudged(release, verdict.why)
        return UpdateOutcome(
            "on trial",
            f"{release.label} judged fewer than {gate.frames} frames or {cherries} cherries in {gate.timeout_s:g} s "
            "and stays on trial: "
            "`pitcore update commit` once the belt runs, or the next run of the timer",
        )

    def _died(self) -> bool:
        """Return how a service that does not answer ended. A clean stop gives the attempt back."""
        trial = self._store.read().trial
        return trial is not None and trial.attempts_left < trial.attempts

    def _commit(self, release: SlotContent) -> UpdateOutcome:
        """Make the model on trial the active one. Raises UpdateError."""
        state = self._store.change(lambda state: states.commit(state) if _tries(state, release) else state)
        if state.active is None or state.holds(state.active) != release:
            self._check_still_on_trial(release)
        return UpdateOutcome("committed", f"{release.label} (release {release.release_seq}) is committed and in use")

    def _unjudged(self, release: SlotContent, why: str) -> UpdateOutcome:
        """Keep a model on trial that the machine cannot judge, up to a limit. Raises UpdateError."""
        state = self._store.change(
            lambda state: states.count_unjudged(state, release.card_sha256, why) if _tries(state, release) else state
        )
        if _tries(state, release):
            times = f"try {state.unjudged[release.card_sha256]} of {states.UNJUDGED_LIMIT}"
            return UpdateOutcome("on trial", f"{release.label} could not be judged and stays on trial ({times}): {why}")
        raise self._given_up(release, state.bad.get(release.card_sha256, "its slot was damaged"))

    def _failed(self, release: SlotContent, why: str) -> UpdateError:
        """Roll the trial back, and return the message."""
        self._store.change(lambda state: states.roll_back(state, why) if _tries(state, release) else state)
        return self._given_up(release, why)

    def _given_up(self, release: SlotContent, why: str) -> UpdateError:
        """Tell the service to load the old model, and return the message."""
        return UpdateError(
            Refusal.TRIAL,
            f"{release.label} is rolled back and will not be installed again: {why}; {self.tell_service()}",
        )

    def _check_still_on_trial(self, release: SlotContent) -> None:
        """Notice that the service rolled a trial back by itself. Raises UpdateError."""
        state = self._store.read()
        if not _tries(state, release):
            why = state.bad.get(release.card_sha256, "its slot was damaged")
            raise UpdateError(Refusal.TRIAL, f"{release.label} was rolled back by the service: {why}")

    def _on_trial(self) -> SlotContent:
        state = self._store.read()
        release = None if state.trial is None else state.holds(state.trial.slot)
        assert release is not None, "asked only during a trial"  # noqa: S101  every caller looked
        return release

    def health(self) -> Health | None:
        """Return the service's health; None if it is not available now."""
        try:
            return self._service.health()
        except ControlError:
            return None

    def tell_service(self) -> str:
        """Tell the service to load the model that the store names, and return the result."""
        try:
            self._service.reload()
        except NotRunningError:
            return "the service does not run and will load it when it starts"
        except ControlError as error:
            return f"the service did NOT load it, restart it: {error}"
        return "the service has loaded it"


def _tries(state: State, release: SlotContent) -> bool:
    return state.trial is not None and state.holds(state.trial.slot) == release
