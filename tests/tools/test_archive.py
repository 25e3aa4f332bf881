"""Tests that each crop of a board comes into an archive once."""

import shutil
import signal
import subprocess
import sys
import time

import pytest

pa = pytest.importorskip("pyarrow", reason="archives need the extra `archive` of the tools")

from pitcore.capture.keeper import CropKeeper  # noqa: E402
from pitcore.config import CaptureConfig  # noqa: E402
from pitcore.errors import DataError  # noqa: E402
from pitcore.loop.pipeline import Hooks  # noqa: E402
from pitcore_tools.archive import pull as pulling  # noqa: E402
from pitcore_tools.archive.store import Archive, Archived  # noqa: E402
from tests.capture.test_keeper import end  # noqa: E402
from tests.scene import ListSource, config_for, planes_with, run_scene, still  # noqa: E402


def keep(bundle, folder, frames=4, first=0):
    """Make the crops that a board keeps of ``3 * frames`` cherries, each with another grey level."""
    keeper = CropKeeper(CaptureConfig(enabled=True, folder=str(folder), random_share=1.0, free_bytes=0), "0a" * 16)
    pictures = [
        planes_with(*((20 + 100 * place, 60, 60 + first + 3 * seed + place) for place in range(3)), seed=seed)
        for seed in range(frames)
    ]
    run_scene(ListSource(still(*pictures)), config_for(bundle), hooks=Hooks(keepers=[keeper]))
    end(keeper)
    return sorted(folder.glob("0*.png"))


def pull(source, archive):
    return pulling.pull(str(source), Archive(str(archive)), lambda: None)


def test_every_crop_is_pulled_once_with_its_bytes(tiny_bundle, tmp_path):
    files = keep(tiny_bundle, tmp_path / "ring")
    done = pull(tmp_path / "ring", tmp_path / "archive")
    assert (done.found, done.had, done.new, done.faults) == (12, 0, 12, [])
    assert {one.name: one.png for one in map(_bare, Archive(str(tmp_path / "archive")).read())} == {
        path.name: path.read_bytes() for path in files
    }
    again = pull(tmp_path / "ring", tmp_path / "archive")
    assert (again.had, again.new) == (12, 0)
    keep(tiny_bundle, tmp_path / "ring", frames=5, first=100)
    more = pull(tmp_path / "ring", tmp_path / "archive")
    assert (more.found, more.had, more.new) == (27, 12, 15)
    assert len(list(Archive(str(tmp_path / "archive")).read())) == 27


def _bare(one):
    return Archived(one.sha256, one.crop, one.name.rpartition(": ")[2], one.record, one.png)


def test_copies_of_a_shard_count_once(tiny_bundle, tmp_path):
    files = keep(tiny_bundle, tmp_path / "ring", frames=1)
    pull(tmp_path / "ring", tmp_path / "archive")
    shutil.copy(files[0], tmp_path / "ring" / files[0].name.replace("000000000001", "000000000009"))
    assert pull(tmp_path / "ring", tmp_path / "archive").new == 0
    (shard,) = (tmp_path / "archive").glob("*.parquet")
    shutil.copy(shard, tmp_path / "archive" / "copy.parquet")
    assert len(list(Archive(str(tmp_path / "archive")).read())) == 3


def test_a_damaged_crop_is_set_aside_and_the_others_come(tiny_bundle, tmp_path):
    files = keep(tiny_bundle, tmp_path / "ring")
    files[2].write_bytes(files[2].read_bytes()[:-20])
    done = pull(tmp_path / "ring", tmp_path / "archive")
    assert done.new == 11
    assert files[2].name in done.faults[0]
    files[2].write_bytes(files[3].read_bytes())


def test_any_store_of_fsspec_takes_an_archive(tiny_bundle, tmp_path):
    keep(tiny_bundle, tmp_path / "ring", frames=1)
    archive = Archive("memory://learn/crops")
    assert pulling.pull(str(tmp_path / "ring"), archive, lambda: None).new == 3
    assert len(list(archive.read())) == 3


def test_columns_of_the_archive_can_be_read(tiny_bundle, tmp_path):
    keep(tiny_bundle, tmp_path / "ring", frames=1)
    pull(tmp_path / "ring", tmp_path / "archive")
    rows = pa.parquet.read_table(tmp_path / "archive").to_pylist()
    assert [row["why"] for row in rows] == [["random"]] * 3
    assert {row["verdict"] for row in rows} == {"clean"}
    assert all(0.0 <= row["p_pit"] <= 1.0 for row in rows)


PULLER = """
import sys
from pitcore_tools.archive import pull, store
pull.SHARD_CROPS = 2
def looked():
    print("looked", flush=True)
pull.pull(sys.argv[1], store.Archive(sys.argv[2]), looked)
"""


def test_a_pull_that_is_killed_goes_on_and_each_crop_is_there_once(tiny_bundle, tmp_path):
    files = keep(tiny_bundle, tmp_path / "ring", frames=10)
    for turn in range(4):
        command = [sys.executable, "-c", PULLER, str(tmp_path / "ring"), str(tmp_path / "archive")]
        puller = subprocess.Popen(command, stdout=subprocess.PIPE)
        for _ in range(3 + 4 * turn):
            puller.stdout.readline()
        time.sleep(0.003 * turn)
        puller.send_signal(signal.SIGKILL)
        puller.wait()
        puller.stdout.close()
    done = pull(tmp_path / "ring", tmp_path / "archive")
    assert done.had > 0
    assert done.had + done.new == 30
    assert sorted(_bare(one).name for one in Archive(str(tmp_path / "archive")).read()) == [one.name for one in files]


def test_an_invalid_archive_is_named(tmp_path):
    with pytest.raises(DataError, match="no crops"):
        list(Archive(str(tmp_path / "none")).read())
    (tmp_path / "a.parquet").write_bytes(b"no shard")
    with pytest.raises(DataError, match=r"a\.parquet: is not a complete shard"):
        list(Archive(str(tmp_path)).read())
    with pytest.raises(DataError, match="cannot be read"):
        pull(tmp_path / "none", tmp_path / "archive")
    with pytest.raises(DataError, match="fsspec"):
        Archive("nowhere://x")
