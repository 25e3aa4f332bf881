"""Tests that the folder always stays below its limit."""

import datetime as dt
import os
import signal
import subprocess
import sys
import time

import pytest

from pitcore.capture.ring import BLOCK_BYTES, NAME, Ring

DAY = dt.timedelta(days=1)


def ring(folder, max_bytes=10 * BLOCK_BYTES, **keys):
    return Ring(folder, **({"max_bytes": max_bytes, "max_age": DAY, "free_bytes": 0} | keys))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def taken(folder):
    """Return the size on the disk, temporary files included."""
    total = 0
    for entry in os.scandir(folder):
        try:
            total += max(entry.stat().st_blocks * 512, entry.stat().st_size)
        except FileNotFoundError:
            continue
    return total


def test_the_oldest_goes_first_and_the_limit_is_never_passed(tmp_path):
    one = ring(tmp_path)
    added = []
    for number in range(40):
        added.append(one.add("random-clean-0", bytes([number]) * (1 + number * 997 % (3 * BLOCK_BYTES))))
        assert taken(tmp_path) <= 10 * BLOCK_BYTES
        left = names(tmp_path)
        assert left == added[-len(left) :]
    assert one.taken_bytes == taken(tmp_path)


def test_a_new_ring_goes_on_after_the_last_number_and_with_the_sum_of_the_disk(tmp_path):
    one = ring(tmp_path)
    first = [one.add("a", b"x" * 5000) for _ in range(3)]
    one.close()
    other = ring(tmp_path)
    assert other.taken_bytes == taken(tmp_path) == 3 * 2 * BLOCK_BYTES
    assert other.add("b", b"y") > max(first)


def test_a_smaller_limit_holds_from_the_start(tmp_path):
    one = ring(tmp_path)
    added = [one.add("a", b"x") for _ in range(9)]
    one.close()
    ring(tmp_path, max_bytes=4 * BLOCK_BYTES)
    assert names(tmp_path) == added[-4:]


def test_old_crops_are_removed_unless_the_clock_was_not_set(tmp_path):
    now = dt.datetime.now(dt.UTC)
    stamps = [now - 2 * DAY, dt.datetime(1970, 1, 1, tzinfo=dt.UTC), now - DAY / 2, now + 3 * DAY]
    files = [f"{number:012d}-{at:%Y%m%dT%H%M%SZ}-a.png" for number, at in enumerate(stamps, 1)]
    for name in files:
        (tmp_path / name).write_bytes(b"x")
    ring(tmp_path)
    assert names(tmp_path) == files[1:]


def test_foreign_files_stay_and_are_not_counted(tmp_path, caplog):
    (tmp_path / "notes.txt").write_bytes(b"x" * 100_000)
    (tmp_path / "000000000001-20260101T000000Z-a.png").symlink_to(tmp_path / "notes.txt")
    one = ring(tmp_path)
    assert one.taken_bytes == 0
    for _ in range(20):
        one.add("a", b"x")
    assert (tmp_path / "notes.txt").read_bytes() == b"x" * 100_000
    assert "2 other files" in caplog.text


def test_two_services_never_share_a_folder(tmp_path):
    one = ring(tmp_path)
    with pytest.raises(OSError, match="another service writes into it"):
        ring(tmp_path)
    one.close()
    ring(tmp_path)


def test_nothing_is_written_where_the_disk_would_be_left_full(tmp_path):
    one = ring(tmp_path, free_bytes=1 << 60)
    with pytest.raises(OSError, match="free_bytes"):
        one.add("a", b"x")
    assert names(tmp_path) == []


WRITER = """
import datetime as dt, sys
from pathlib import Path
from pitcore.capture.ring import Ring
one = Ring(Path(sys.argv[1]), max_bytes=40 * 4096, max_age=dt.timedelta(days=1), free_bytes=0)
number = 0
while True:
    number += 1
    one.add("random-clean-0", number.to_bytes(4, "big") * (256 + number % 2000))
    print(number, flush=True)
"""


def test_after_kill_9_every_file_is_whole_and_the_limit_holds(tmp_path):
    last = 0
    for turn in range(12):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(20 + 7 * turn):
            writer.stdout.readline()
        time.sleep(0.001 * turn)  # another moment each time
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert taken(tmp_path) <= 40 * BLOCK_BYTES
        whole = [path for path in tmp_path.iterdir() if NAME.fullmatch(path.name)]
        for path in whole:
            content = path.read_bytes()
            assert content == content[:4] * (256 + int.from_bytes(content[:4], "big") % 2000)
        numbers = [int(path.name[:12]) for path in whole]
        assert sorted(numbers) == list(range(max(numbers) - len(numbers) + 1, max(numbers) + 1))  # the oldest went
        assert max(numbers) > last
        last = max(numbers)
    ring(tmp_path, max_bytes=40 * BLOCK_BYTES)
    assert not [name for name in names(tmp_path) if name.endswith(".part")]
