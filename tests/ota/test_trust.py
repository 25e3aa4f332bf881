import hashlib

import pytest

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
