"""Implements ``pitcore.ota.gate.Service`` over the control socket, for `pitcore update`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pitcore.control.client import RELOAD_TIMEOUT_S, ask, lives
from pitcore.control.status import SinceModel, Status
from pitcore.errors import ControlError
from pitcore.ota.gate import Health
from pitcore.ota.shares import Verdicts
from pitcore.verdict import MODEL_FAULTS


def ask_status(path: Path) -> Status:
    """Return the status of the service at a socket. Raises NotRunningError, ControlError."""
    try:
        return msgspec.convert(ask(path, "status"), type=Status)
    except msgspec.ValidationError as error:
        raise ControlError(f"{path}: not a status: {error}; client and service differ in version") from error


def health_of(model_sha256: str, since: SinceModel) -> Health:
    """Return the health of a service that runs a model, from the counts since it was loaded."""
    events, concerned = since.fault_events, since.faults
    return Health(
        model_sha256=model_sha256,
        frames=since.frames,
        model_faults=sum(number for name, number in events.items() if name in MODEL_FAULTS),
        faults=sum(concerned.get(name, n) if name in MODEL_FAULTS else n for name, n in events.items()),
        infer_ms=None if since.infer_ms is None else since.infer_ms.p99,
        verdicts=Verdicts(**since.network),
        recent=Verdicts(**since.network_recent),
    )


class RunningService:
    """The service at a socket.

    Args:
        path: of its control socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def reload(self) -> None:
        """Make it load its configuration and its model again. Raises NotRunningError, ControlError."""
        ask(self._path, "reload", timeout_s=RELOAD_TIMEOUT_S)

    def lives(self) -> bool:
        """Return whether its process runs, even if it does not answer."""
        return lives(self._path)

    def health(self) -> Health:
        """Return its health since it loaded its model. Raises NotRunningError, ControlError."""
        now = ask_status(self._path)
        return health_of(now.model.sha256, now.since_model)
