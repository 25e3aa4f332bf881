"""The parts of `python -m tests.shadow.latency`; no figure of time is compared."""

import numpy as np
from click.testing import CliRunner

from pitcore.shadow import beside
from pitcore.shadow.beside import Shadow
from tests.config_text import small_belt
from tests.shadow import latency
from tests.shadow.latency import Run, main, ratios


def test_each_arm_has_frames_and_only_a_candidate_judges_some(monkeypatch):
    monkeypatch.setattr(beside, "IDLE", False)  # tests run side by side on every core
    monkeypatch.setattr(Shadow, "_must_pause", lambda _: False)  # the loop of a slow machine may be busy all the time
    monkeypatch.setattr(latency, "BELT", small_belt())
    monkeypatch.setattr(latency, "WARM_UP_FRAMES", 1)
    done = CliRunner().invoke(main, ["--seconds", "0.1", "--turns", "1"], catch_exceptions=False)
    found = [line.removeprefix("  all, ") for line in done.stdout.splitlines() if line.startswith("  all, ")]
    assert len(found) == len(latency.ARMS)
    for line, (arm, share) in zip(found, latency.ARMS.items(), strict=True):
        frames, median, p99, p999, dropped, judged = map(float, line.removeprefix(arm).split())
        assert frames > 0
        assert 0.0 < median <= p99 <= p999
        assert dropped >= 0
        assert (judged > 0) == (share is not None)


def test_an_arm_is_compared_over_all_frames_and_by_turn():
    slow, fast = (Run(np.full(100, ms), 0, 0) for ms in (11.0, 10.0))
    lines = ratios({latency.WITHOUT: [fast, fast], "share 1.0": [fast, slow]})
    assert lines == [
        "share 1.0: median 1.050 times that without a candidate; in a turn 1.000 to 1.100, middle 1.050",
        "share 1.0: p99 1.100 times that without a candidate; in a turn 1.000 to 1.100, middle 1.050",
    ]
