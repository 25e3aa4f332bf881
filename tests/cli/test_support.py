import json
import os
import tarfile

import pytest

from pitcore.support import bundle
from tests.cli.program import assert_one_clear_line, run_pitcore, write_config


@pytest.fixture
def place(tmp_path, tiny_bundle):
    extra = '\n[update]\nurl = "https://fleet:hunter2@models.example/x"\n'
    write_config(tmp_path / "board.toml", tiny_bundle, sink=tmp_path / "v.jsonl", extra=extra)
    lines = "".join(f'{{"schema":"pitcore.event/1","seq":{number}}}\n' for number in range(40_000))
    (tmp_path / "v.jsonl").write_text(lines)
    return tmp_path


def read(path):
    with tarfile.open(path) as archive:
        return {member.name.partition("/")[2]: archive.extractfile(member).read().decode() for member in archive}


def test_a_support_file_has_every_part_or_the_reason_why_it_is_missing(place):
    done = run_pitcore("support", "--config", place / "board.toml", "--out", place / "s.tar.gz", cwd=place)
    assert done.returncode == 0, done.stderr
    parts = read(place / "s.tar.gz")
    for name in parts:
        assert name in done.stdout
    assert any(check["name"] == "model" for check in json.loads(parts["doctor.json"]))
    assert "numpy" in json.loads(parts["versions.json"])["packages"]
    assert parts["status.json"].startswith("not available")  # no service runs, and that is reported
    assert "no report" in parts["bench.json"]
    assert parts["bench.json"].endswith("pitcore-bench --json bench.json\n")  # the option takes a path
    assert "Traceback" not in done.stderr


def test_a_support_file_has_no_secrets_and_bounded_parts(place):
    run_pitcore("support", "--config", place / "board.toml", "--out", place / "s.tar.gz", cwd=place)
    parts = read(place / "s.tar.gz")
    assert "models.example" in parts["config.toml"]
    assert not any("hunter2" in text for text in parts.values())
    assert all(len(text.encode()) <= bundle.MAX_PART_BYTES + 100 for text in parts.values())
    last = parts["verdicts.jsonl"].splitlines()
    assert json.loads(last[0])  # whole lines, the youngest
    assert json.loads(last[-1])["seq"] == 39_999


def test_a_broken_configuration_is_packed_not_refused(place):
    (place / "board.toml").write_text("this is no toml\n")
    done = run_pitcore("support", "--config", place / "board.toml", "--out", place / "s.tar.gz", cwd=place)
    assert done.returncode == 0, done.stderr
    assert read(place / "s.tar.gz")["config.toml"] == "this is no toml\n"


def test_an_existing_file_is_never_overwritten(place):
    (place / "s.tar.gz").write_text("mine")
    done = run_pitcore("support", "--config", place / "board.toml", "--out", place / "s.tar.gz", cwd=place)
    assert_one_clear_line(done, "s.tar.gz", "is there already")
    assert (place / "s.tar.gz").read_text() == "mine"


def test_a_text_that_is_too_long_keeps_its_end_and_says_so():
    text = "".join(f"line {number}\n" for number in range(100_000))
    kept = bundle.bounded(text)
    assert kept.startswith("... ")
    assert kept.endswith("line 99999\n")
    assert len(kept.encode()) < bundle.MAX_PART_BYTES + 100


def test_a_support_file_is_for_its_owner_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        bundle.pack({"a.txt": "b"}, tmp_path / "support.tar.gz")
    finally:
        os.umask(before)
    assert (tmp_path / "support.tar.gz").stat().st_mode & 0o777 == 0o600
