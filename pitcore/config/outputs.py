"""What the service tells others besides the line."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pitcore.config.section import Section

Place = Annotated[str, Meta(min_length=1, max_length=4096)]
Host = Annotated[str, Meta(min_length=1, max_length=255)]


class MetricsConfig(Section, frozen=True):
    """Counts and durations for Prometheus; needs the extra `metrics`. See docs/metrics.md.

    Attributes:
        enabled: answer at http://bind:port/metrics.
        bind: address to listen on. It knows no passwords, so give it an address of the machine's own network only.
            "0.0.0.0" means every interface.
        port: TCP.
        textfile: also write them to this file, for node_exporter; it must end in .prom. None: do not.
        every_s: between two writings of the textfile.
    """

    enabled: bool = False
    bind: Host = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 9473
    textfile: Place | None = None
    every_s: Annotated[float, Meta(ge=1.0, le=3600.0)] = 15.0

    def __post_init__(self) -> None:
        if self.textfile is not None and not self.textfile.endswith(".prom"):
            raise ValueError("textfile must end in .prom: node_exporter reads no other file")
