"""The real publisher with a clock that the test sets, and operations that only an attacker would do with its keys."""

import copy
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tuf.api.metadata import Metadata

from pitcore.ota.channel import BoardMachine, Channel, Entry
from pitcore.ota.clock import Time
from pitcore.ota.disk import Disk
from pitcore.ota.fetcher import Fetcher
from pitcore.ota.trust import RepositorySource, TrustContext, TrustedRepository
from pitcore_tools.package import publish, setup
from pitcore_tools.package.channels import phase, read_channel, releases, write_channel
from pitcore_tools.package.keys import KeyRing
from pitcore_tools.package.repository import StaticRepository
from tests.conftest import tiny_card, write_card, write_tiny_bundle

START = datetime(2060, 3, 1, tzinfo=UTC)  # tuf compares with the real clock too, which is far behind
DAY = timedelta(days=1)


class Publisher:
    """One repository with all its keys."""

    def __init__(self, folder):
        self.folder, self.now = Path(folder), START
        self.directory, self.keys = self.folder / "repository", self.folder / "keys"
        setup.initialise(self.directory, self.keys, ["stable"], None, lambda: self.now)

    def copied(self, folder):
        """The same publisher with its repository and its keys, in another folder."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        other = copy.copy(self)
        other.folder, other.directory, other.keys = folder, folder / "repository", folder / "keys"
        return other

    @property
    def root(self):
        return (self.directory / "metadata" / "1.root.json").read_bytes()

    def open(self, *without):
        """The repository with every key but those whose file names begin so."""
        ring = KeyRing((), bytes)
        for path in sorted(self.keys.rglob("*.pem")):
            if not path.name.startswith(without or ("no key",)):
                ring.hold(ring.load(path))
        return StaticRepository(self.directory, ring, lambda: self.now)

    def bundle(self, version, **options):
        directory = self.folder / f"bundle-{version}"
        if not directory.exists():
            write_tiny_bundle(directory, **options)
            write_card(directory, tiny_card(directory) | {"version": version})
        return directory

    def add(self, version, **wish):
        repository = self.open()
        added = publish.add(repository, self.bundle(version), publish.PublishRequest(**wish))
        repository.publish()
        repository.commit()
        return added

    def release(self, target, percent=100.0):
        repository = self.open()
        write_channel(repository, phase(read_channel(repository, "stable"), releases(repository), target, percent))
        repository.publish()
        repository.commit()

    def ship(self, version, percent=100.0, **wish):
        """From a bundle to the boards."""
        added = self.add(version, **wish)
        self.release(added.target, percent)
        return added

    def refresh(self, *roles):
        repository = self.open()
        publish.refresh(repository, roles)
        repository.commit()

    def rotate(self, role, old=None):
        repository = self.open()
        setup.rotate(repository, role, old, self.keys, None)
        repository.publish()
        repository.commit()

    # Actions of an attacker, and faults.

    def snapshot_of_everything(self, name):
        """A copy of the repository as it is now, to be served later."""
        return Path(shutil.copytree(self.directory, self.folder / name))

    def resign(self, directory, role, change, signers=None):
        """Write a role's newest metadata in a copy again, changed, under its own keys or others; no rule is kept."""
        repository = self.open()
        path = newest(directory, role)
        md = Metadata.from_file(str(path))
        change(md.signed)
        md.signatures.clear()
        for signer in repository.keys.of(setup.key_ids(repository, role)) if signers is None else signers:
            md.sign(signer, append=True)
        name = "timestamp.json" if role == "timestamp" else f"{md.signed.version}.{role}.json"
        (path.parent / name).write_bytes(md.to_bytes())

    def name_in_channel(self, target, percent=100.0):
        """Write any channel file, as the holder of the channel's key can."""
        repository = self.open()
        entry = Entry(target, percent, "s" * 16)
        write_channel(repository, Channel("pitcore.channel/1", "stable", (entry,)))
        repository.publish()
        repository.commit()


def newest(directory, role):
    metadata = Path(directory) / "metadata"
    if role == "timestamp":
        return metadata / "timestamp.json"
    return max(metadata.glob(f"*.{role}.json"), key=lambda path: int(path.name.split(".")[0]))


class Clock:
    """The board's clock, which the test sets."""

    def __init__(self, publisher):
        self.publisher, self.synced, self.ahead_s, self.fixed_s = publisher, True, 0.0, None

    def __call__(self):
        now_s = self.publisher.now.timestamp() if self.fixed_s is None else self.fixed_s
        return Time(now_s + self.ahead_s, self.synced)


class BoardUnderTest:
    """A board's trust: its directory lasts, everything else is made again for each check, as by a new process."""

    def __init__(self, publisher, directory, url, device_id="board-1"):
        self.publisher, self.directory, self.url, self.device_id = publisher, Path(directory), url, device_id
        self.root, self.clock, self.machine = publisher.root, Clock(publisher), BoardMachine("aarch64", "1.22.0")
        self.fetcher, self.disk = Fetcher, Disk()
        self.directory.mkdir(exist_ok=True)

    def repository(self, url=None):
        source = RepositorySource(url or self.url, "stable", self.root, self.device_id)
        return TrustedRepository(
            source, self.directory, TrustContext(self.machine, self.clock, self.fetcher(), self.disk)
        )

    def check(self, url=None):
        return self.repository(url).check()

    def floors(self):
        path = self.directory / "floors.json"
        return json.loads(path.read_bytes())["floors"] if path.exists() else None
