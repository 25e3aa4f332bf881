"""Speaks Eclipse hawkBit's Direct Device Integration (DDI) API as a device: JSON over HTTP.

Source: https://eclipse.dev/hawkbit/apis/ddi_api/ and https://eclipse.dev/hawkbit/rest-api/ddi/. hawkBit only *selects*.
Of a deployment the name and the version of its ``model`` chunk are used; the archive comes from the signed repository.
``campaign`` acts on the answers.

Of a link only the path below this board's own address is used. The request goes to the configured server, so no other
server gets the token. A proxy before the server may change scheme, host, port and the start of the path.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Meta

from pitcore.config.address import read_address
from pitcore.errors import Refusal, UpdateError, first_line
from pitcore.ota.minimum_speed import Pace, Seconds, SpeedLimits
from pitcore.ota.web import Call, Web

_LINK = re.compile(r"(?:.*/)?controller/v1/[^/?#]+/([^?#]+(?:\?[^#]*)?)(?:#.*)?", re.DOTALL)
MAX_BYTES = 1024 * 1024
CALL_S = 60.0
SLEEP_S = (10.0, 86_400.0)  # between two polls, at least and at most, whatever the server says
PART = "model"  # key of the software module type
TARGET_KEY = "pitcore.target"  # metadata of the module, for an archive that is published a second time

Execution = Literal["closed", "proceeding", "canceled", "scheduled", "rejected", "downloaded", "download"]
Finished = Literal["success", "failure", "none"]
Answer = TypeVar("Answer")


class Link(msgspec.Struct, frozen=True):
    """The address of the next request."""

    href: str


class Links(msgspec.Struct, frozen=True, rename="camel"):
    """The actions that the server has for this board."""

    deployment_base: Link | None = None
    cancel_action: Link | None = None
    config_data: Link | None = None


class Polling(msgspec.Struct, frozen=True):
    """``HH:MM:SS`` until the next poll."""

    sleep: Annotated[str, Meta(pattern=r"^\d{2,3}:[0-5]\d:[0-5]\d$")] = "00:05:00"


class PollConfig(msgspec.Struct, frozen=True):
    """How to poll."""

    polling: Polling = Polling()


class Base(msgspec.Struct, frozen=True):
    """The answer to a poll."""

    config: PollConfig = PollConfig()
    links: Links = msgspec.field(default_factory=Links, name="_links")

    @property
    def sleep_s(self) -> float:
        """Seconds until the next poll."""
        hours, minutes, seconds = map(int, self.config.polling.sleep.split(":"))
        return min(max(hours * 3600.0 + minutes * 60.0 + seconds, SLEEP_S[0]), SLEEP_S[1])


class Fact(msgspec.Struct, frozen=True):
    """Metadata of a software module."""

    key: str
    value: str


class Chunk(msgspec.Struct, frozen=True):
    """A software module. Its artifacts are ignored."""

    part: str
    name: str
    version: str
    metadata: tuple[Fact, ...] = ()


class Orders(msgspec.Struct, frozen=True, rename="camel"):
    """The work to do, and whether to do it now."""

    chunks: tuple[Chunk, ...]
    download: Literal["skip", "attempt", "forced"] = "forced"
    update: Literal["skip", "attempt", "forced"] = "forced"
    maintenance_window: Literal["available", "unavailable"] | None = None


class Deployment(msgspec.Struct, frozen=True):
    """An action: a distribution set that is assigned to this board."""

    id: str
    deployment: Orders

    @property
    def may_install(self) -> bool:
        """Whether to install now, or only to download."""
        return self.deployment.update != "skip" and self.deployment.maintenance_window != "unavailable"


class Stop(msgspec.Struct, frozen=True, rename="camel"):
    """The action to cancel."""

    stop_id: str


class Cancel(msgspec.Struct, frozen=True, rename="camel"):
    """An action that cancels another."""

    id: str
    cancel_action: Stop


@dataclass(frozen=True, slots=True)
class HawkbitAccount:
    """The account of this board at the server.

    Attributes:
        url: of the server.
        tenant: ``DEFAULT`` on most servers.
        controller_id: of this board.
        authorization: ``TargetToken ...`` or ``GatewayToken ...``.
    """

    url: str
    tenant: str
    controller_id: str
    authorization: str


@dataclass(frozen=True, slots=True)
class Feedback:
    """The report of an action.

    Attributes:
        execution: its progress; ``closed`` ends it.
        finished: its result; ``none`` until then.
        details: for people.
    """

    execution: Execution
    finished: Finished
    details: str


class DdiServer:
    """Sends the requests of one board to one server.

    Args:
        account: address and name.
        limits, clock: as of a fetcher.
    """

    def __init__(
        self, account: HawkbitAccount, limits: SpeedLimits | None = None, clock: Seconds = time.monotonic
    ) -> None:
        self._account = account
        self._pace = Pace(limits or SpeedLimits(), clock)
        self._web = Web(limits or SpeedLimits(), self._pace)
        tenant, controller = quote(account.tenant, ""), quote(account.controller_id, "")
        self._base = f"{read_address(account.url).url}/{tenant}/controller/v1/{controller}"

    def poll(self) -> Base:
        """Ask for work. Raises UpdateError."""
        return self._get(self._base, Base)

    def deployment(self, link: Link) -> Deployment:
        """Fetch the assigned deployment. Raises UpdateError."""
        return self._get(self._followed(link), Deployment)

    def cancel(self, link: Link) -> Cancel:
        """Fetch the action to cancel. Raises UpdateError."""
        return self._get(self._followed(link), Cancel)

    def say(self, kind: Literal["deploymentBase", "cancelAction"], action: str, feedback: Feedback) -> None:
        """Report on an action. Raises UpdateError."""
        status = {
            "execution": feedback.execution,
            "result": {"finished": feedback.finished},
            "details": [feedback.details],
        }
        url = f"{self._base}/{kind}/{quote(action, '')}/feedback"
        self._call("POST", url, {"id": action, "status": status})

    def describe(self, link: Link, attributes: dict[str, str]) -> None:
        """Send the attributes of this board. Raises UpdateError."""
        self._call("PUT", self._followed(link), {"mode": "merge", "data": attributes})

    def _followed(self, link: Link) -> str:
        """Return the address of a link on the configured server. Raises UpdateError."""
        found = _LINK.fullmatch(link.href)
        if found is None:
            raise UpdateError(
                Refusal.MALFORMED,
                f"{self._base}: the server names {link.href[:200]!r}, which is not an address of its device interface; "
                "check [hawkbit] url and the proxy before the server",
            )
        return f"{self._base}/{found[1]}"

    def _get(self, url: str, kind: type[Answer]) -> Answer:
        raw = self._call("GET", url, None)
        try:
            return msgspec.json.decode(raw, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UpdateError(
                Refusal.MALFORMED,
                f"{url}: {first_line(error)}; check that it is a hawkBit server and that the URL is right",
            ) from error

    def _call(self, method: str, url: str, body: object) -> bytes:
        headers = {"Authorization": self._account.authorization, "Accept": "application/hal+json, application/json"}
        raw = None
        if body is not None:
            raw = msgspec.json.encode(body)
            headers["Content-Type"] = "application/json"
        self._pace.begin(CALL_S)
        return self._web.exchange(Call(method, url, headers, raw), MAX_BYTES)
