import pytest

from pitcore.ota import slots
from tests.ota.board import Board
from tests.ota.stores import bundle_of


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """Stands for the model that came with pitcore: small, so fast."""
    bundle = bundle_of(tmp_path / "bundled", "0.0.1")
    monkeypatch.setattr(slots, "DEFAULT_BUNDLE", bundle)
    return bundle


@pytest.fixture
def board(tmp_path, bundled):
    return Board(tmp_path, bundled)
