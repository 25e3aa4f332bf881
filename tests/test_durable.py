import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pitcore.durable import replace_file

OLD, NEW = b"old\n" * 1000, b"new\n" * 1000


@pytest.fixture
def place(tmp_path):
    (tmp_path / "state").write_bytes(OLD)
    return tmp_path / "state"


def test_replacing_a_file_leaves_no_other_file(place):
    replace_file(place, lambda file: file.write(NEW))
    assert place.read_bytes() == NEW
    assert list(place.parent.iterdir()) == [place]


def test_a_new_file_can_be_made(tmp_path):
    replace_file(tmp_path / "fresh", lambda file: file.write(NEW))
    assert (tmp_path / "fresh").read_bytes() == NEW


@pytest.mark.parametrize("fault", [ValueError("not a number"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_a_writer_that_fails_leaves_the_old_content_and_no_temporary_file(place, fault):
    def fail(file):
        file.write(NEW[:100])
        raise fault

    with pytest.raises(type(fault)) as seen:
        replace_file(place, fail)
    assert seen.value is fault
    assert place.read_bytes() == OLD
    assert list(place.parent.iterdir()) == [place]


@pytest.mark.parametrize("pieces", [1, 1000], ids=["one large write", "many small ones, full when flushed"])
def test_a_full_disk_leaves_the_old_content_and_no_temporary_file(small_disk, pieces):
    place = small_disk / "state"
    place.write_bytes(OLD)
    fits = small_disk / "ballast"
    fits.write_bytes(b"x" * 56_000)  # of the 64 KiB some 4 are left: less than NEW twice

    def write(file):
        for _ in range(pieces):
            file.write(NEW * 2 if pieces == 1 else NEW[:8])

    with pytest.raises(OSError, match="No space left"):
        replace_file(place, write)
    assert place.read_bytes() == OLD
    assert sorted(small_disk.iterdir()) == [fits, place]
    fits.unlink()
    replace_file(place, write)
    assert place.stat().st_size == 8000


def test_a_directory_that_cannot_be_synced_is_an_error_and_the_new_content_stays(place, monkeypatch):
    true_sync = os.fsync

    def refuse(fd):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(5, "Input/output error")
        true_sync(fd)

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Input/output"):
        replace_file(place, lambda file: file.write(NEW))
    assert place.read_bytes() == NEW
    assert list(place.parent.iterdir()) == [place]


def test_a_disk_that_does_not_confirm_leaves_the_old_content(place, monkeypatch):
    def refuse(_fd):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Input/output"):
        replace_file(place, lambda file: file.write(NEW))
    assert place.read_bytes() == OLD
    assert list(place.parent.iterdir()) == [place]


def test_the_order_is_write_sync_rename_sync_directory(place, monkeypatch):
    steps = []
    true_sync, true_replace = os.fsync, Path.replace

    def sync(fd):
        steps.append("sync directory" if os.path.isdir(f"/proc/self/fd/{fd}") else f"sync {os.fstat(fd).st_size}")  # noqa: PTH112
        true_sync(fd)

    def rename(self, target):
        steps.append("rename")
        return true_replace(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", rename)
    replace_file(place, lambda file: file.write(NEW))
    assert steps == [f"sync {len(NEW)}", "rename", "sync directory"]


WRITE_SLOWLY = """
import sys, time
from pathlib import Path
from pitcore.durable import replace_file

def slowly(file):
    file.write(b"half")
    file.flush()
    print("half", flush=True)
    time.sleep(60)

replace_file(Path(sys.argv[1]), slowly)
"""


def test_a_process_killed_in_the_midst_leaves_the_old_content(place):
    process = subprocess.Popen([sys.executable, "-c", WRITE_SLOWLY, str(place)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert place.read_bytes() == OLD
    replace_file(place, lambda file: file.write(NEW))  # the temporary file of the dead process does not disturb
    assert place.read_bytes() == NEW
