"""Tests a disk that fails at any operation, and that no code bypasses ``Disk``."""

import errno
import os
import sys
from pathlib import Path

import pytest

from pitcore.errors import Refusal
from pitcore.ota import disk as door
from tests.ota.disks import WRITES, Recording, Refusing
from tests.ota.scenes import BY_PATCH, INSTALL, NEW, Stage, check

REFUSALS = {errno.ENOSPC: Refusal.NO_SPACE, errno.EIO: Refusal.STORAGE, errno.EROFS: Refusal.READ_ONLY}
# One in so many is tried at each change, all of them by `make test-full`.
STEPS = [pytest.param(3, id="a sample"), pytest.param(1, id="all", marks=pytest.mark.full)]


@pytest.fixture
def stage(quick_place, quick_bundled):
    return Stage(quick_place, quick_bundled)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("code", REFUSALS, ids=errno.errorcode.get)
@pytest.mark.parametrize("scene", [INSTALL, BY_PATCH], ids=lambda scene: scene.name)
def test_a_disk_error_at_any_operation_fails_only_the_update(stage, scene, code, step):
    recording = Recording()
    stage.play(stage.set_up(scene, recording), recording)
    refused = [
        (number, operation)
        for number, operation in enumerate(recording.operations)
        if code != errno.ENOSPC or operation.kind in WRITES
    ]
    for number, operation in refused[::step]:
        where = f"{errno.errorcode[code]} at {number}: {operation}"
        disk = Refusing(number, code)
        board = stage.set_up(scene, disk)
        end = stage.play(board, disk)
        # After a failed patch the full archive is fetched. If an attempt cannot be counted, the model stays on trial.
        assert end in {REFUSALS[code], "committed", "on trial"}, f"{where}: {end}"
        board = stage.open(scene)
        assert check(board, scene) == NEW or end != "committed", where
        assert not board.state.bad, f"{where}: a disk is never the model's fault"
        for _ in range(2):
            last = stage.play(board, board.store.disk)
        assert (check(board, scene), last) == (NEW, "current"), where


CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod"}


def test_an_install_changes_the_disk_only_through_the_disk_class(stage):
    """An audit hook sees what Python does to files; it cannot be taken out again, so it lives in a child."""
    board = stage.set_up(BY_PATCH)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        beside = []

        def hook(event, arguments):
            if event == "open":
                path, _, flags = arguments
                changes = bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
            else:
                path, changes = arguments[0] if arguments else None, event in CHANGES or event.startswith("shutil.")
            if changes and str(path).startswith(str(board.store.root)) and not through_the_door(sys._getframe()):
                beside.append(f"{event} {path}")

        try:
            sys.addaudithook(hook)
            end = stage.play(board, board.store.disk)
            (board.store.root / "proof").write_text("the hook sees")
            os.write(writing, "\n".join([end, *beside]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        end, *beside = pipe.read().splitlines()
    os.waitpid(child, 0)
    assert end == "committed"
    assert beside == [f"open {board.store.root / 'proof'}"]


def through_the_door(frame):
    while frame is not None:
        if Path(frame.f_code.co_filename) == Path(door.__file__) and frame.f_code.co_name == "attempt":
            return True
        frame = frame.f_back
    return False
