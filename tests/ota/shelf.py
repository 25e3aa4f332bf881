"""A repository as a directory with archives and patches, which the test offers.

It implements the whole of ``Repository`` but the trust, which has tests of its own; fetching resumes and verifies.
"""

import dataclasses
import hashlib
import io

import bsdiff4
import zstandard

from pitcore.errors import Refusal, UpdateError
from pitcore.model_card import load_bundle
from pitcore.ota import archive
from pitcore.ota.disk import Disk, Operation
from pitcore.ota.repository import Delta, Offer

PIECE = 8192  # so that a tiny archive comes in several writes


def packed(bundle):
    buffer = io.BytesIO()
    archive.pack(bundle, buffer)
    return buffer.getvalue()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Shelf:
    """Serves from memory through a ``Disk``, as a fetcher that wrote to disk would."""

    def __init__(self, disk=None):
        self.disk, self.files, self.offer, self.fetched = disk or Disk(), {}, None, []

    def put(self, bundle, release_seq, *, bases=(), method="zstd"):
        """Publish a bundle with patches from the bases, and offer it."""
        content, loaded = packed(bundle), load_bundle(bundle)
        target = f"models/{loaded.card.name}-{loaded.card.version}.tar"
        self.files[target] = content
        deltas = []
        for base in map(packed, bases):
            name = f"models/{sha256(base)[:8]}-{sha256(content)[:8]}.{method}"
            self.files[name] = patch_of(method, base, content)
            deltas.append(Delta(name, sha256(self.files[name]), len(self.files[name]), method, sha256(base)))
        self.offer = Offer(target, sha256(content), len(content), loaded.sha256, release_seq, "stable", tuple(deltas))
        return self.offer

    def put_bytes(self, content, release_seq, card_sha256):
        """Publish any bytes as an archive; the signature is good, the content may be anything."""
        target = f"models/bytes-{release_seq}.tar"
        self.files[target] = content
        self.offer = Offer(target, sha256(content), len(content), card_sha256, release_seq, "stable", ())
        return self.offer

    def change_offer(self, **changes):
        self.offer = dataclasses.replace(self.offer, **changes)

    def check(self):
        return self.offer

    def fetch(self, target, sha256, length, part):
        self.fetched.append(target)
        content = self.files.get(target)
        if content is None:
            raise UpdateError(Refusal.NOT_FOUND, f"{target}: the shelf does not have it")
        there = part.read_bytes() if part.exists() else b""
        if not content.startswith(there) or not there:
            self.disk.perform(Operation("create", part))
            there = b""
        for start in range(len(there), len(content), PIECE):
            self.disk.perform(Operation("write", part, content=content[start : start + PIECE]))
        if hashlib.sha256(content).hexdigest() != sha256 or len(content) != length:
            part.unlink()
            raise UpdateError(Refusal.WRONG_HASH, f"{target}: its content is not what was signed")


def patch_of(method, base, content):
    if method == "bsdiff4":
        return bsdiff4.diff(base, content)
    dictionary = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdCompressor(dict_data=dictionary).compress(content)
