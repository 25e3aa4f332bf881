"""Tests faults of a publisher's machine: modes of files, its clock, a stick that is not mounted."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pitcore.errors import PublishError
from pitcore_tools.package.signing_time import check_signing_time
from pitcore_tools.package.stick import check_is_stick, export
from pitcore_tools.package.verify import verify
from tests.ota.publisher import Publisher

LAST = datetime(2060, 3, 1, tzinfo=UTC)


@pytest.fixture
def private():
    before = os.umask(0o077)
    yield
    os.umask(before)


def modes(directory):
    return {path: path.stat().st_mode & 0o777 for path in (directory, *directory.rglob("*"))}


def test_under_a_private_umask_a_web_server_can_read_all_that_is_published(tmp_path, private):
    publisher = Publisher(tmp_path)
    publisher.ship("1.0.0")
    export(publisher.open(), tmp_path / "stick" / "pitcore", ["stable"])
    for place in (publisher.directory, tmp_path / "stick"):
        assert all(mode == (0o755 if path.is_dir() else 0o644) for path, mode in modes(place).items())
    assert all(mode & 0o077 == 0 for mode in modes(publisher.keys).values())


@pytest.mark.parametrize("place", ["", "metadata", "targets", "metadata/1.root.json"])
def test_verify_names_what_a_web_server_cannot_read(tmp_path, place):
    publisher = Publisher(tmp_path)
    publisher.ship("1.0.0")
    (publisher.directory / place).chmod(0o700)
    with pytest.raises(PublishError, match=r"only its owner may read it.*chmod -R a\+rX"):
        verify(publisher.directory)


def test_verify_names_what_it_cannot_look_at(tmp_path):
    publisher = Publisher(tmp_path)
    publisher.ship("1.0.0")
    (publisher.directory / "targets" / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(PublishError, match="gone: No such file"):
        verify(publisher.directory)
    (publisher.directory / "targets" / "gone").unlink()
    (publisher.directory / "targets" / "more").symlink_to(tmp_path)
    with pytest.raises(PublishError, match="more: link to a folder"):
        verify(publisher.directory)


def test_a_clock_that_was_reset_signs_nothing(tmp_path):
    publisher = Publisher(tmp_path)
    publisher.now = datetime(1970, 1, 2, tzinfo=UTC)
    with pytest.raises(PublishError, match="the clock says 1970-01-02"):
        publisher.refresh()
    assert len(list((publisher.directory / "metadata").glob("*.snapshot.json"))) == 1


def test_a_clock_behind_the_last_signature_signs_only_if_a_time_service_set_it():
    check_signing_time(LAST - timedelta(minutes=30), LAST, synced=False)
    with pytest.raises(PublishError, match="time service"):
        check_signing_time(LAST - timedelta(days=2), LAST, synced=False)
    check_signing_time(LAST - timedelta(days=2), LAST, synced=True)
    check_signing_time(LAST, None, synced=False)


def test_a_stick_that_is_not_mounted_is_not_written_to(tmp_path):
    with pytest.raises(PublishError, match=r"no stick is mounted there.*--folder"):
        check_is_stick(tmp_path / "media" / "stick" / "pitcore", tmp_path)
    assert not (tmp_path / "media").exists()
    with pytest.raises(PublishError, match="no stick is mounted"):
        check_is_stick(Path("/media/none-here/pitcore"), tmp_path)


SECOND = Path("/dev/shm")  # noqa: S108  nothing is written there


@pytest.mark.skipif(SECOND.stat().st_dev == Path("/").stat().st_dev, reason="needs a second file system")
def test_a_separate_mounted_file_system_is_accepted_as_a_stick():
    check_is_stick(SECOND / "pitcore", Path(__file__).parent)
