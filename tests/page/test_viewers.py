"""Many viewers, some of whom read nothing. What they cost the line is measured by `python -m tests.page.viewers`."""

from dataclasses import replace

import numpy as np
import pytest

from tests.page.board import HEIGHT, WIDTH, Board, frame, verdict
from tests.page.viewers import Viewers, memory_mb

pytest.importorskip("uvicorn", reason="the live page needs the extra `page`")
NUMBER, STALLED = 20, 4
MOST_MB = 300  # a viewer who reads nothing may hold what the kernel and 64 KB take


def test_viewers_that_read_nothing_are_disconnected_and_the_others_continue(tmp_path):
    with Board(tmp_path, {"pictures_per_s": 10.0}) as board:
        board.ready()
        noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
        viewers = Viewers(board.sink.port, NUMBER, STALLED)
        tick = 0

        def goes_on():
            nonlocal tick
            tick += 20
            board.sink.observe(replace(frame(tick), planes=(noise, noise)))  # noise makes large pictures
            board.sink.emit([verdict("maybe", tick=tick, reason="uncertain", pit=0.4)] * 20)
            return viewers.dropped() == STALLED

        board.wait(goes_on, "the end of those that read nothing")
        assert not any(viewers.ended[STALLED:])
        heard = list(viewers.heard)
        board.wait(
            lambda: min(new - old for new, old in zip(viewers.heard[STALLED:], heard[STALLED:], strict=True)) > 0,
            "more",
        )
        assert memory_mb(board.sink._process.pid) < MOST_MB
        viewers.close()
