import json

import msgspec
import pytest

from pitcore.errors import Refusal, UpdateError
from pitcore.ota import state as states
from pitcore.ota.state import SlotContent, State, Trial

ONE, TWO, THREE = (SlotContent(str(number) * 64, number, f"model@{number}.0.0") for number in (1, 2, 3))


def after(*transitions):
    state = State()
    for transition in transitions:
        state = transition(state)
    return state


def trial(release, attempts=3):
    return lambda state: states.begin_trial(states.empty(state, state.inactive), release, attempts)


def back(state):
    return states.roll_back(state, "by hand")


def test_a_fresh_board_runs_the_model_that_came_with_pitcore():
    assert (State().active, State().previous, State().trial) == (None, None, None)
    assert State().inactive == "a"


def test_models_alternate_between_the_slots_and_the_last_stays_to_go_back_to():
    state = after(trial(ONE), states.commit, trial(TWO), states.commit)
    assert (state.active, state.previous, state.inactive) == ("b", "a", "a")
    assert (state.a, state.b) == (ONE, TWO)
    state = trial(THREE)(state)
    assert (state.active, state.trial.slot, state.previous) == ("b", "a", None)


def test_a_trial_is_loaded_as_often_as_it_may_be_and_then_never_again():
    state = after(trial(ONE), states.commit, trial(TWO, attempts=2), states.spend_attempt, states.spend_attempt)
    assert state.trial == Trial("b", 0, 2)
    state = states.spend_attempt(state)
    assert (state.active, state.trial, state.b) == ("a", None, None)
    assert state.is_bad(TWO)


def test_a_clean_stop_gives_an_attempt_back_but_never_more_than_there_were():
    state = after(trial(ONE, attempts=2), states.spend_attempt, states.refund_attempt, states.refund_attempt)
    assert state.trial.attempts_left == 2


def test_only_a_commit_raises_the_floor_and_nothing_lowers_it():
    state = after(trial(TWO))
    assert state.release_seq_floor == 0
    state = states.commit(state)
    assert state.release_seq_floor == 2
    for transition in (back, trial(ONE), states.commit, back, states.drop_trial):
        state = transition(state)
        assert state.release_seq_floor == 2


def test_going_back_without_a_trial_leaves_the_active_model_for_the_previous_then_for_the_bundled():
    state = after(trial(ONE), states.commit, trial(TWO), states.commit, back)
    assert (state.active, state.b) == ("a", None)
    assert state.is_bad(TWO)
    state = back(state)
    assert (state.active, state.a) == (None, None)
    assert back(state) == state


def test_a_damaged_trial_is_dropped_and_not_marked_bad():
    state = states.drop_trial(after(trial(ONE)))
    assert (state.trial, state.a, state.bad) == (None, None, {})


def test_the_active_slot_is_never_emptied():
    with pytest.raises(ValueError, match="slot a is active, but empty"):
        states.empty(after(trial(ONE), states.commit), "a")


def test_a_slot_on_trial_is_never_emptied():
    with pytest.raises(ValueError, match="slot a is on trial, but empty"):
        states.empty(after(trial(ONE)), "a")


def test_what_is_written_is_read_again():
    state = after(trial(ONE), states.commit, trial(TWO), states.spend_attempt)
    assert states.decode(states.encode(state), "state.json") == state


def test_a_newer_state_is_refused_and_says_what_to_do():
    raw = json.dumps(json.loads(states.encode(State())) | {"version": 99, "slots": "dozens"}).encode()
    with pytest.raises(UpdateError, match=r"newer pitcore.*nothing was changed: install the newer pitcore") as caught:
        states.decode(raw, "state.json")
    assert caught.value.refusal is Refusal.NEWER_STATE


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"\xff" * 9, b'{"version": 0}', b'{"version": 3, "active": "a"}', b'{"version": 1, "x": 1}'],
    ids=["empty", "cut", "no object", "binary", "version 0", "active but empty", "unknown key"],
)
def test_a_damaged_state_is_named(raw):
    with pytest.raises(UpdateError, match=r"^state\.json: damaged: ") as caught:
        states.decode(raw, "state.json")
    assert "\n" not in str(caught.value)


def test_a_state_of_version_1_is_migrated():
    old = {"version": 1, "active": "a", "a": msgspec.to_builtins(ONE), "b": None, "trial": None}
    old |= {"bad": ["f" * 64], "release_seq_floor": 7}
    state = states.decode(json.dumps(old).encode(), "state.json")
    assert (state.version, state.active, state.a, state.release_seq_floor) == (5, "a", ONE, 7)
    assert "no reason" in state.bad["f" * 64]


def test_a_state_of_version_2_is_migrated():
    old = json.loads(states.encode(after(trial(ONE), states.commit))) | {"version": 2}
    del old["unjudged"]
    assert states.decode(json.dumps(old).encode(), "state.json") == after(trial(ONE), states.commit)


def test_a_trial_of_version_3_goes_on():
    old = json.loads(states.encode(after(trial(ONE)))) | {"version": 3}
    del old["trial"]["before"]
    assert states.decode(json.dumps(old).encode(), "state.json") == after(trial(ONE))


def test_a_trial_of_version_4_goes_on_without_the_usual_faults():
    old = json.loads(states.encode(after(trial(ONE)))) | {"version": 4}
    del old["trial"]["usual"]
    assert states.decode(json.dumps(old).encode(), "state.json") == after(trial(ONE))


def unjudged(state):
    return states.count_unjudged(state, ONE.card_sha256, "no memory")


def test_what_could_not_be_judged_is_tried_again_but_not_for_ever():
    assert not after(unjudged, unjudged).bad
    state = after(unjudged, unjudged, unjudged)
    assert state.bad == {ONE.card_sha256: "could not be judged 3 times, the last time: no memory"}
    assert not state.unjudged
    forgiven = states.forgive(after(unjudged, unjudged), ONE.card_sha256)
    assert not unjudged(forgiven).bad, "the count started again"


def test_a_trial_that_cannot_be_judged_stays_and_is_rolled_back_at_the_limit():
    state = after(trial(ONE), unjudged, unjudged)
    assert state.trial is not None
    state = unjudged(state)
    assert (state.trial, state.holds("a"), state.is_bad(ONE)) == (None, None, True)
    assert after(unjudged, trial(ONE), states.commit).unjudged == {}


def test_what_is_forgiven_may_be_taken_again_and_nothing_else():
    state = after(trial(ONE), back, trial(TWO), back)
    state = states.forgive(state, ONE.card_sha256)
    assert (state.is_bad(ONE), state.is_bad(TWO)) == (False, True)


def test_a_slot_is_never_active_and_on_trial():
    with pytest.raises(ValueError, match="active and on trial"):
        msgspec.structs.replace(after(trial(ONE), states.commit), trial=Trial("a", 1, 1))
