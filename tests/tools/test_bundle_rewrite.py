"""Operating points of a bundle rest on its own logits and calibration; a fault while it is replaced loses nothing."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pitcore.errors import DataError
from pitcore.model_card import DEFAULT_BUNDLE, load_bundle
from pitcore_tools import experiments
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.evaluate.figures import platt
from pitcore_tools.evaluate.logits import COMMITTED, HeldOut, merged, read_logits, write_logits
from pitcore_tools.quantise.bundle import rewrite_card
from pitcore_tools.thresholds.points import calibration
from pitcore_tools.thresholds.provenance import check_evidence, evidence_folds
from pitcore_tools.train.recipe import load_recipe

RESULTS = Path(experiments.__file__).parent / "results"
EVIDENCE = RESULTS / "quarter-fine-72-start.csv"  # of which the bundled net is one fold
FOLD = load_recipe(DEFAULT_BUNDLE / "config.yaml").held_out_fold


@pytest.fixture
def bundle(tmp_path):
    return Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle"))


def thresholds(*arguments):
    return CliRunner().invoke(pitcore_tools, ["thresholds", "--points", *map(str, arguments)])


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_points_are_not_written_without_the_logits_of_the_bundle(bundle):
    before = files(bundle)
    result = thresholds("--write", bundle, "9.0.0")
    assert result.exit_code == 2
    assert "--write needs --logits" in " ".join(result.output.split())
    assert files(bundle) == before


@pytest.mark.parametrize("more", [["--write", "b", "9.0.0"], ["--evidence", EVIDENCE]])
def test_options_of_points_without_points_are_refused(more):
    result = CliRunner().invoke(pitcore_tools, ["thresholds", *map(str, more)])
    assert result.exit_code == 2
    assert "give --points too" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("name", "fold", "said"),
    [
        ("stage-two", FOLD, "of another net than"),
        ("quarter-fine-72-start", FOLD - 1, f"not those of fold {FOLD} of 5"),
        ("quarter-fine-72-taught", FOLD, "of another net than"),
    ],
)
def test_points_of_another_net_or_fold_are_refused(bundle, name, fold, said):
    before = files(bundle)
    result = thresholds("--logits", RESULTS / f"{name}.csv", "--fold", fold, "--write", bundle, "9.0.0")
    assert isinstance(result.exception, DataError)
    assert said in str(result.exception)
    assert files(bundle) == before


def test_logits_of_some_of_the_held_out_crops_are_refused(bundle, tmp_path):
    own = read_logits(COMMITTED)
    write_logits(tmp_path / "own.csv", own.where(np.arange(len(own.labels)) > 0))
    result = thresholds("--logits", tmp_path / "own.csv", "--write", bundle, "9.0.0")
    assert "of another net than" in str(result.exception)


@pytest.mark.parametrize("with_evidence", [True, False])
def test_points_and_their_calibration_come_together(bundle, with_evidence):
    own, evidence = read_logits(COMMITTED), read_logits(EVIDENCE) if with_evidence else None
    before = load_bundle(bundle).card
    more = ["--evidence", EVIDENCE] if with_evidence else []
    result = thresholds("--logits", COMMITTED, *more, "--write", bundle, "9.0.0")
    assert result.exit_code == 0, (result.output, result.exception)
    card = load_bundle(bundle).card
    fitted = card.calibration.slope, card.calibration.intercept
    assert fitted == calibration(own, evidence)
    facts = json.loads((bundle / "calibration.json").read_text())
    assert (facts["slope"], facts["intercept"]) == fitted
    assert ("five nets" in facts["fitted_on"]) == with_evidence
    basis = evidence or own
    pits = platt(basis.margins, *fitted)[basis.labels == 1]
    for point in card.points.values():
        if point.evidence is not None:  # one scale: what the card counts is what passes, but for the cross-fitting
            passed = int((pits < point.thresholds.accept).sum())
            assert passed == pytest.approx(point.evidence.pits_passed, abs=max(3, 0.1 * point.evidence.pits_passed))
    assert json.loads((bundle / "metrics.json").read_text())["points"].keys() == card.points.keys()
    # the same crops stay in each bin of the reference
    old, new = (each.reference.figures["pit_probability"] for each in (before, card))
    assert (old.clean, old.pit) == (new.clean, new.pit)
    bins = [
        np.searchsorted(figure.edges, platt(own.margins, each.calibration.slope, each.calibration.intercept))
        for figure, each in ((old, before), (new, card))
    ]
    assert (bins[0] == bins[1]).mean() > 0.995  # margins of five digits


def test_evidence_has_all_folds_of_one_split():
    whole = read_logits(EVIDENCE)
    assert evidence_folds(whole) == 5
    for lacking in (whole.where(whole.folds != 3), whole.where(whole.folds != 4), whole.of_fold(0)):
        with pytest.raises(DataError, match="all folds of one split"):
            evidence_folds(lacking)


def test_the_command_refuses_evidence_that_lacks_folds():
    result = thresholds("--logits", COMMITTED, "--evidence", RESULTS / "user-mobilenet.csv")
    assert "all folds of one split" in str(result.exception)


def test_evidence_of_other_nets_is_refused_where_it_has_the_net_that_ships(bundle):
    own, whole = read_logits(COMMITTED), read_logits(EVIDENCE)
    check_evidence(own, 5, whole)
    with pytest.raises(DataError, match=f"another net for fold {FOLD} of 5"):
        check_evidence(own, 5, read_logits(RESULTS / "quarter-fine-72.csv"))
    mixed = merged([whole.where(whole.folds != FOLD), read_logits(RESULTS / "quarter-fine-72.csv").of_fold(FOLD)])
    with pytest.raises(DataError, match=f"another net for fold {FOLD} of 5"):
        check_evidence(own, 5, mixed)
    check_evidence(own, 10, mixed)  # of another split: no row of the evidence is of this net
    result = thresholds(
        "--logits", COMMITTED, "--evidence", RESULTS / "quarter-fine-72.csv", "--write", bundle, "9.0.0"
    )
    assert f"another net for fold {FOLD} of 5" in str(result.exception)


def test_evidence_of_float_nets_for_an_int8_net_is_refused():
    own, whole = read_logits(COMMITTED), read_logits(EVIDENCE)
    no_int8 = np.full(len(whole.labels), np.nan)
    floats = HeldOut(whole.hashes, whole.folds, whole.labels, whole.float_margins, no_int8)
    with pytest.raises(DataError, match="only one of the net that ships and the evidence is int8"):
        check_evidence(own, 10, floats)


@pytest.mark.parametrize("fault", ["interrupted", "refused", "killed"])
@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_fault_while_a_bundle_is_replaced_leaves_a_whole_one(bundle, monkeypatch, fault, renames):
    """The fault comes in place of a rename of a folder, or after both; a kill may leave the bundle beside its place."""
    before, real, done = files(bundle), Path.rename, []

    def rename(path, target):
        if len(done) == renames:
            done.append(None)
            if fault == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt if fault == "interrupted" else OSError(5, "Input/output error")
        done.append(None)
        return real(path, target)

    child = os.fork()
    if child == 0:
        monkeypatch.setattr(Path, "rename", rename)
        try:
            rewrite_card(bundle, "9.0.0")
        except (KeyboardInterrupt, OSError):
            os._exit(3)
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended == (0 if renames == 2 else {"killed": -signal.SIGKILL}.get(fault, 3))
    if renames == 2:
        assert load_bundle(bundle).card.version == "9.0.0"
    elif fault != "killed":
        assert files(bundle) == before
    if fault != "killed" or renames == 2:
        assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]
        return
    whole = {load_bundle(path).card.version for path in bundle.parent.iterdir()}
    assert whole == {"9.0.0", load_bundle(DEFAULT_BUNDLE).card.version}
