"""Creates a repository with its roles and keys, adds channels, and replaces keys."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import TOP_LEVEL_ROLE_NAMES, Key

from pitcore.errors import PublishError
from pitcore.ota.channel import Channel, channel_target
from pitcore_tools.package.channels import check_channel_name, write_channel
from pitcore_tools.package.keys import KeyRing, check_place, key_files, make_key
from pitcore_tools.package.repository import (
    MODELS,
    Now,
    StaticRepository,
    channel_role,
    rule_of,
)
from pitcore_tools.package.served import make_served_folder


def initialise(directory: Path, folder: Path, channels: Iterable[str], passphrase: bytes | None, now: Now) -> Path:
    """Create a repository and all its keys, and publish its first, empty version.

    Args:
        directory: directory of the repository; new or empty.
        folder: folder for the keys; new or empty. ``offline/`` and ``online/`` are created in it.
        channels: the first channels.
        passphrase: passphrase of the offline keys; None leaves them unprotected.
        now: returns the time for signatures.

    Returns:
        The path of the root metadata, which boards are provisioned with.

    Raises:
        PublishError: a folder is not empty; nothing is overwritten.
    """
    channels = list(channels)
    for channel in channels:
        check_channel_name(channel)
    if directory.exists() and any(directory.iterdir()):
        raise PublishError(f"{directory}: not empty, and no repository is overwritten; name a new folder")
    check_place(folder, directory)
    _make_folders(directory)
    repository = StaticRepository(directory, KeyRing((), lambda: b""), now)
    with repository.edit_root() as root:
        root.consistent_snapshot = True
        for role in sorted(TOP_LEVEL_ROLE_NAMES):
            rule = rule_of(role)
            root.roles[role].threshold = rule.threshold
            for number in range(1, rule.keys + 1):
                signer = new_key(folder, role, number, passphrase)
                repository.keys.hold(signer)
                root.add_key(signer.public_key, role)
    repository.delegate(MODELS, ["models/*"])
    give_key(repository, MODELS, _held(repository, new_key(folder, MODELS, 1, passphrase)))
    with repository.edit_targets(MODELS):
        pass  # its first version is empty
    for channel in channels:
        add_channel(repository, channel, folder)
    repository.publish()
    repository.commit()
    return directory / "metadata" / "1.root.json"


def _make_folders(directory: Path) -> None:
    try:
        make_served_folder(directory / "metadata")
        directory.chmod(0o755)  # also if it existed before
    except OSError as error:
        raise PublishError(f"{directory}: {error.strerror}; name a folder you may write to") from error


def add_channel(repository: StaticRepository, channel: str, folder: Path) -> None:
    """Create a channel with its own key. Raises PublishError."""
    check_channel_name(channel)
    role = channel_role(channel)
    if role in repository.delegated():
        raise PublishError(
            f"channel {channel} is there already; `pitcore-tools package release {channel}` puts models in"
        )
    repository.delegate(role, [channel_target(channel)])
    give_key(repository, role, _held(repository, new_key(folder, role, 1, None)))
    write_channel(repository, Channel("pitcore.channel/1", channel, ()))


def new_key(folder: Path, role: str, number: int, passphrase: bytes | None) -> CryptoSigner:
    """Create a key for a role, in the subfolder ``offline`` or ``online``. Raises PublishError."""
    offline = rule_of(role).offline
    path = folder / ("offline" if offline else "online") / f"{role}-{number}.pem"
    return make_key(path, passphrase if offline else None)


def give_key(repository: StaticRepository, role: str, key: Key) -> None:
    """Add a key to a delegated role. Raises PublishError."""
    with repository.edit_targets() as targets:
        targets.add_key(key, role)


def rotate(repository: StaticRepository, role: str, old: str | None, folder: Path, passphrase: bytes | None) -> str:
    """Replace a key of a role by a new one, and sign the role's metadata again.

    Args:
        repository: the repository, with the keys that sign for the role: root's, or targets' for models and channels.
        role: the role.
        old: first letters of the old key's id; may be None if the role has one key.
        folder: folder for the new key.
        passphrase: passphrase of the new key, if it is an offline one.

    Returns:
        The new key's id.

    Raises:
        PublishError: there is no such role or key, or too few keys are available.
    """
    keyids = key_ids(repository, role)
    gone = [keyid for keyid in keyids if keyid.startswith(old or "")]
    if len(gone) != 1:
        known = ", ".join(keyid[:12] for keyid in keyids)
        raise PublishError(f"{role}: say which key with --key, by the first letters of its id: {known}")
    vouching = "root" if role in TOP_LEVEL_ROLE_NAMES else "targets"
    if not repository.can_sign(vouching):
        raise PublishError(f"{role}: {vouching} vouches for its keys; add --keys with enough of the keys of {vouching}")
    number, taken = 1, {path.name for path in key_files(folder)} if folder.is_dir() else set()
    while f"{role}-{number}.pem" in taken:
        number += 1
    signer = new_key(folder, role, number, passphrase)
    repository.keys.hold(signer)
    if role in TOP_LEVEL_ROLE_NAMES:
        with repository.edit_root() as root:
            root.revoke_key(gone[0], role)
            root.add_key(signer.public_key, role)
    else:
        with repository.edit_targets() as targets:
            targets.revoke_key(gone[0], role)
            targets.add_key(signer.public_key, role)
    if role not in {"root", "snapshot", "timestamp"}:
        with repository.edit_targets(role):
            pass  # the same content under the new key
    return signer.public_key.keyid


def key_ids(repository: StaticRepository, role: str) -> list[str]:
    """Return the ids of the keys that may sign for a role. Raises PublishError if there is no such role."""
    if role in TOP_LEVEL_ROLE_NAMES:
        return list(repository.root().roles[role].keyids)
    if role in repository.delegated():
        return list(repository.targets().get_delegated_role(role).keyids)
    known = ", ".join([*sorted(TOP_LEVEL_ROLE_NAMES), *repository.delegated()])
    raise PublishError(f"{role}: no such role; there are {known}")


def _held(repository: StaticRepository, signer: CryptoSigner) -> Key:
    repository.keys.hold(signer)
    return signer.public_key
