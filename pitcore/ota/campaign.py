"""Carries out a fleet's orders: hawkBit selects, signatures authorise, success is reported after COMMIT.

A timer runs one poll at a time. No state is kept between two polls: the server has the action, and the store has the
state. So a board that lost power at any point reports the right state at its next poll.

A poll first judges a model that is left on trial, because the health gate must not depend on the server. An order is
installed only when no model is on trial, so each result belongs to one order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pitcore.errors import Refusal, UpdateError
from pitcore.ota.channel import check_name
from pitcore.ota.hawkbit import PART, TARGET_KEY, Chunk, DdiServer, Deployment, Feedback, Link
from pitcore.ota.slots import Store, installed_models
from pitcore.ota.update import Updater

# Temporary faults: the action stays open, and the next poll tries again. All others end it.
_PASSING = {
    Refusal.UNREACHABLE,
    Refusal.UNAVAILABLE,
    Refusal.CUT_SHORT,
    Refusal.TOO_SLOW,
    Refusal.CAPTIVE_PORTAL,
    Refusal.CLOCK,
    Refusal.BUSY,
    Refusal.UNJUDGED,
}


@dataclass(frozen=True, slots=True)
class Polled:
    """The result of a poll.

    Attributes:
        sleep_s: until the next.
        message: for people.
    """

    sleep_s: float
    message: str


@dataclass(frozen=True, slots=True)
class Order:
    """The model that a deployment orders.

    Attributes:
        target: archive in the signed repository.
        label: ``name@version`` that the board must run afterwards.
    """

    target: str
    label: str


@dataclass(frozen=True, slots=True)
class Judged:
    """The result of judging a model that was left on trial.

    Attributes:
        is_over: False if the model is still on trial.
        message: for people.
    """

    is_over: bool
    message: str


class Campaign:
    """Carries out a fleet's campaigns on this board.

    Args:
        server: it selects models.
        store: of this board.
        updater: returns an installer of the archive with a given name; with None, an updater that fetches nothing.
        attributes: of this board, for the server's filters.
        tell: takes the result of a trial that an earlier run left.
    """

    def __init__(
        self,
        server: DdiServer,
        store: Store,
        updater: Callable[[str | None], Updater],
        attributes: dict[str, str],
        tell: Callable[[str], None] = lambda line: None,  # noqa: ARG005  nobody listens
    ) -> None:
        self._server, self._store, self._updater, self._attributes = server, store, updater, attributes
        self._tell = tell

    def poll(self) -> Polled:
        """Judge a model that is left on trial, then ask for orders, carry them out, and report the result.

        Raises:
            UpdateError: the server cannot be asked, or takes no report.
        """
        trial = self._judge_trial()
        base = self._server.poll()
        links = base.links
        if links.config_data is not None:
            running = next(installed_models(self._store.root)).bundle.label
            self._server.describe(links.config_data, self._attributes | {"model": running})
        if links.cancel_action is not None:
            message = self._cancel(links.cancel_action, trial)
        elif links.deployment_base is not None:
            message = self._deploy(links.deployment_base, trial)
        else:
            message = "no orders"
        return Polled(base.sleep_s, message)

    def _judge_trial(self) -> Judged | None:
        """Judge the model on trial, if there is one. This needs neither the server nor the repository."""
        try:
            if self._store.read().trial is None:
                return None
        except UpdateError:  # the updater starts over, or refuses, when there is an order
            return None
        try:
            outcome = self._updater(None).commit()
            judged = Judged(outcome.result != "on trial", outcome.message)
        except UpdateError as error:
            judged = Judged(error.refusal is Refusal.TRIAL, str(error))
        self._tell(judged.message)
        return judged

    def _cancel(self, link: Link, trial: Judged | None) -> str:
        """Cancel an action. It waits for a trial, because the server does not say whether the action is that of it."""
        cancel = self._server.cancel(link)
        if trial is None:
            feedback = Feedback("closed", "success", "cancelled; nothing was changed")
        elif trial.is_over:
            feedback = Feedback("closed", "success", f"cancelled; before, a trial ended: {trial.message}")
        else:
            feedback = Feedback("proceeding", "none", f"waits for a trial: {trial.message}")
        self._server.say("cancelAction", cancel.id, feedback)
        return f"action {cancel.cancel_action.stop_id}: {feedback.details}"

    def _deploy(self, link: Link, trial: Judged | None) -> str:
        deployment = self._server.deployment(link)
        try:
            order = _order(deployment)
            if trial is not None and not trial.is_over:
                feedback = Feedback("proceeding", "none", f"{order.label} waits for a trial: {trial.message}")
            elif deployment.may_install:
                self._say(deployment, Feedback("proceeding", "none", f"{order.label}: begun"))
                feedback = self._install(order)
            elif deployment.deployment.download != "skip":
                feedback = self._fetch(order)
            else:
                feedback = Feedback("scheduled", "none", f"{order.label}: waits until it may be downloaded")
        except UpdateError as error:
            details = f"{error.refusal}: {error}"
            passing = error.refusal in _PASSING
            feedback = Feedback("proceeding", "none", details) if passing else Feedback("closed", "failure", details)
        self._say(deployment, feedback)
        return f"action {deployment.id}: {feedback.execution}, {feedback.finished}: {feedback.details}"

    def _fetch(self, order: Order) -> Feedback:
        outcome = self._updater(order.target).fetch()
        if outcome.result == "refused here":
            return Feedback("closed", "failure", outcome.message)
        return Feedback("downloaded", "none", outcome.message)

    def _install(self, order: Order) -> Feedback:
        """Install the order, and report success only if the ordered model is committed."""
        outcome = self._updater(order.target).install_order()
        if outcome.result == "on trial":
            return Feedback("proceeding", "none", outcome.message)
        if outcome.result in {"committed", "current"} and self._runs(order):
            return Feedback("closed", "success", outcome.message)
        return Feedback("closed", "failure", outcome.message)

    def _runs(self, order: Order) -> bool:
        return next(installed_models(self._store.root)).bundle.label == order.label

    def _say(self, deployment: Deployment, feedback: Feedback) -> None:
        self._server.say("deploymentBase", deployment.id, feedback)


def _order(deployment: Deployment) -> Order:
    """Return the order of a deployment. Raises UpdateError."""
    chunks = [chunk for chunk in deployment.deployment.chunks if chunk.part == PART]
    if len(chunks) != 1:
        raise UpdateError(
            Refusal.MALFORMED,
            f"action {deployment.id}: {len(chunks)} software modules of type {PART!r}, but there must "
            "be one; fix the distribution set",
        )
    target = _target(chunks[0])
    check_name(target)
    return Order(target, f"{chunks[0].name}@{chunks[0].version}")


def _target(chunk: Chunk) -> str:
    named = [fact.value for fact in chunk.metadata if fact.key == TARGET_KEY]
    return named[0] if named else f"models/{chunk.name}-{chunk.version}.tar"
