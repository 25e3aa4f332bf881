"""What is published over MQTT: topics and messages. Pure; docs/mqtt.md shows them.

No message can act on the belt, and no command of the broker's clients can arm the air jet.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pitcore.config import MqttConfig
from pitcore.control.status import Status
from pitcore.errors import ControlError
from pitcore.verdict import VERDICTS, Verdict

ONLINE, OFFLINE = b"online", b"offline"
MAX_REQUEST_BYTES = 4096
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Message:
    """One message; all are published with QoS 1.

    Attributes:
        retain: the broker keeps it for those who come later.
    """

    topic: str
    payload: bytes
    retain: bool


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a command's message holds.

    Attributes:
        id: comes back with the answer. A second request with the same id is passed over.
    """

    id: str


class Topics:
    """The topics of one board.

    Args:
        config: names the device; without a name the machine's host name is taken.
    """

    def __init__(self, config: MqttConfig) -> None:
        self.device = config.device or fit(socket.gethostname())
        self.root = f"pitcore/{self.device}"
        self.availability = f"{self.root}/availability"
        self.verdict = f"{self.root}/verdict"
        self.commands = f"{self.root}/cmd/#"
        self.reply = f"{self.root}/reply"
        self._discovery = f"{config.discovery_prefix}/device/pitcore_{self.device}/config" if config.discovery else None

    def online(self) -> Message:
        """Say that the board is there."""
        return Message(self.availability, ONLINE, retain=True)

    def offline(self) -> Message:
        """Say that it ends; the broker says the same as its last will."""
        return Message(self.availability, OFFLINE, retain=True)

    def state(self, now: Status) -> Iterator[Message]:
        """Yield what the service is about: status, model, and each camera's health."""
        yield Message(f"{self.root}/status", msgspec.json.encode(now), retain=True)
        yield Message(f"{self.root}/model", msgspec.json.encode(now.model), retain=True)
        for camera in now.cameras:
            yield Message(f"{self.root}/camera/{fit(camera.id)}/health", msgspec.json.encode(camera), retain=True)

    def verdicts(self, verdicts: Sequence[Verdict]) -> Message:
        """Return the verdicts of a frame, a JSON array of the lines that the verdict file has."""
        return Message(self.verdict, msgspec.json.encode(verdicts), retain=False)

    def answer(self, request_id: str, said: dict[str, Any]) -> Message:
        """Return the answer to a command."""
        return Message(self.reply, msgspec.json.encode({"id": request_id} | said), retain=False)

    def discovery(self, version: str) -> Message | None:
        """Describe the board to Home Assistant, if that is wanted.

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
        topic: ends in the command's name.
        payload: a JSON object with an ``id``.
        allowed: commands that the configuration lets through.

    Returns:
        The command, and its request.

    Raises:
        ControlError: it is none, or not allowed; the message says why.
    """
    name = topic.rpartition("/cmd/")[2]
    if name not in allowed:
        raise ControlError(f"command {name[:40]!r} is not allowed; [mqtt] commands: {', '.join(allowed) or 'none'}")
    try:
        request = msgspec.json.decode(payload[: MAX_REQUEST_BYTES + 1], type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ControlError(f'a command is a JSON object {{"id": "..."}}: {error}') from error
    if len(payload) > MAX_REQUEST_BYTES or not 0 < len(request.id) <= 128:
        raise ControlError("the id has 1 to 128 characters")
    return name, request


def fit(text: str) -> str:
    """Return a text as a part of a topic: what MQTT gives a meaning to, or nobody can type, becomes ``_``."""
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
