"""Defines the MQTT topics and messages; docs/mqtt.md shows them. Does no IO.

No message acts on the belt, and no MQTT command can arm the air jet.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pitcore.config import MqttConfig
from pitcore.control.status import Status
from pitcore.errors import ControlError
from pitcore.verdict import VERDICTS, Verdict

ONLINE, OFFLINE = b"online", b"offline"
MAX_REQUEST_BYTES = 4096
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Message:
    """One message, to be published with QoS 1.

    Attributes:
        topic: full name of the topic.
        payload: JSON text, or a word.
        retain: True if the broker keeps it for later subscribers.
    """

    topic: str
    payload: bytes
    retain: bool


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload of a command.

    Attributes:
        id: repeated in the answer. A second request with the same id is ignored.
    """

    id: str


class _Asked(msgspec.Struct, frozen=True):
    """What an answer to a refused command needs of its payload, whatever else is wrong with it."""

    id: Annotated[str, Meta(min_length=1, max_length=128)] | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class Topics:
    """The topics of one board.

    Args:
        config: gives the name of the device; without one, the host name is used.
        run: the run of the service, for every verdict.
    """

    def __init__(self, config: MqttConfig, run: str) -> None:
        self._end = b',"run":' + msgspec.json.encode(run) + b"}"
        self.device = config.device or fit(socket.gethostname())
        self.root = f"pitcore/{self.device}"
        self.availability = f"{self.root}/availability"
        self.verdict = f"{self.root}/verdict"
        self.commands = f"{self.root}/cmd/#"
        self.reply = f"{self.root}/reply"
        self._discovery = f"{config.discovery_prefix}/device/pitcore_{self.device}/config" if config.discovery else None

    def online(self) -> Message:
        """Return the message that the board is online."""
        return Message(self.availability, ONLINE, retain=True)

    def offline(self) -> Message:
        """Return the message that the board is offline. The last will is the same."""
        return Message(self.availability, OFFLINE, retain=True)

    def state(self, now: Status) -> Iterator[Message]:
        """Yield the messages of the service's state: status, model, and each camera's health."""
        yield Message(f"{self.root}/status", msgspec.json.encode(now), retain=True)
        yield Message(f"{self.root}/model", msgspec.json.encode(now.model), retain=True)
        for camera in now.cameras:
            yield Message(f"{self.root}/camera/{fit(camera.id)}/health", msgspec.json.encode(camera), retain=True)

    def verdicts(self, verdicts: Sequence[Verdict]) -> Message:
        """Return the message with verdicts of a frame: an array of the lines of the verdict file, each with ``run``."""
        lines = [msgspec.json.encode(verdict).removesuffix(b"}") + self._end for verdict in verdicts]
        return Message(self.verdict, b"[" + b",".join(lines) + b"]", retain=False)

    def answer(self, request_id: str | int, content: dict[str, Any]) -> Message:
        """Return the answer to a command."""
        return Message(self.reply, msgspec.json.encode({"id": request_id} | content), retain=False)

    def discovery(self, version: str) -> Message | None:
        """Return the message that describes the board to Home Assistant, or None if it is not configured.

        Source: home-assistant.io, "MQTT", section "MQTT Discovery", device discovery.
        """
        if self._discovery is None:
            return None
        described = {
            "device": {
                "identifiers": [f"pitcore_{self.device}"],
                "name": f"pitcore {self.device}",
                "sw_version": version,
            },
            "origin": {"name": "pitcore", "sw_version": version},
            "availability_topic": self.availability,
            "state_topic": f"{self.root}/status",
            "components": {
                key: {"unique_id": f"pitcore_{self.device}_{key}"} | one for key, one in _components().items()
            },
        }
        return Message(self._discovery, msgspec.json.encode(described), retain=True)


def read_request(topic: str, payload: bytes, allowed: Sequence[str]) -> tuple[str, Request]:
    """Read a command.

    Args:
        topic: topic of the message, which ends in the command's name.
        payload: a JSON object with an ``id``.
        allowed: the commands that the configuration allows.

    Returns:
        The name of the command, and its request.

    Raises:
        ControlError: the command is unknown or not allowed, or the payload is invalid.
    """
    name = topic.rpartition("/cmd/")[2]
    if name not in allowed:
        raise ControlError(f"command {name[:40]!r} is not allowed; [mqtt] commands: {', '.join(allowed) or 'none'}")
    try:
        request = msgspec.json.decode(payload[: MAX_REQUEST_BYTES + 1], type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ControlError(f'a command is a JSON object {{"id": "..."}}: {error}') from error
    if len(payload) > MAX_REQUEST_BYTES or not 0 < len(request.id) <= 128:
        raise ControlError("the id has 1 to 128 characters")
    return name, request


def id_of(payload: bytes) -> str | int | None:
    """Return the id of a refused command, for the answer; None if it cannot be read."""
    try:
        return msgspec.json.decode(payload[: MAX_REQUEST_BYTES + 1], type=_Asked).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def fit(text: str) -> str:
    """Return a text as a level of a topic: characters other than letters, digits, ``_`` and ``-`` become ``_``."""
    return _UNFIT.sub("_", text).strip("_")[:64] or "board"


def _components() -> dict[str, dict[str, Any]]:
    """Return Home Assistant's entities; each takes its value from the status."""
    counts = {
        f"verdicts_{name}": {
            "platform": "sensor",
            "name": f"{name}",
            "state_class": "total_increasing",
            "value_template": f"{{{{ value_json.verdicts.{name} | default(0) }}}}",
        }
        for name in VERDICTS
    }
    return counts | {
        "frames": {
            "platform": "sensor",
            "name": "frames judged",
            "state_class": "total_increasing",
            "value_template": "{{ value_json.frames.judged }}",
        },
        "state": {"platform": "sensor", "name": "state", "value_template": "{{ value_json.state }}"},
        "model": {
            "platform": "sensor",
            "name": "model",
            "value_template": "{{ value_json.model.name }}@{{ value_json.model.version }}",
        },
        "alarm": {
            "platform": "binary_sensor",
            "name": "alarm",
            "device_class": "problem",
            "value_template": "{{ 'ON' if value_json.alarms else 'OFF' }}",
        },
        "armed": {
            "platform": "binary_sensor",
            "name": "air jet armed",
            "value_template": "{{ 'ON' if value_json.arming.armed else 'OFF' }}",
        },
    }
