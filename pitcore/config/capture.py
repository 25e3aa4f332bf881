"""The pictures of cherries that the board keeps for people to look at and for training to learn from."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pitcore.config.section import Section


class CaptureConfig(Section, frozen=True):
    """Keeps crops of some cherries on the disk: doubtful ones, and a random sample. See docs/capture.md.

    Attributes:
        enabled: keep crops.
        folder: where they lie; relative to the working directory. One service writes it.
        max_bytes: that all files in it take at most; the oldest are removed first.
        max_days: for which a crop is kept at most.
        free_bytes: nothing is written while the disk has less space than this.
        random_share: of all cherries that the network judged, kept at random; 0 keeps none. `pitcore-tools audit-line`
            works from these.
        sample_seed: of the random choice; None takes a new one at each start.
        doubtful_per_minute: doubtful cherries kept at most; 0 keeps none.
        near_log_odds: a cherry is doubtful if its probability of a pit, as log(p / (1 - p)), lies within this of a
            threshold.
        outlier_sigmas: a cherry is doubtful if its area or the grey level of a plane differs from the usual by more
            than so many standard deviations.
        queue: crops that wait for the disk at most; further ones are dropped and counted.
    """

    enabled: bool = False
    folder: Annotated[str, Meta(min_length=1, max_length=4096)] = "out/capture"
    max_bytes: Annotated[int, Meta(ge=1_000_000, le=1 << 50)] = 1_000_000_000
    max_days: Annotated[float, Meta(ge=0.01, le=3650.0)] = 30.0
    free_bytes: Annotated[int, Meta(ge=0, le=1 << 50)] = 500_000_000
    random_share: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.001
    sample_seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    doubtful_per_minute: Annotated[float, Meta(ge=0.0, le=60_000.0)] = 30.0
    near_log_odds: Annotated[float, Meta(ge=0.0, le=20.0)] = 0.5
    outlier_sigmas: Annotated[float, Meta(ge=1.0, le=100.0)] = 5.0
    queue: Annotated[int, Meta(ge=1, le=10_000)] = 256

    def __post_init__(self) -> None:
        if self.enabled and not self.random_share and not self.doubtful_per_minute:
            raise ValueError("random_share and doubtful_per_minute are both 0: nothing would be kept; raise one")
