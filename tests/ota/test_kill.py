"""Tests kill -9 before, after and during every disk operation of the updater and the service."""

import os
import warnings
from functools import partial

import pytest

from tests.ota.disks import Killing, Recording
from tests.ota.scenes import CRASHED, INSTALL, NEW, ROLLED_BACK, SCENES, Stage, check, service_on

OK = 77  # exit code of a child that came to its end
# One in so many is tried at each change, all of them by `make test-full`.
STEPS = [pytest.param(5, id="a sample"), pytest.param(1, id="all", marks=pytest.mark.full)]


@pytest.fixture
def stage(quick_place, quick_bundled):
    return Stage(quick_place, quick_bundled)


def killed(act, disk):
    """Act in a child until the disk kills it; return whether it did."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: the child only writes files
        child = os.fork()
    if child == 0:
        try:
            with service_on(disk):
                act()
        finally:
            os._exit(OK)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == 9


def points(operations):
    """Every moment at which the process may end."""
    for number, operation in enumerate(operations):
        yield number, "before"
        if operation.kind == "write":
            yield number, "half"
        yield number, "after"


def common(stage, operations):
    """How many operations a scene begins with that an install has too, where it was killed already."""
    install = Recording()
    stage.play(stage.set_up(INSTALL, install), install)
    return next(n for n, (one, other) in enumerate(zip(operations, install.operations, strict=False)) if one != other)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_killed_at_any_operation_a_verified_model_loads_and_a_retry_converges(stage, scene, step, capsys):
    recording = Recording()
    stage.play(stage.set_up(scene, recording), recording)
    first = 0 if scene not in {ROLLED_BACK, CRASHED} else common(stage, recording.operations)
    moments = [point for point in points(recording.operations) if point[0] >= first][::step]
    for number, moment in moments:
        where = f"killed {moment} {number}: {recording.operations[number]}"
        board = stage.set_up(scene, disk := Killing(number, moment))
        assert killed(partial(stage.play, board, disk), disk), f"not {where}"
        board = stage.open(scene)
        try:
            check(board, scene)
            for _ in range(3):  # the service may have to come up more often than once before a crash loop ends
                last = stage.play(board, board.store.disk)
            label = check(board, scene)
        except Exception as error:
            raise AssertionError(where) from error
        assert (label, last) == (scene.converges_to, "refused here" if label != NEW else "current"), where
        assert list(board.store.staging.iterdir()) == [], where
    with capsys.disabled():
        print(f"\n  {scene.name}: {len(recording.operations)} operations, killed at {len(moments)} moments")  # noqa: T201  the count is asked for


def test_killed_while_it_goes_back_by_hand_either_model_runs(stage):
    recording = Recording()
    with service_on(recording):
        stage.set_up(INSTALL, recording).updater().rollback()
    moments = list(points(recording.operations))
    for number, moment in moments:
        board = stage.set_up(INSTALL, disk := Killing(number, moment))
        assert killed(board.updater().rollback, disk), (number, moment)
        board = stage.open(INSTALL)
        assert board.line.start().label in {"tiny@1.0.0", "tiny@2.0.0"}, (number, moment)
        assert board.state.release_seq_floor == 2
    assert len(moments) >= 20


def test_the_scenes_that_end_in_a_rollback_do_roll_back(stage):
    for scene in (ROLLED_BACK, CRASHED):
        board = stage.set_up(scene)
        assert stage.play(board, board.store.disk) == "trial"
        assert board.state.bad
