"""Defines the section of the live page: access, content, and shifts for its counts."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pitcore.config.section import Section

Name = Annotated[
    str, Meta(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f/]*$", description="a name without / and tabs")
]
HostName = Annotated[
    str, Meta(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.-]+$", description='a host name, as "board-3.local"')
]


class ShiftConfig(Section, frozen=True):
    """One shift; it lasts until the next one starts.

    Attributes:
        name: of the shift, for people.
        start: local time of the board at which it starts, "HH:MM".
    """

    name: Name
    start: Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description='HH:MM, as "06:00"')]


class PageConfig(Section, frozen=True):
    """The live page: the belt, counts, alarms and camera health in a browser. See docs/page.md.

    Attributes:
        enabled: run the page.
        bind: address to listen on. "0.0.0.0" means every interface.
        port: of the page.
        open: everybody who reaches the page may look; false: looking needs a token too.
        names: host names by which browsers call this board, besides its own name, its addresses and "localhost".
        certificate, key: PEM files; with both the page is served by HTTPS only.
        pictures_per_s: most frames a second that are copied for the page; none while nobody looks.
        strips: number of strips across the belt for counts, if [actuation] has no lanes.
        shifts: counts are kept for each; the first one of the day first.
        keep_shifts: number of reports of past shifts that stay on the disk.
    """

    enabled: bool = False
    bind: Annotated[str, Meta(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8480
    open: bool = True
    names: Annotated[tuple[HostName, ...], Meta(max_length=16)] = ()
    certificate: str | None = None
    key: str | None = None
    pictures_per_s: Annotated[float, Meta(ge=0.2, le=10.0)] = 4.0
    strips: Annotated[int, Meta(ge=1, le=32)] = 4
    shifts: Annotated[tuple[ShiftConfig, ...], Meta(min_length=1, max_length=12)] = (
        ShiftConfig(name="early", start="06:00"),
        ShiftConfig(name="late", start="14:00"),
        ShiftConfig(name="night", start="22:00"),
    )
    keep_shifts: Annotated[int, Meta(ge=1, le=10_000)] = 400

    def __post_init__(self) -> None:
        starts = [shift.start for shift in self.shifts]
        if starts != sorted(set(starts)):
            raise ValueError(
                f"shifts start at {', '.join(starts)}: put them in the order of their start, each start once"
            )
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: give both, or none")
