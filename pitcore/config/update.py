"""Defines the section of updates: the source of models, and the requirements for a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from pitcore.config.address import WEB, check_path, is_address, read_address
from pitcore.config.section import Section

_CHANNEL = "at most 64 small letters, digits, ., - and _, the first a letter or a digit"


class UpdateConfig(Section, frozen=True):
    """The section ``[update]``, for `pitcore update`; the service does not use it.

    Attributes:
        url: of the repository: https, http, or the path of a directory, as on a stick. Name and password may be in
            it: https://NAME:PASSWORD@HOST/PATH. None: no updates.
        channel: to follow.
        root: ``root.json`` with the keys that this board trusts, installed with pitcore.
        device_id: decides the board's place in a phased rollout; None is made from the machine's own.
        attempts: how often the service may load a model on trial.
        gate_frames: number of frames that a model on trial must judge in the service,
        gate_cherries: and that many cherries, 1000 where no model before is known,
        gate_timeout_s: within this time.
        gate_max_infer_ms: bound of the 99th percentile of the network's time for a frame; 0 means no bound.
        gate_more_troubles: by how much the faults for each frame may rise above the usual number.
        selftest_timeout_s: longest time for the self-test of a new model.
        selftest_latency_ratio: largest multiple of the running model's latency.
        selftest_memory_mb: memory limit of its process.
    """

    url: str | None = None
    channel: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9._-]{0,63}$", description=_CHANNEL)] = "stable"
    root: str = "/etc/pitcore/root.json"
    device_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    attempts: Annotated[int, Meta(ge=1, le=100)] = 3
    gate_frames: Annotated[int, Meta(ge=1, le=1_000_000)] = 200
    gate_cherries: Annotated[int, Meta(ge=100, le=1_000_000)] = 300
    gate_timeout_s: Annotated[float, Meta(gt=0.0, le=3600.0)] = 120.0
    gate_max_infer_ms: Annotated[float, Meta(ge=0.0, le=10_000.0)] = 100.0
    gate_more_troubles: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.02
    selftest_timeout_s: Annotated[float, Meta(gt=0.0, le=3600.0)] = 120.0
    selftest_latency_ratio: Annotated[float, Meta(ge=1.0, le=1e6)] = 1.5
    selftest_memory_mb: Annotated[int, Meta(ge=64, le=65536)] = 1024

    def __post_init__(self) -> None:
        if self.url is not None and (not self.url.strip() or is_address(self.url)):
            check_repository(self.url)  # a path is checked where it is used: the service runs without


def check_repository(text: str) -> None:
    """Refuse a text that is neither a web address nor a path. Raises ValueError; its message holds no password."""
    if not text.strip():
        raise ValueError("url: empty; leave the key out if there is no repository")
    try:
        if is_address(text):
            read_address(text, (*WEB, "file"))
        elif not Path(text).is_dir():  # a folder that is there may have any name
            check_path(text)
    except ValueError as error:
        raise ValueError(f"url: {error}") from error
