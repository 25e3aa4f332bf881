"""Files of teachers' answers: they say to which crops they answer, and a damaged one is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pitcore.errors import DataError
from pitcore_tools.distil import run
from pitcore_tools.distil.answer_files import write_answers
from tests.tools.test_distil import place_at, some_crops


def test_answers_that_do_not_say_to_which_crops_are_refused(tmp_path: Path) -> None:
    place = place_at(tmp_path, some_crops())
    path = place.answers("any", 0)
    path.parent.mkdir(parents=True)
    np.savez_compressed(path, answers=np.zeros(64, np.int8))
    with pytest.raises(DataError, match="does not say to which crops it answers"):
        run.answered(["any"], 0, place)


def test_a_file_of_answers_with_other_bytes_is_read_or_refused(tmp_path: Path) -> None:
    crops = some_crops()
    place, random = place_at(tmp_path, crops), np.random.default_rng(5)
    path = place.answers("any", 0)
    write_answers(path, torch.rand(640, generator=torch.Generator().manual_seed(1)), crops, 0)
    good, refused = path.read_bytes(), 0
    for _ in range(200):
        raw = bytearray(good)
        for at in random.integers(0, len(raw), 3):
            raw[at] = random.integers(0, 256)
        path.write_bytes(raw)
        try:
            run.answered(["any"], 0, place)
        except DataError:
            refused += 1
    assert refused > 150
