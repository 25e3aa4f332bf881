"""Weights on disk: what is damaged, missing, or finds no room is named with what to do."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import pytest
import torch

from pitcore.errors import DataError
from pitcore_tools.distil import run
from pitcore_tools.distil.crops import Crops
from pitcore_tools.networks.checkpoint import load_tensors


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut off", b"\x80\x02"])
def test_damaged_weights_are_named_with_what_to_do(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"weights\.pt: damaged; remove it"):
        run._load(path)
    with pytest.raises(DataError, match=r"weights\.pt: not ours"):
        load_tensors(path, ours="not ours")


def test_weights_for_which_the_disk_has_no_room_are_an_error_of_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "weights.pt"
    run._save(path, {"first": torch.zeros(4)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))  # Python ignores the signal, so a write fails
    try:
        with pytest.raises(OSError, match=r"weights\.pt") as caught:
            run._save(path, {"second": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert list(run._load(path)) == ["first"]
    assert [each.name for each in path.parent.iterdir()] == ["weights.pt"]


def test_a_teacher_without_weights_is_named_with_the_step_before(tmp_path: Path) -> None:
    none = torch.zeros(0, dtype=torch.int64)
    crops = Crops(torch.zeros(0, 2, 112, 112, dtype=torch.uint8), none, none, [])
    place = run.Workspace(crops, tmp_path, tmp_path, None, lambda _text: None)
    with pytest.raises(DataError, match=r"weights; run `pitcore-tools distil teach teacher-lite0 --fold 3` first"):
        run.ask("teacher-lite0", 3, place)
