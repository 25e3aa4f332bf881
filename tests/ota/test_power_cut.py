"""Tests a power cut at any moment of an install: unsynced operations may be lost, in part and in any order."""

import itertools
import shutil
from unittest import mock

import pytest

from pitcore.ota import state as states
from pitcore.ota.slots import Store
from tests.ota.disks import Recording
from tests.ota.powercut import Recorded, tree_of, write_image
from tests.ota.scenes import FRESH, INSTALL, NEW, ROLLED_BACK, Stage, check

SCENES = [INSTALL, FRESH, ROLLED_BACK]
# One in so many is tried at each change, all of them by `make test-full`.
STEPS = [pytest.param(7, id="a sample"), pytest.param(1, id="all", marks=pytest.mark.full)]


@pytest.fixture
def stage(quick_place, quick_bundled):
    return Stage(quick_place, quick_bundled)


def record(stage, scene):
    """Play a scene; note after each change of the state which generation was promised, and what was reported."""
    recording = Recording()
    board = stage.set_up(scene, recording)
    root = stage.place / "now"
    tree = tree_of(root)
    true_change = Store.change

    def change(self, transition):
        state = true_change(self, transition)
        recording.note(("generation", self.read().generation))
        return state

    with mock.patch.object(Store, "change", change):
        end = stage.play(board, recording)
    recording.note(("reported", end))
    return Recorded(tree, root, recording.done)


class Inspector:
    """Writes images to a disk and checks the invariant on them. Images that were checked before are skipped.

    Args:
        stage, scene: the scene that was played.
    """

    def __init__(self, stage, scene):
        self._stage, self._scene, self._known, self.looked = stage, scene, {}, 0

    def violation(self, image, notes):
        """Return what an image breaks, or None."""
        promised = max((value for name, value in notes if name == "generation"), default=0)
        committed = ("reported", "committed") in notes
        key = (image, promised, committed)
        if key not in self._known:
            self.looked += 1
            self._known[key] = self._look(image, promised, committed=committed)
        return self._known[key]

    def _look(self, image, promised, *, committed):
        root = self._stage.place / "now"
        shutil.rmtree(root)
        root.mkdir()
        write_image(image, root)
        board = self._stage.open(self._scene)
        try:
            for path in (board.store.state_path, board.store.backup_path):
                if path.exists():  # either copy alone must do
                    states.decode(path.read_bytes(), path.name)
            generation = board.store.read().generation
            assert generation >= promised, f"state {promised} was promised, {generation} is there"
            label = check(board, self._scene)
            assert label == NEW or not committed, f"{label} runs after the commit was reported"
        except Exception as error:  # noqa: BLE001  whatever an image breaks is what is looked for
            return f"{type(error).__name__}: {error}".splitlines()[0].replace(str(root), "")
        return None


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_a_power_cut_leaves_a_verified_model_and_every_committed_state(stage, scene, step, capsys):
    recorded = record(stage, scene)
    inspector = Inspector(stage, scene)
    images = itertools.islice(recorded.images(), 0, None, step)
    broken = [found for image, notes in images if (found := inspector.violation(image, notes))]
    assert broken == []
    with capsys.disabled():
        print(f"\n  {scene.name}: {inspector.looked} images of the disk after a power cut")  # noqa: T201  asked for


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("scene", [INSTALL, FRESH], ids=lambda scene: scene.name)
def test_every_fsync_of_an_install_is_needed(stage, scene, step, capsys):
    recorded = record(stage, scene)
    inspector = Inspector(stage, scene)
    lines, needless = [], []
    syncs = recorded.syncs if scene is INSTALL else recorded.syncs[:2]  # the store is made; the rest is as above
    for index in syncs[::step]:
        left_out = str(recorded.entry(index)).replace(str(stage.place / "now"), "")
        images = recorded.without(index).images()
        found = next((found for image, notes in images if (found := inspector.violation(image, notes))), None)
        lines.append(f"    without {left_out}: {found}")
        if found is None:
            needless.append(left_out)
    with capsys.disabled():
        print(f"\n  {scene.name}: each of {len(lines)} fsyncs left out in turn", *lines, sep="\n")  # noqa: T201  asked for
    assert needless == []
