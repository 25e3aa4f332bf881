"""Builds the parts of `pitcore update` from a board's configuration."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import click
import onnxruntime as ort

from pitcore import __version__
from pitcore.cli.progress import growing
from pitcore.cli.update_place import UpdateContext
from pitcore.config.address import WEB, Address, is_address, read_address
from pitcore.config.update import check_repository
from pitcore.control.remote import RunningService
from pitcore.errors import Refusal, UpdateError, first_line
from pitcore.ota.campaign import Campaign
from pitcore.ota.channel import BoardMachine
from pitcore.ota.fetcher import Fetcher
from pitcore.ota.gate import Gate
from pitcore.ota.hawkbit import DdiServer, HawkbitAccount
from pitcore.ota.identity import read_identity
from pitcore.ota.repository import Offer, Repository
from pitcore.ota.selftest_process import SelfTest, SelfTestLimits
from pitcore.ota.trust import RepositorySource, TrustContext, TrustedRepository
from pitcore.ota.update import Means, Updater
from pitcore.plain_text import decode_text

STICK_FOLDER = "pitcore"  # folder of the repository on a stick, as docs/updates_publisher.md writes it


def fleet(place: UpdateContext) -> Campaign:
    """Build the campaign of this board. Raises UpdateError, ConfigError."""
    said = place.config.hawkbit
    if said.url is None:
        raise UpdateError(Refusal.NOT_SET_UP, "this board is in no fleet: set [hawkbit] url")
    try:
        token = decode_text(Path(said.token_file).read_bytes()).strip()
    except (OSError, ValueError) as error:
        message = f"{said.token_file}: {first_line(error)}; put this board's token there, or set [hawkbit] token_file"
        raise UpdateError(Refusal.NOT_SET_UP, message) from error
    if len(token.split()) != 1 or not token.isascii():  # else it is no header, and the error that says so would show it
        raise UpdateError(Refusal.NOT_SET_UP, f"{said.token_file}: no token in one line; put this board's token there")
    controller = said.controller_id or read_identity(place.config.update.device_id).device_id
    server = DdiServer(HawkbitAccount(said.url, said.tenant, controller, f"{said.token_kind} {token}"))
    attributes = {"pitcore": __version__, "arch": platform.machine()}

    def updater_of(order: str | None) -> Updater:
        return updater(place, fetches=order is not None, order=order)

    return Campaign(server, place.store, updater_of, attributes, _tell)


def _tell(line: str) -> None:
    click.echo(line, err=True)


def updater(place: UpdateContext, *, fetches: bool, order: str | None = None) -> Updater:
    """Build the updater. A command that fetches nothing needs no repository. Raises UpdateError, ConfigError.

    Args:
        place: of the board.
        fetches: whether the command fetches.
        order: an archive that a fleet's server selected; None follows the channel.
    """
    update = place.config.update
    child = [
        sys.executable,
        "-m",
        "pitcore.inference.selftest",
        "-" if place.config_path is None else str(place.config_path),
    ]
    limits = SelfTestLimits(update.selftest_timeout_s, update.selftest_latency_ratio, update.selftest_memory_mb)
    means = Means(
        repository=_Shown(_repository(place, order)) if fetches else None,
        self_test=SelfTest(child, limits),
        service=RunningService(place.socket),
        gate=Gate(
            frames=update.gate_frames,
            cherries=update.gate_cherries,
            timeout_s=update.gate_timeout_s,
            max_infer_ms=update.gate_max_infer_ms,
            more_troubles=update.gate_more_troubles,
        ),
        attempts=update.attempts,
        tell=_tell,
    )
    return Updater(place.store, means)


def _repository(place: UpdateContext, order: str | None) -> Repository:
    """Build the trusted repository. Raises UpdateError, ConfigError."""
    update = place.config.update
    if place.url is None:
        raise UpdateError(Refusal.NOT_SET_UP, "no repository: set [update] url, or give --from URL or --from DIRECTORY")
    try:
        root = Path(update.root).read_bytes()
    except OSError as error:
        message = f"{update.root}: {error.strerror}; put the publisher's root.json there, or set [update] root"
        raise UpdateError(Refusal.NOT_SET_UP, message) from error
    address = _address(place.url)
    device_id, root_from = read_identity(update.device_id).device_id, f"[update] root, {update.root}"
    source = RepositorySource(address.url, update.channel, root, device_id, order, root_from)
    fetcher = Fetcher(authorization=address.authorization)
    board = TrustContext(BoardMachine(platform.machine(), ort.__version__), fetcher=fetcher, disk=place.store.disk)
    return TrustedRepository(source, place.store.tuf, board)


def _address(text: str) -> Address:
    """Return the address of a repository, from a web address or the path of a directory.

    Raises:
        UpdateError: the address is not usable, or no repository is in the directory.
    """
    try:
        check_repository(text)
    except ValueError as error:
        raise UpdateError(Refusal.NOT_SET_UP, f"the repository's {error}") from error
    if is_address(text):
        return read_address(text, (*WEB, "file"))
    return Address(_on_stick(Path(text).absolute()).as_uri())


def _on_stick(directory: Path) -> Path:
    """Return the repository in a directory: the directory itself, or ``pitcore`` in it, as on most sticks.

    Raises:
        UpdateError: there is none.
    """
    for place in (directory, directory / STICK_FOLDER):
        if (place / "metadata").is_dir():
            return place
    raise UpdateError(
        Refusal.NOT_FOUND,
        f"{directory}: no repository here, nor in its folder {STICK_FOLDER}; is the stick mounted? `findmnt` shows it",
    )


class _Shown:
    """Shows a progress bar for the downloads of a repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def check(self) -> Offer | None:
        """See ``Repository``."""
        return self._repository.check()

    def fetch(self, target: str, sha256: str, length: int, part: Path) -> None:
        """See ``Repository``."""
        with growing(target.rpartition("/")[2], part, length):
            self._repository.fetch(target, sha256, length, part)
