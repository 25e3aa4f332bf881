import shutil
import tempfile
from pathlib import Path

import pytest

from pitcore.ota import slots
from tests.ota.board import Board
from tests.ota.field import Field, Past
from tests.ota.server import serving
from tests.ota.stores import bundle_of


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """A small and fast model, used as the one that came with pitcore."""
    bundle = bundle_of(tmp_path / "bundled", "0.0.1")
    monkeypatch.setattr(slots, "DEFAULT_BUNDLE", bundle)
    return bundle


@pytest.fixture
def board(tmp_path, bundled):
    board = Board(tmp_path, bundled)
    board.line.start()
    return board


@pytest.fixture
def quick_place(tmp_path):
    """A directory in memory if possible, so that a thousand trials need not wait for a disk."""
    memory = Path("/dev/shm")  # noqa: S108  removed below
    if not memory.is_dir():
        yield tmp_path
        return
    place = Path(tempfile.mkdtemp(prefix="pitcore-ota-", dir=memory))
    yield place
    shutil.rmtree(place)


@pytest.fixture
def quick_bundled(quick_place, monkeypatch):
    """As ``bundled``."""
    bundle = bundle_of(quick_place / "bundled", "0.0.1")
    monkeypatch.setattr(slots, "DEFAULT_BUNDLE", bundle)
    return bundle


@pytest.fixture(scope="session")
def past(tmp_path_factory):
    return Past(tmp_path_factory.mktemp("past"))


@pytest.fixture
def field(tmp_path, past):
    with serving(tmp_path) as site:
        yield Field(tmp_path, site, past)
