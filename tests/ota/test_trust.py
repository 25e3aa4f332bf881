import hashlib

import pytest

from pitcore.ota.disk import Disk
from tests.ota.publisher import BoardUnderTest, Publisher
from tests.ota.server import serving


@pytest.fixture
def publisher(tmp_path):
    return Publisher(tmp_path)


@pytest.fixture
def site(publisher):
    with serving(publisher.directory) as site:
        yield site


@pytest.fixture
def board(publisher, site, tmp_path):
    return BoardUnderTest(publisher, tmp_path / "board", site.url)


def test_a_channel_without_releases_offers_nothing(board):
    assert board.check() is None


def test_a_release_is_offered_and_its_bytes_come(board, publisher, tmp_path):
    added = publisher.ship("1.0.0")
    offer = board.check()
    assert (offer.target, offer.length, offer.release_seq) == ("models/tiny-1.0.0.tar", added.length, 1)
    board.repository().fetch(offer.target, offer.sha256, offer.length, tmp_path / "part")
    assert hashlib.sha256((tmp_path / "part").read_bytes()).hexdigest() == offer.sha256


class Recorder(Disk):
    """A disk that remembers what was done to it, in order."""

    def __init__(self):
        self.done = []

    def attempt(self, operation):
        super().attempt(operation)
        self.done.append((operation.kind, operation.path.name))


def test_metadata_are_on_disk_before_the_floors_rise_to_them(board, publisher):
    publisher.ship("1.0.0")
    board.disk = Recorder()
    board.check()
    raised = board.disk.done.index(("rename", ".floors.json.part"))
    for name in (
        "1.root.json",
        "timestamp.json",
        "snapshot.json",
        "targets.json",
        "models.json",
        "channel-stable.json",
    ):
        assert ("sync", name) in board.disk.done[:raised]
    for directory in ("root_history", "metadata"):
        assert ("sync directory", directory) in board.disk.done[:raised]
    assert board.disk.done[raised:].count(("sync directory", board.directory.name)) >= 1


def test_a_check_that_brings_nothing_new_leaves_the_floors_alone(board, publisher):
    publisher.ship("1.0.0")
    board.check()
    board.disk = Recorder()
    board.check()
    assert not [operation for operation in board.disk.done if operation[0] in {"create", "write", "rename"}]
