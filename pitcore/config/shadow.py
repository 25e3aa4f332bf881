"""The section [shadow]: a candidate model that judges some frames in addition."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pitcore.config.section import Section


class ShadowConfig(Section, frozen=True):
    """A candidate judges some frames in addition to the live model, and changes no verdict. See docs/shadow.md.

    Attributes:
        enabled: let the candidate judge.
        bundle: directory of the candidate.
        share: of the frames with cherries, judged by the candidate at most. It judges fewer if it has no time.
        busy_limit: share of the frame time; while the loop needs more, the candidate pauses.
        kept_per_minute: cherries on which the two disagree, kept in the folder of [capture] at most; 0 keeps none.
    """

    enabled: bool = False
    bundle: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    share: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.1
    busy_limit: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.8
    kept_per_minute: Annotated[float, Meta(ge=0.0, le=60_000.0)] = 30.0

    def __post_init__(self) -> None:
        if self.enabled and self.bundle is None:
            raise ValueError("bundle is missing: name the directory of the candidate")
