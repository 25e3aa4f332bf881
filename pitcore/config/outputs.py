"""Defines the sections of Prometheus and of an MQTT broker. Neither can act on the belt."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from pitcore.config.section import Section

Place = Annotated[str, Meta(min_length=1, max_length=4096)]
Host = Annotated[str, Meta(min_length=1, max_length=255)]
_TOPIC = "at most 64 letters without accents, digits, - and _"
LOCAL = ("127.", "localhost", "::1")


class MetricsConfig(Section, frozen=True):
    """Counts and durations for Prometheus; needs the extra `metrics`. See docs/metrics.md.

    Attributes:
        enabled: answer at http://bind:port/metrics.
        bind: address to listen on. It has no passwords, so use an address of the machine's own network only.
            "0.0.0.0" means every interface.
        port: TCP.
        textfile: also write them to this file, for node_exporter; it must end in .prom. None: no file.
        every_s: time between two writes of the textfile.
    """

    enabled: bool = False
    bind: Host = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 9473
    textfile: Place | None = None
    every_s: Annotated[float, Meta(ge=1.0, le=3600.0)] = 15.0

    def __post_init__(self) -> None:
        if self.textfile is not None and not self.textfile.endswith(".prom"):
            raise ValueError("textfile must end in .prom: node_exporter reads no other file")


class MqttConfig(Section, frozen=True):
    """Status, camera health and verdicts for an MQTT 5 broker; needs the extra `mqtt`. See docs/mqtt.md.

    Attributes:
        enabled: connect to the broker.
        host, port: of the broker; 8883 is usual with TLS.
        device: names this board in the topics, pitcore/DEVICE/...; no other client of the broker may have the same
            name. None is the machine's host name.
        user: at the broker; None: no user.
        password_file: holds the password in one line; readable by its owner only.
        tls: encrypt, and check the broker's certificate.
        ca_file: certificates to check the broker's with; None: those of the system.
        cert_file, key_file: client certificate of this board; both or none.
        verdicts: publish every frame's verdicts; otherwise only status, model and camera health.
        buffer_verdicts: most verdicts that wait in memory without a connection; then the oldest are dropped and
            counted.
        status_s: time between two messages of the status; an alarm or a change of arming is published at once.
        commands: that the broker's clients may send. They cannot arm the air jet.
        discovery: describe the board to Home Assistant.
        discovery_prefix: of the topics that Home Assistant reads.
    """

    enabled: bool = False
    host: Host = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    device: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,64}$", description=_TOPIC)] | None = None
    user: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    password_file: Place | None = None
    tls: bool = False
    ca_file: Place | None = None
    cert_file: Place | None = None
    key_file: Place | None = None
    verdicts: bool = True
    buffer_verdicts: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    status_s: Annotated[float, Meta(ge=0.2, le=3600.0)] = 5.0
    commands: tuple[Literal["status", "disarm", "reload"], ...] = ()
    discovery: bool = False
    discovery_prefix: Annotated[str, Meta(pattern="^[A-Za-z0-9_/-]{1,64}$", description=f"{_TOPIC} and /")] = (
        "homeassistant"
    )

    def __post_init__(self) -> None:
        if self.password_file is not None and self.user is None:
            raise ValueError("password_file needs a user")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together: give both or none")
        if not self.tls and (self.ca_file is not None or self.cert_file is not None):
            raise ValueError("ca_file, cert_file and key_file need tls = true")

    @property
    def shows_password(self) -> bool:
        """Return whether the password goes over a network unencrypted."""
        return self.enabled and self.password_file is not None and not self.tls and not self.host.startswith(LOCAL)
