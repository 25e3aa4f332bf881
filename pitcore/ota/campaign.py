"""Carries out a fleet's orders: hawkBit selects, signatures authorise, success is reported after COMMIT.

A timer runs one poll at a time. No state is kept between two polls: the server has the action, and the store has the
state. So a board that lost power at any point reports the right state at its next poll.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pitcore.errors import Refusal, UpdateError
from pitcore.ota.channel import check_name
from pitcore.ota.hawkbit import PART, TARGET_KEY, Chunk, DdiServer, Deployment, Feedback, Link
from pitcore.ota.slots import Store, installed_models
from pitcore.ota.trial import UpdateOutcome
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


class Campaign:
    """Carries out a fleet's campaigns on this board.

    Args:
        server: it selects models.
        store: of this board.
        updater: returns an installer of the archive with a given name.
        attributes: of this board, for the server's filters.
    """

    def __init__(
        self, server: DdiServer, store: Store, updater: Callable[[str], Updater], attributes: dict[str, str]
    ) -> None:
        self._server, self._store, self._updater, self._attributes = server, store, updater, attributes

    def poll(self) -> Polled:
        """Ask for orders, carry them out, and report the result.

        Raises:
            UpdateError: the server cannot be asked, or takes no report.
        """
        base = self._server.poll()
        links = base.links
        if links.config_data is not None:
            running = next(installed_models(self._store.root)).bundle.label
            self._server.describe(links.config_data, self._attributes | {"model": running})
        if links.cancel_action is not None:
            message = self._cancel(links.cancel_action)
        elif links.deployment_base is not None:
            message = self._deploy(links.deployment_base)
        else:
            message = "no orders"
        return Polled(base.sleep_s, message)

    def _cancel(self, link: Link) -> str:
        """Cancel an action, unless its model is on trial: a trial ends by itself."""
        cancel = self._server.cancel(link)
        if self._store.read().trial is not None:
            feedback = Feedback("rejected", "none", "the model is on trial; it is committed or rolled back soon")
        else:
            feedback = Feedback("closed", "success", "cancelled; nothing was changed")
        self._server.say("cancelAction", cancel.id, feedback)
        return f"action {cancel.cancel_action.stop_id}: {feedback.details}"

    def _deploy(self, link: Link) -> str:
        deployment = self._server.deployment(link)
        try:
            order = _order(deployment)
            if deployment.may_install:
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
        outcome = self._updater(order.target).install()
        if outcome.result == "committed" and not self._runs(order):  # that ended an earlier trial, of another model
            outcome = self._updater(order.target).install()
        return self._feedback(order, outcome)

    def _feedback(self, order: Order, outcome: UpdateOutcome) -> Feedback:
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
