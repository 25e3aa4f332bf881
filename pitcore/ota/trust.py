"""Decides which release is genuine, current and meant for this board.

It adds rules to those of the update framework (``metadata``): floors in separate files, a sequence number of releases
signed offline, a channel that can only name such releases, phases, the fit to this board, and a clock that may be
wrong. ``update`` changes the slots.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

import msgspec
from tuf.api.exceptions import DownloadHTTPError, LengthOrHashMismatchError
from tuf.api.metadata import TargetFile

from pitcore.errors import Refusal, UpdateError, first_line
from pitcore.ota import archive
from pitcore.ota.channel import (
    MAX_CHANNEL_BYTES,
    BoardMachine,
    Channel,
    Entry,
    ReleaseMetadata,
    asked,
    channel_target,
    check_fits,
    check_name,
    decode_channel,
    decode_release,
)
from pitcore.ota.clock import WRITTEN_S, ExpiryTime, Time, judge, read_clock
from pitcore.ota.disk import Disk
from pitcore.ota.download import Wanted, download
from pitcore.ota.fetcher import Fetcher
from pitcore.ota.floors import FloorFile, Floors
from pitcore.ota.metadata import MAX_STEP, ROOT_FROM, SeenMetadata, TrustedMetadata
from pitcore.ota.repository import Delta, Offer

SKEW_S = 86_400.0  # by so much a signer's clock is believed to be ahead of one that is set
CLOCK_STEP_S = 3600.0  # the floor of the time is written no more often: flash wears
OFFLINE = frozenset({"root", "targets", "models"})  # signed by keys that no server holds


@dataclass(frozen=True, slots=True)
class TrustContext:
    """The board's properties and services for checking a repository.

    Attributes:
        machine: what a release must fit.
        clock: read once for each check.
        fetcher: fetches bytes.
        disk: carries out changes.
    """

    machine: BoardMachine
    clock: Callable[[], Time] = read_clock
    fetcher: Fetcher = field(default_factory=Fetcher)
    disk: Disk = field(default_factory=Disk)


@dataclass(frozen=True, slots=True)
class RepositorySource:
    """The source of this board's models.

    Attributes:
        url: of the repository: ``https://``, ``http://`` or ``file://``; with the folders ``metadata`` and ``targets``.
        channel: to follow.
        root: provisioned ``root.json``.
        device_id: decides the board's place in a phase; must differ between boards.
        order: an archive that a fleet's server has selected for this board, instead of the channel.
        root_from: where ``root`` was read from, for error messages.
    """

    url: str
    channel: str
    root: bytes
    device_id: str
    order: str | None = None
    root_from: str = ROOT_FROM


class TrustedRepository:
    """``Repository`` over signed metadata. One instance at a time works on a directory; the caller holds the lock.

    Args:
        source: what to follow.
        directory: for metadata and floors; exists.
        board: this board.
    """

    def __init__(self, source: RepositorySource, directory: Path, board: TrustContext) -> None:
        self._source, self._board = source, board
        self._fetcher, self._disk = board.fetcher, board.disk
        self._metadata_directory = directory / "metadata"
        self._floors = FloorFile(directory, self._disk)
        self._url = source.url.rstrip("/")

    def check(self) -> Offer | None:
        """Update the trusted metadata and return the offer; see ``Repository``. Raises UpdateError."""
        floors = self._floors.read()
        self._disk.make_directory(self._metadata_directory)
        self._fetcher.begin(self._fetcher.limits.check_s)
        metadata = TrustedMetadata(
            self._metadata_directory,
            f"{self._url}/metadata/",
            self._source.root,
            self._fetcher,
            self._disk,
            self._source.root_from,
        )
        channel, listed = self._brought_up_to_date(metadata, floors)
        floors = self._accepted(metadata, floors)
        offer = self._chosen(channel, listed, floors)
        if offer is not None and offer.release_seq > floors.release_seq:
            self._floors.write(floors.raised(release_seq=offer.release_seq))
        return offer

    def fetch(self, target: str, sha256: str, length: int, part: Path) -> None:
        """Fetch a target into ``part``; see ``Repository``. Raises UpdateError."""
        check_name(target)
        if length > archive.MAX_BYTES:
            raise UpdateError(
                Refusal.OVERSIZED, f"{target}: {length} bytes, but a board accepts at most {archive.MAX_BYTES}"
            )

        def verifies(file: BufferedReader) -> bool:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256

        download(self._fetcher, Wanted(self._target_url(target, sha256), length, verifies), part)

    def _brought_up_to_date(
        self, metadata: TrustedMetadata, floors: Floors
    ) -> tuple[Channel, dict[str, tuple[TargetFile, ReleaseMetadata]]]:
        """Refresh, and return this board's channel with the signed data of each archive that it names."""
        try:
            metadata.refresh()
            channel = self._channel(metadata)
            listed = {entry.target: self._listed(metadata, entry.target) for entry in channel.releases}
        except UpdateError as error:
            self._refuse_leaps(metadata, floors)
            if error.refusal is Refusal.BAD_SIGNATURE and metadata.skips_a_root():
                raise UpdateError(
                    Refusal.ROOT_GAP, f"{self._url}: a version of root.json is missing; publish every version of it"
                ) from error
            if error.refusal is Refusal.EXPIRED and not self._time(floors).sure:
                raise _clock_not_set(str(error)) from error
            raise
        self._refuse_leaps(metadata, floors)
        return channel, listed

    def _refuse_leaps(self, metadata: TrustedMetadata, floors: Floors) -> None:
        """Refuse and drop versions so high that no further version could follow."""
        if leapt := metadata.forget_leaps(floors.roles):
            raise UpdateError(
                Refusal.FAST_FORWARD,
                f"{self._url}: the version of {', '.join(leapt)} is so high that no later one "
                "could follow; a key is stolen, tell the publisher",
            )

    def _channel(self, metadata: TrustedMetadata) -> Channel:
        if self._source.order is not None:
            check_name(self._source.order)
            return Channel("pitcore.channel/1", "order", (Entry(self._source.order, 100.0, "no phases"),))
        name = channel_target(self._source.channel)
        target = metadata.target(name)
        if target is None:
            raise UpdateError(
                Refusal.NOT_SET_UP, f"{self._url}: no channel {self._source.channel}; check the configuration"
            )
        if target.length > MAX_CHANNEL_BYTES:
            raise UpdateError(Refusal.OVERSIZED, f"{name}: {target.length} bytes, more than any channel's file has")
        try:
            raw = self._fetcher.download_bytes(self._target_url(name, _sha256(target)), target.length)
            target.verify_length_and_hashes(raw)
        except DownloadHTTPError as error:
            raise UpdateError(Refusal.NOT_FOUND, first_line(error)) from error
        except LengthOrHashMismatchError as error:
            raise UpdateError(
                Refusal.MIXED, f"{name}: {first_line(error)}; try again when the copy of the repository is complete"
            ) from error
        return decode_channel(raw, self._source.channel)

    def _listed(self, metadata: TrustedMetadata, name: str) -> tuple[TargetFile, ReleaseMetadata]:
        """Return the offline-signed data of an archive."""
        target = metadata.target(name)
        if target is None:
            raise UpdateError(
                Refusal.UNLISTED,
                f"{name}: selected for this board, but signed by no offline key; the key that selected it may "
                "be misused, tell the publisher",
            )
        return target, decode_release(target.custom, name)

    def _accepted(self, metadata: TrustedMetadata, floors: Floors) -> Floors:
        """Compare verified metadata with the floors and the time, and raise the floors on disk."""
        seen = metadata.seen(frozenset({"models", f"channel-{self._source.channel}"}))
        for role, found in seen.items():
            if floors.is_below(role, found.floor):
                raise UpdateError(
                    Refusal.ROLLED_BACK,
                    f"{self._url}: {role} is version {found.floor.version}, but this board "
                    f"has seen {floors.roles[role].version}; this is an old copy of the repository, use a new one",
                )
        news = [found for role, found in seen.items() if role in OFFLINE and floors.roles.get(role) != found.floor]
        signed_s = max((found.issued_s for found in news), default=0.0)  # of the others it is in the floor already
        time = self._time(floors.raised(issued_s=max(floors.issued_s, signed_s)))
        if time.sure:
            signed_s = min(signed_s, time.at_s + SKEW_S)
        for role, found in seen.items():
            _check_expiry(self._url, role, found, time)
        metadata.sync()
        raised = floors.raised(
            roles=floors.roles | {role: found.floor for role, found in seen.items()},
            issued_s=max(floors.issued_s, signed_s),
            synced_s=time.at_s if time.sure and time.at_s > floors.synced_s + CLOCK_STEP_S else floors.synced_s,
        )
        if raised != floors:
            self._floors.write(raised)
        return raised

    def _chosen(
        self, channel: Channel, listed: dict[str, tuple[TargetFile, ReleaseMetadata]], floors: Floors
    ) -> Offer | None:
        """Return the first release that asks this board and is not older than an earlier offer."""
        for entry in channel.releases:
            target, release = listed[entry.target]
            if asked(entry, self._source.device_id) and release.release_seq >= floors.release_seq:
                _refuse_leap(release, floors, entry.target)
                check_fits(release, self._board.machine, entry.target)
                return _offer(target, release, channel.name)
        newest = max((release.release_seq for _, release in listed.values()), default=floors.release_seq)
        if newest < floors.release_seq:
            raise UpdateError(
                Refusal.ROLLED_BACK,
                f"channel {channel.name}: its newest release is number {newest}, but this board "
                f"was offered {floors.release_seq}; publish the old model again, it gets a new number",
            )
        return None

    def _time(self, floors: Floors) -> ExpiryTime:
        """Return the time to compare with. A clock that is set has priority over a signer's, which may be wrong."""
        reading = self._board.clock()
        floor_s = max(WRITTEN_S, floors.synced_s)
        return judge(reading, floor_s if reading.synced else max(floor_s, floors.issued_s))

    def _target_url(self, target: str, sha256: str) -> str:
        """Return the URL of a target in a repository with consistent snapshots."""
        directory, _, name = target.rpartition("/")
        return f"{self._url}/targets/{directory}/{sha256}.{name}"


def _refuse_leap(release: ReleaseMetadata, floors: Floors, target: str) -> None:
    """Refuse a number so high that no further release could follow."""
    if release.release_seq > floors.release_seq + MAX_STEP:
        raise UpdateError(
            Refusal.FAST_FORWARD,
            f"{target}: release {release.release_seq}, but {floors.release_seq} was the last; a key is stolen, "
            "tell the publisher",
        )


def _offer(target: TargetFile, release: ReleaseMetadata, channel: str) -> Offer:
    deltas = sorted(release.deltas, key=lambda patch: patch.length)
    return Offer(
        target=target.path,
        sha256=_sha256(target),
        length=target.length,
        card_sha256=release.card_sha256,
        release_seq=release.release_seq,
        channel=channel,
        deltas=tuple(Delta(**msgspec.structs.asdict(patch)) for patch in deltas),
    )


def _sha256(target: TargetFile) -> str:
    try:
        return target.hashes["sha256"]
    except KeyError as error:
        raise UpdateError(Refusal.MALFORMED, f"{target.path}: signed without its SHA-256; publish it again") from error


def _check_expiry(url: str, role: str, found: SeenMetadata, time: ExpiryTime) -> None:
    """Refuse expired metadata. If the clock is not set, compare with the floor of the time."""
    if found.expires_s > time.at_s:
        return
    if not time.sure and found.expires_s > time.floor_s:
        raise _clock_not_set(f"{url}: {role} looks expired")
    raise UpdateError(Refusal.EXPIRED, f"{url}: {role} has expired; run `pitcore-tools package refresh`")


def _clock_not_set(what: str) -> UpdateError:
    return UpdateError(
        Refusal.CLOCK,
        f"{what}; but this board's clock is not set: check its time service (`timedatectl`); the model stays",
    )
