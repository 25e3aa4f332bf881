"""Creates and reads private keys on disk: readable only by their owner, never inside a repository or a source tree.

A key is a PEM file (PKCS 8, Ed25519) with an optional passphrase. Only the signed metadata say for which role a key may
sign, so files may be renamed and kept on different sticks and in different safes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner

from pitcore.camera.folders import LINK, below
from pitcore.durable import sync_directory
from pitcore.errors import PublishError, first_line

Passphrase = Callable[[], bytes]


def make_key(path: Path, passphrase: bytes | None) -> CryptoSigner:
    """Create a key and write it to a file that only its owner can read.

    Raises:
        PublishError: the file exists already, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(path.parent)
    except FileExistsError as error:
        raise PublishError(f"{path}: a key lies there already, and is not overwritten; name another folder") from error
    except OSError as error:
        raise PublishError(f"{path}: {error.strerror}; name a folder you may write to") from error
    return CryptoSigner(key)


class KeyRing:
    """The available private keys.

    Args:
        folders: folders that are searched recursively for ``*.pem``.
        passphrase: called once when a key needs a passphrase.

    Raises:
        PublishError: a folder is missing, a key cannot be read, or a part of a folder cannot be searched.
    """

    def __init__(self, folders: Iterable[Path], passphrase: Passphrase) -> None:
        self._passphrase, self._phrase = passphrase, b""
        self._signers: dict[str, CryptoSigner] = {}
        for folder in folders:
            if not folder.is_dir():
                raise PublishError(f"{folder}: no such folder of keys; is its stick plugged in?")
            for path in key_files(folder):
                self.hold(self.load(path))

    def hold(self, signer: CryptoSigner) -> None:
        """Add a key to the ring."""
        self._signers[signer.public_key.keyid] = signer

    def of(self, keyids: Iterable[str]) -> list[CryptoSigner]:
        """Return the available keys among those with these ids."""
        return [self._signers[keyid] for keyid in keyids if keyid in self._signers]

    def load(self, path: Path) -> CryptoSigner:
        """Return the key in a file. Raises PublishError."""
        try:
            pem = path.read_bytes()
            if path.stat().st_mode & 0o077:
                raise PublishError(f"{path}: others may read this private key; run `chmod 600 {path}`")
            encrypted = b"ENCRYPTED" in pem.splitlines()[0]
            if encrypted and not self._phrase:
                self._phrase = self._passphrase()
            key = load_pem_private_key(pem, self._phrase if encrypted else None)
        except (OSError, ValueError, TypeError, IndexError) as error:
            raise PublishError(f"{path}: no key, or another passphrase: {first_line(error)}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise PublishError(f"{path}: no Ed25519 key; move it out of the folder")
        return CryptoSigner(key)


def key_files(folder: Path) -> list[Path]:
    """Return the files of keys below a folder. Raises PublishError where it may hold keys that cannot be seen."""
    found = []
    for entry in below(folder):
        is_key = entry.path.suffix == ".pem"
        if entry.passed_over == LINK:
            raise PublishError(f"{entry.path}: a link to a folder is not followed; name the folder itself with --keys")
        if entry.passed_over:
            raise PublishError(f"{entry.path}: {entry.passed_over}; keys may be missing: make it readable")
        if is_key and not entry.is_file:
            raise PublishError(f"{entry.path}: not a regular file; move it out of the folder of keys")
        if is_key:
            found.append(entry.path)
    return found


def check_place(folder: Path, repository: Path) -> None:
    """Raise PublishError if keys in a folder would be published or committed."""
    folder, repository = folder.resolve(), repository.resolve()
    if folder.is_relative_to(repository) or repository.is_relative_to(folder):
        raise PublishError(f"{folder}: keys must not lie where {repository} is published from; name another folder")
    for parent in (folder, *folder.parents):
        if (parent / ".git").exists():
            raise PublishError(f"{folder}: inside the git tree {parent}, keys would be committed; name another folder")
    if folder.exists() and any(folder.iterdir()):
        raise PublishError(f"{folder}: not empty; name a new folder for the keys")
