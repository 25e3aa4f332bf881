"""Scenes for the tests of disks: all forms of an install, from a store that is built once and copied."""

import itertools
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from pitcore.errors import UpdateError
from pitcore.inference import selftest
from pitcore.ota import slots, trial
from pitcore.ota.slots import Store
from tests.ota.board import Board
from tests.ota.line import Line
from tests.ota.shelf import Shelf

OLD, NEW = "tiny@2.0.0", "tiny@3.0.0"


class Slow(Line):
    """Loses frames with the new model, so that the health gate rolls it back."""

    def health(self):
        if self.label == NEW:
            self.model_faults += 1
        return super().health()


class Crashing(Line):
    """The new model takes the service down at its first frame; something starts the service again."""

    def health(self):
        if self.label == NEW:
            self.die()
            self.start()
        return super().health()


@dataclass(frozen=True)
class Scene:
    """One thing that is done to a board that runs version 2 and is offered version 3.

    Attributes:
        name: of it.
        line: the service.
        by_patch: version 3 comes by a patch.
        fresh: the board has no store yet, and runs what came with pitcore.
    """

    name: str
    line: type = Line
    by_patch: bool = False
    fresh: bool = False

    @property
    def may_run(self):
        return {"tiny@0.0.1" if self.fresh else OLD, NEW}

    @property
    def converges_to(self):
        """Return the model that runs after a successful retry: a model that was rolled back is not installed again."""
        return OLD if self.line in {Slow, Crashing} else NEW


INSTALL = Scene("install")
BY_PATCH = Scene("install by patch", by_patch=True)
FRESH = Scene("first install", fresh=True)
ROLLED_BACK = Scene("rolled back by the gate", line=Slow)
CRASHED = Scene("rolled back by the service", line=Crashing)
SCENES = [INSTALL, BY_PATCH, FRESH, ROLLED_BACK, CRASHED]


class Stage:
    """Plays scenes, each on a fresh copy of the same board.

    Args:
        place: an empty directory.
        bundled: used as the model that came with pitcore.
    """

    def __init__(self, place: Path, bundled: Path):
        self.place, self.bundled = place, bundled
        self._original = Board(place / "original", bundled)
        self._original.line.start()
        for number in (1, 2):
            self._original.install(f"{number}.0.0", number)
        self._original.bundle("3.0.0")

    def set_up(self, scene: Scene, disk=None) -> Board:
        """Return a board as it is before the scene; its disk changes go through ``disk``."""
        root = self.place / "now"
        shutil.rmtree(root, ignore_errors=True)
        if not scene.fresh:
            shutil.copytree(self._original.store.root, root / "store")
        else:
            root.mkdir()
        return self.open(scene, disk)

    def open(self, scene: Scene, disk=None) -> Board:
        """Return the board as it is on the disk, with its service restarted."""
        store = Store(self.place / "now" / "store", disk)
        board = Board(self._original.place, self.bundled, store, Shelf(disk))
        board.bundles = self._original.bundles
        bases = [board.bundles["2.0.0"]] if scene.by_patch else []
        board.shelf.put(board.bundles["3.0.0"], 3, bases=bases)
        board.line = scene.line(board.store.root)
        return board

    def play(self, board: Board, disk) -> str:
        """Start the service and install; return how it ended. Every change goes through ``disk``."""
        with service_on(disk):
            board.line.start()
            try:
                return board.updater().install().result
            except UpdateError as error:
                return error.refusal


@contextmanager
def service_on(disk):
    """Have the service's own changes of the state go through a disk; no time is spent on waiting or on being sure."""
    with (
        mock.patch.object(slots, "Disk", return_value=disk),
        mock.patch.object(selftest, "ROUNDS", 1),
        mock.patch.object(trial.time, "monotonic", side_effect=itertools.count()),  # a second for each look
    ):
        yield


def check(board: Board, scene: Scene) -> str:
    """Check the invariant on the disk, then start the service; return the model that it runs.

    Some verified model loads, and not a worse one than before; the state is one of the defined set; what it names is
    whole; the floor has not fallen.
    """
    state = board.store.read()  # decodes, so it is one of the defined set
    assert state.release_seq_floor >= (0 if scene.fresh else 2), "the floor fell"
    for slot in ("a", "b"):
        if state.holds(slot) is not None:
            board.store.verified(state, slot)
    label = board.line.start().label
    board.line.stop()  # a clean one: the look costs no attempt
    assert label in scene.may_run, f"{label} runs"
    if label == NEW and state.trial is None:
        assert state.release_seq_floor == 3, "the floor did not rise with the commit"
    return label
