"""A board, its publisher, and a web site that an attacker can take over."""

from datetime import timedelta

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import MetaFile

from pitcore.errors import UpdateError
from tests.ota.publisher import DAY, BoardUnderTest, Publisher, newest
from tests.ota.server import serving


class Past:
    """Start of every test: the publisher's repository with two releases, both installed on a board."""

    def __init__(self, place):
        with serving(place) as site:
            self.publisher = Publisher(place)
            site.root = self.publisher.directory
            board = BoardUnderTest(self.publisher, place / "board", site.url)
            self.first = self.publisher.ship("1.0.0")
            assert board.check().release_seq == 1
            self.publisher.snapshot_of_everything("old")
            self.publisher.now += DAY
            self.second = self.publisher.ship("1.1.0")
            assert board.check().release_seq == 2


class Field:
    """A copy of the past, and a site that can be taken over."""

    def __init__(self, tmp_path, site, past):
        self.site, self.publisher = site, past.publisher.copied(tmp_path)
        site.root = self.publisher.directory
        self.board = BoardUnderTest(self.publisher, tmp_path / "board", site.url)
        self.first, self.second, self.old = past.first, past.second, tmp_path / "old"

    def evil(self):
        """A copy of the repository, served instead of the publisher's."""
        self.site.root = self.publisher.snapshot_of_everything("evil")
        return self.site.root

    def tamper(self, role, change, signers=None):
        """Serve a copy with one file signed again; what lists that file is left alone."""
        self.publisher.resign(self.evil(), role, change, signers)

    def refused(self, url=None):
        before = self.board.floors()
        with pytest.raises(UpdateError) as caught:
            self.board.check(url)
        assert "\n" not in str(caught.value)
        assert not_fallen(before, self.board.floors())
        return caught.value.refusal

    def converges(self):
        """Release by the publisher, and install on the board."""
        self.site.root, self.site.faults = self.publisher.directory, {}
        self.publisher.now += timedelta(hours=1)
        before = self.board.floors()
        self.publisher.ship("1.2.0")
        assert self.board.check().release_seq == 3
        assert not_fallen(before, self.board.floors())


def not_fallen(before, after):
    return after["release_seq"] >= before["release_seq"] and all(
        after["roles"][role]["version"] >= floor["version"] or after["roles"][role]["keys"] != floor["keys"]
        for role, floor in before["roles"].items()
    )


def stranger():
    return [CryptoSigner.generate_ed25519()]


def untouched(signed):
    pass


def next_version(signed):
    signed.version += 1


def raise_version(by):
    def change(signed):
        signed.version += by

    return change


def listed(path):
    return MetaFile.from_data(int(path.name.split(".")[0]), path.read_bytes(), ["sha256"])


def relist(field, directory, role):
    """Let a copy's snapshot and timestamp list the newest file of a role, as the holder of the online keys can."""
    info = listed(newest(directory, role))
    field.publisher.resign(
        directory, "snapshot", lambda signed: (next_version(signed), signed.meta.update({f"{role}.json": info}))
    )
    list_snapshot(field, directory)


def list_snapshot(field, directory):
    """Let a copy's timestamp list its newest snapshot."""
    info = listed(newest(directory, "snapshot"))
    field.publisher.resign(
        directory, "timestamp", lambda signed: (next_version(signed), setattr(signed, "snapshot_meta", info))
    )
