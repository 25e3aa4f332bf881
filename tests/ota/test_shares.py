"""Tests the comparison of a model on trial with the previous model, by the verdicts of both."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pitcore.errors import Refusal
from pitcore.ota.gate import Failed, Gate, Health, Passed, judge
from pitcore.ota.shares import CHERRIES_WITHOUT_PAST, Verdicts, Z, stops_too_few, wilson
from tests.conftest import MIDDLE, SIZE, tiny_card, write_card
from tests.ota.board import BUNDLED, Board, refused
from tests.ota.line import GATE

USUAL = Verdicts(clean=2880, maybe=720, pit=1200)  # 60 %, 15 %, 25 %
LIKE = np.array([0.60, 0.15, 0.25])


def of(count, shares):
    return Verdicts(*(round(count * share) for share in shares))


@pytest.mark.parametrize("count", [300, 1000, 4800, 100_000])
@pytest.mark.parametrize("third", [0.0, 1 / 3])
def test_a_better_model_with_a_third_less_maybe_passes_the_share_check(count, third):
    clean, maybe, pit = LIKE
    better = of(count, (clean + maybe * third, maybe * (1 - third), pit))
    assert stops_too_few(USUAL, better) is None


@pytest.mark.parametrize("count", [300, 1000, 4800])
@pytest.mark.parametrize("shares", [(1.0, 0.0, 0.0), (0.85, 0.0, 0.15), (0.8, 0.1, 0.1)])
def test_a_model_that_calls_pits_clean_fails_the_share_check(count, shares):
    found = stops_too_few(USUAL, of(count, shares))
    assert found is not None
    assert "the model before: 60.0 % clean, 15.0 % maybe, 25.0 % pit of 4800" in found


def test_a_good_model_fails_by_chance_no_more_often_than_allowed():
    """The limit is once in a thousand trials. The stopped share of this model is on the bound itself."""
    rng = np.random.default_rng(1)
    honest = np.array([0.70, 0.075, 0.225])  # half of the doubt gone, a tenth fewer pits in the fruit
    failed = 0
    for _ in range(4000):
        before, now = rng.multinomial(4800, LIKE), rng.multinomial(600, honest)
        failed += stops_too_few(Verdicts(*before.tolist()), Verdicts(*now.tolist())) is not None
    assert failed <= 16


def test_wilson_limits_solve_their_equation():
    """Each limit is the share whose distance to the observed share is Z standard deviations."""
    for limit in wilson(10, 100):
        assert abs(0.1 - limit) == pytest.approx(Z * np.sqrt(limit * (1 - limit) / 100))
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 50)[0] == 0.0
    assert wilson(50, 50)[1] == 1.0


def test_a_board_without_a_history_refuses_a_model_that_calls_everything_clean():
    gate = Gate(frames=100, max_infer_ms=0.0)
    start, all_clean = Health("1" * 64, 2, 0, 0, None), of(CHERRIES_WITHOUT_PAST, (1.0, 0.0, 0.0))
    found = judge(gate, start, Health("1" * 64, 300, 0, 0, None, all_clean), verdicts=None)
    assert isinstance(found, Failed)
    assert "it stops at most 0.95% of the cherries" in found.why
    few = of(CHERRIES_WITHOUT_PAST - 1, (1.0, 0.0, 0.0))
    assert judge(gate, start, Health("1" * 64, 300, 0, 0, None, few), verdicts=Verdicts(clean=40, pit=10)) is None
    ordinary = of(CHERRIES_WITHOUT_PAST, (0.98, 0.01, 0.01))
    assert judge(gate, start, Health("1" * 64, 300, 0, 0, None, ordinary), verdicts=None) == Passed()


def test_an_empty_belt_gives_no_result():
    start = Health("1" * 64, 2, 0, 0, None)
    assert judge(Gate(max_infer_ms=0.0), start, Health("1" * 64, 9999, 0, 0, None), verdicts=USUAL) is None


def crops_by_probability(shares):
    """Crops that the tiny network gives these probabilities of a pit: one grey level each, exact to a quarter."""
    crops = np.zeros((len(shares), SIZE, SIZE, 2), np.uint8)
    for crop, share in zip(crops, shares, strict=True):
        mean = MIDDLE + 4 * np.log(share / (1 - share))
        crop[..., 0] = int(mean)
        crop.reshape(-1, 2)[: round((mean - int(mean)) * SIZE * SIZE), 0] += 1
    return crops


CLEAN, LITTLE_DOUBT, DOUBT, PIT = 0.05, 0.3, 0.6, 0.95


@pytest.fixture
def board(tmp_path, tiny_bundle, monkeypatch):
    write_card(tiny_bundle, tiny_card(tiny_bundle) | {"version": "0.0.1"})
    monkeypatch.setattr("pitcore.ota.slots.DEFAULT_BUNDLE", tiny_bundle)
    board = Board(tmp_path / "board", tiny_bundle)
    board.gate = replace(GATE, cherries=300)
    board.line.crops = crops_by_probability([CLEAN] * 24 + [LITTLE_DOUBT] * 2 + [DOUBT] * 4 + [PIT] * 10)
    board.line.start()
    for _ in range(5):
        board.line.health()
    return board


def with_card(board, version, **changes):
    """A bundle whose card says other things, signed and whole."""
    directory = board.bundle(version)
    write_card(directory, json.loads((directory / "card.json").read_text()) | changes)


ALL_CLEAN = {"method": "platt", "slope": 1.0, "intercept": -100.0}


def test_a_card_that_calls_everything_clean_is_rolled_back(board):
    with_card(board, "1.0.0", calibration=ALL_CLEAN)
    said = refused(Refusal.TRIAL, board.install, "1.0.0", 1)
    assert "rolled back and will not be installed again: it lets too many cherries pass: 100.0 % clean" in said
    assert board.line.label == BUNDLED
    assert board.state.trial is None


def test_a_better_model_with_a_third_less_maybe_is_committed(board):
    with_card(board, "1.0.0", thresholds={"accept": 0.4, "reject": 0.8})
    assert board.install("1.0.0", 1).result == "committed"
    assert board.line.label == "tiny@1.0.0"


def test_an_interrupted_update_keeps_the_verdict_shares_of_the_previous_model(board):
    """The trial continues in another process; the previous model's verdicts are on the disk."""
    with_card(board, "1.0.0", calibration=ALL_CLEAN)
    taken = board.line.reload
    board.line.reload = lambda: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        board.install("1.0.0", 1)
    assert board.state.trial.before.pit >= 50
    board.line.reload = taken
    said = refused(Refusal.TRIAL, board.updater().commit)
    assert "the model before: 60.0 % clean, 15.0 % maybe, 25.0 % pit" in said
