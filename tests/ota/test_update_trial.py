"""Tests a model on trial in a service that loses frames, crashes, does not answer or gets no frames."""

import dataclasses
from types import SimpleNamespace

import msgspec
import pytest

from pitcore.config import DecisionConfig
from pitcore.errors import ControlError, Refusal
from pitcore.ota import trial
from pitcore.ota.disk import Disk
from pitcore.ota.gate import Health
from tests.conftest import tiny_card, write_card
from tests.ota.board import BUNDLED, refused
from tests.ota.line import GATE, LOOK_FRAMES, Line


@pytest.fixture
def looks(monkeypatch):
    """A clock of the trial that passes a second at each look, so that no result depends on the machine's speed."""
    clock = SimpleNamespace(now=0.0)

    def look():
        clock.now += 1.0
        return clock.now

    monkeypatch.setattr(trial, "time", SimpleNamespace(monotonic=look, sleep=lambda _s: None))


def serve_impatiently(board, line, timeout_s=0.2):
    """Start a service of this kind; a trial waits only a moment for it, or with the clock ``looks`` some looks."""
    board.line, board.gate = line(board.store.root).start(), dataclasses.replace(GATE, timeout_s=timeout_s)


class Slow(Line):
    """A model that makes the line lose frames."""

    def health(self):
        if self.session.bundle.card.version == "2.0.0":
            self.model_faults += 1
        return super().health()


def test_a_model_that_loses_frames_is_rolled_back_by_itself_and_the_next_good_one_is_taken(board):
    board.line = Slow(board.store.root).start()
    board.install("1.0.0", 1)
    message = refused(Refusal.TRIAL, board.install, "2.0.0", 2)
    assert "rolled back and will not be installed again" in message
    assert "the service has loaded it" in message
    assert board.line.label == "tiny@1.0.0"
    assert board.updater().install().result == "refused here"
    assert board.install("3.0.0", 3).result == "committed"


class Loose(Line):
    """The camera's cable is loose from the change of models on."""

    def health(self):
        if self.session.bundle.card.version == "2.0.0":
            self.machine_faults += 1
        return super().health()


@pytest.mark.usefixtures("looks")
def test_faults_of_the_machine_neither_commit_nor_ban_a_model(board):
    serve_impatiently(board, Loose, 20.0)
    board.install("1.0.0", 1)
    outcome = board.install("2.0.0", 2)
    assert outcome.result == "on trial"
    assert "could not be judged and stays on trial (try 1 of 3): too many faults, perhaps of the machine" in (
        outcome.message
    )
    assert (board.state.active, board.state.bad) == ("a", {})
    board.line, board.gate = Line(board.store.root).start(), GATE  # the cable is fixed
    assert board.updater().commit().result == "committed"


@pytest.mark.usefixtures("looks")
def test_a_machine_that_never_works_well_ends_with_the_old_model(board):
    serve_impatiently(board, Loose, 20.0)
    board.install("1.0.0", 1)
    for _ in range(2):
        assert board.install("2.0.0", 2).result == "on trial"
    assert "could not be judged 3 times" in refused(Refusal.TRIAL, board.updater().install)
    assert board.line.label == "tiny@1.0.0"


class Rattling(Line):
    """This line has a fault, and drops a frame, at every second look, whatever the model."""

    def health(self):
        self.machine_faults += self.frames // LOOK_FRAMES % 2
        self.model_faults += self.frames // LOOK_FRAMES % 2
        return super().health()


@pytest.mark.usefixtures("looks")
def test_usual_faults_are_still_usual_when_a_later_run_continues_the_trial(board):
    serve_impatiently(board, Rattling, 20.0)
    for _ in range(20):
        board.line.health()
    board.gate = dataclasses.replace(board.gate, frames=10**9)  # the belt stops before enough frames are judged
    assert board.install("1.0.0", 1).result == "on trial"
    assert board.state.trial.usual.model > 0.1
    board.gate = dataclasses.replace(GATE, frames=60)
    assert board.updater().commit().result == "committed"


class Crashing(Line):
    """A model that takes the service down at its first frame; something starts the service again."""

    def health(self):
        if self.session.bundle.card.version == "2.0.0":
            self.die()
            self.start()
        return super().health()


def test_a_crash_loop_after_the_change_ends_with_the_model_from_before(board):
    board.line = Crashing(board.store.root).start()
    board.install("1.0.0", 1)
    message = refused(Refusal.TRIAL, board.install, "2.0.0", 2)
    assert "rolled back by the service: loaded 2 times on trial" in message
    assert (board.line.label, board.state.active) == ("tiny@1.0.0", "a")
    assert board.updater().install().result == "refused here"


class Dying(Line):
    """A model that takes the service down, and nothing starts it again."""

    def health(self):
        if self.session is not None and self.session.bundle.card.version == "2.0.0":
            self.die()
        return super().health()


def test_a_service_that_dies_and_stays_dead_rolls_the_trial_back(board):
    serve_impatiently(board, Dying)
    board.install("1.0.0", 1)
    assert "the service died while it ran it" in refused(Refusal.TRIAL, board.install, "2.0.0", 2)
    assert board.line.start().label == "tiny@1.0.0"


def test_without_a_service_the_trial_waits_for_one_and_is_no_success(board):
    board.line.stop()
    outcome = board.install("1.0.0", 1)
    assert outcome.result == "on trial"
    assert "start it, then `pitcore update commit`" in outcome.message
    assert board.line.start().label == "tiny@1.0.0"
    assert board.updater().commit().result == "committed"


class Deaf(Line):
    """The service runs, but cannot be asked: its socket belongs to another user, or it has another version."""

    def health(self):
        raise ControlError("Permission denied; become a member of the socket's group")

    reload = health


def test_an_unreachable_service_is_not_blamed_on_the_model(board):
    board.line = Deaf(board.store.root).start()
    assert "become a member of the socket's group" in refused(Refusal.NOT_SET_UP, board.install, "1.0.0", 1)
    assert (board.state.trial, board.state.bad) == (None, {})
    board.line = Line(board.store.root).start()
    assert board.updater().install().result == "committed"


class Idle(Line):
    """No frame comes."""

    def health(self):
        found = super().health()
        return Health(found.model_sha256, 0, 0, 0, None)


def test_a_stopped_belt_leaves_the_model_on_trial(board):
    serve_impatiently(board, Idle)
    assert board.install("1.0.0", 1).result == "on trial"
    assert (board.state.trial.slot, board.state.bad) == ("a", {})
    board.line = Line(board.store.root).start()
    assert board.updater().install().result == "committed"  # the next run goes on from there


def test_a_service_that_cannot_take_the_model_keeps_the_old_one(board):
    board.install("1.0.0", 1)
    board.line.config = msgspec.structs.replace(board.line.config, decision=DecisionConfig(accept=0.15))
    strict = board.bundle("2.0.0")
    write_card(strict, tiny_card(strict) | {"version": "2.0.0", "thresholds": {"accept": 0.01, "reject": 0.8}})
    refused(Refusal.TRIAL, board.install, "2.0.0", 2)
    assert board.line.label == "tiny@1.0.0"
    assert board.state.bad


class Failing(Disk):
    """A card that fails this number of times to read back what was written."""

    def __init__(self, times):
        self.times = times

    def attempt(self, operation):
        super().attempt(operation)
        if self.times and operation.kind == "sync" and operation.path.name == "metrics.json":
            self.times -= 1
            operation.path.unlink()
            operation.path.symlink_to("/proc/self/mem")


def test_a_disk_that_cannot_be_read_is_not_blamed_on_the_model_and_nothing_is_fetched_again(board):
    board.store.disk = Failing(1)
    message = refused(Refusal.UNJUDGED, board.install, "1.0.0", 1)
    assert "Input/output error" in message
    assert "this does not mean that the model is bad: the next run tries it again (try 1 of 3)" in message
    assert (board.state.bad, board.state.trial, board.line.label) == ({}, None, BUNDLED)
    assert list(board.status().unjudged.values()) == [1]
    board.shelf.fetched.clear()
    assert board.updater().install().result == "committed"
    assert board.shelf.fetched == []
    assert board.state.unjudged == {}


def test_a_model_that_cannot_be_judged_is_refused_after_three_tries(board):
    board.store.disk = Failing(100)
    for _ in range(2):
        refused(Refusal.UNJUDGED, board.install, "1.0.0", 1)
    message = refused(Refusal.SELF_TEST, board.install, "1.0.0", 1)
    assert "could not be judged 3 times, the last time: " in message
    assert "it will not be installed again" in message
    assert board.updater().install().result == "refused here"
    board.store.disk = Disk()
    assert board.updater().install(again=True).result == "committed"


class Unheard(Line):
    """Its socket closes as soon as it has the new model; it lives and judges on."""

    def health(self):
        if self.session.bundle.card.version == "1.0.0":
            raise ControlError("the service closed the connection without an answer")
        return super().health()


def test_a_socket_that_closes_during_the_gate_is_not_blamed_on_the_model(board):
    serve_impatiently(board, Unheard)
    outcome = board.install("1.0.0", 1)
    assert outcome.result == "on trial"
    assert "could not be judged and stays on trial (try 1 of 3): the service runs, but did not" in outcome.message
    assert board.state.bad == {}
    board.line, board.gate = Line(board.store.root).start(), GATE
    assert board.updater().install().result == "committed"


def test_a_service_that_never_answers_does_not_block_later_releases(board):
    serve_impatiently(board, Unheard)
    board.install("1.0.0", 1)
    assert board.updater().install().result == "on trial"
    assert "could not be judged 3 times" in refused(Refusal.TRIAL, board.updater().install)
    assert board.line.label == BUNDLED
    assert board.install("2.0.0", 2).result == "committed"


class CutOff(Line):
    """The connection breaks while it changes over, before or after it took the model."""

    takes = True

    def reload(self):
        if self.takes:
            super().reload()
        raise ControlError("the service went away: Connection reset by peer")


def test_a_connection_that_breaks_during_the_change_of_models_is_tolerated(board):
    board.line = CutOff(board.store.root).start()
    assert board.install("1.0.0", 1).result == "committed"
    assert any("did not confirm that it loaded it" in line for line in board.told)


def test_a_service_that_never_loaded_the_model_leaves_it_on_trial(board):
    serve_impatiently(board, CutOff)
    board.line.takes = False
    outcome = board.install("1.0.0", 1)
    assert outcome.result == "on trial"
    assert "the service does not run it after 0.2 s" in outcome.message
    assert (board.state.bad, board.line.label) == ({}, BUNDLED)
    board.line = Line(board.store.root).start()
    assert board.updater().install().result == "committed"
