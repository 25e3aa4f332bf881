import itertools
import os
import random
import socket
import threading
from pathlib import Path

import pytest
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
)

from pitcore.errors import Refusal, UpdateError
from pitcore.ota.download import Wanted, download
from pitcore.ota.fetcher import Fetcher
from pitcore.ota.minimum_speed import Pace, SpeedLimits
from pitcore.ota.response import range_of, refusals
from tests.ota.server import serving

CONTENT = random.Random(3).randbytes(300_001)  # noqa: S311  data for a test
PATIENT = SpeedLimits(silence_s=30, check_s=600, spare_s=600)
IMPATIENT = SpeedLimits(silence_s=0.3, window_s=0.3, spare_s=5)


@pytest.fixture
def site(tmp_path):
    root = tmp_path / "site"
    root.mkdir()
    (root / "model.tar").write_bytes(CONTENT)
    with serving(root) as site:
        yield site


@pytest.fixture
def part(tmp_path):
    return tmp_path / "model.part"


def fetch(site, part, *, limits=PATIENT, content=CONTENT, clock=None, url=None):
    fetcher = Fetcher(limits, clock) if clock else Fetcher(limits)
    wanted = Wanted(url or f"{site.url}/model.tar", len(content), lambda file: file.read() == content)
    try:
        download(fetcher, wanted, part)
    finally:
        fetcher.close()


def refused(site, part, **how):
    with pytest.raises(UpdateError) as caught:
        fetch(site, part, **how)
    assert "\n" not in str(caught.value)
    return caught.value.refusal


def refused_on_a_kept_connection(site):
    """A first answer leaves its connection open; over that the next one drips."""
    (site.root / "small").write_bytes(b'{"signed": 0}')
    site.faults = {"model": "dripped-headers"}
    fetcher = Fetcher(SpeedLimits(silence_s=30))
    rescue = threading.Timer(30.0, site.over.set)  # else a broken watchdog would keep the test for ever
    rescue.start()
    try:
        fetcher.begin(60.0)
        assert fetcher.download_bytes(f"{site.url}/small", 13) == b'{"signed": 0}'
        fetcher.begin(0.3)
        with pytest.raises(UpdateError) as caught:
            fetcher.download_bytes(f"{site.url}/model.tar", 10**6)
    finally:
        rescue.cancel()
        fetcher.close()
    assert not site.over.is_set()
    assert caught.value.refusal is Refusal.TOO_SLOW
    assert len(site.clients) == 1


def converges(site, part):
    """A server without the fault completes the download."""
    site.faults = {}
    fetch(site, part)
    assert part.read_bytes() == CONTENT


def test_a_whole_file_comes_in_one_request(site, part):
    fetch(site, part)
    assert part.read_bytes() == CONTENT
    assert site.requests == [("model.tar", "")]


def test_a_complete_partial_file_needs_no_request(site, part):
    part.write_bytes(CONTENT)
    fetch(site, part)
    assert site.requests == []


def test_a_download_continues_where_it_stopped(site, part):
    part.write_bytes(CONTENT[:200_000])
    fetch(site, part)
    assert part.read_bytes() == CONTENT
    assert site.requests == [("model.tar", "bytes=200000-")]


@pytest.mark.parametrize("fault", ["range-ignored", "range-refused", "range-misplaced"])
def test_a_download_restarts_if_the_server_cannot_resume(site, part, fault):
    site.faults = {"model": fault}
    part.write_bytes(CONTENT[:200_000])
    fetch(site, part)
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"of another file" * 1000, CONTENT + b"more", b"x" * len(CONTENT)])
def test_a_part_of_another_file_does_not_stop_the_right_one(site, part, left):
    part.write_bytes(left)
    fetch(site, part)
    assert part.read_bytes() == CONTENT


def test_a_broken_connection_is_resumed_within_one_call(site, part):
    site.faults, site.times = {"model": "truncated"}, 3
    fetch(site, part)
    assert part.read_bytes() == CONTENT
    assert [asked for _, asked in site.requests] == ["", "bytes=150000-", "bytes=225000-", "bytes=262500-"]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("truncated", Refusal.CUT_SHORT),
        ("truncated-unannounced", Refusal.CUT_SHORT),
        ("reset", Refusal.CUT_SHORT),
        ("404", Refusal.NOT_FOUND),
        ("503", Refusal.UNAVAILABLE),
        ("captive-portal", Refusal.CAPTIVE_PORTAL),
        ("disguised-portal", Refusal.CAPTIVE_PORTAL),
        ("redirecting-portal", Refusal.CAPTIVE_PORTAL),
        ("redirect-loop", Refusal.UNAVAILABLE),
        ("longer", Refusal.OVERSIZED),
        ("longer-unannounced", Refusal.OVERSIZED),
        ("endless", Refusal.OVERSIZED),
        ("shorter", Refusal.WRONG_HASH),
        ("altered", Refusal.WRONG_HASH),
    ],
)
def test_each_fault_of_transport_has_its_own_refusal_and_the_next_try_converges(site, part, fault, expected):
    site.faults = {"": fault}
    assert refused(site, part) is expected
    assert not part.exists() or part.stat().st_size <= len(CONTENT)
    assert len(site.requests) <= PATIENT.attempts
    converges(site, part)


@pytest.mark.parametrize("fault", ["stall", "silence"])
def test_a_server_that_falls_silent_is_given_up(site, part, fault):
    site.faults = {"model": fault}
    assert refused(site, part, limits=IMPATIENT) is Refusal.TOO_SLOW
    converges(site, part)


def test_a_404_in_the_middle_of_a_resume_ends_and_is_not_asked_again(site, part):
    part.write_bytes(CONTENT[:1000])
    site.faults = {"model": "404"}
    assert refused(site, part) is Refusal.NOT_FOUND
    assert len(site.requests) == 1
    converges(site, part)


def test_a_download_below_the_least_rate_is_too_slow(site, part):
    site.faults = {"model": "drip"}
    clock = itertools.count(0.0, 1.0).__next__  # each look at it takes a second: no waiting
    slow = SpeedLimits(silence_s=30, min_rate=100, window_s=30, spare_s=10**6)
    assert refused(site, part, limits=slow, clock=clock) is Refusal.TOO_SLOW
    converges(site, part)


def test_a_file_that_comes_steadily_but_too_late_ends_at_the_deadline(site, part):
    site.faults = {"model": "drip"}
    clock = itertools.count(0.0, 1.0).__next__
    late = SpeedLimits(silence_s=30, min_rate=0.001, window_s=10**9, spare_s=-300_000_900)
    assert refused(site, part, limits=late, clock=clock) is Refusal.TOO_SLOW
    converges(site, part)


def test_slow_headers_are_aborted_at_the_deadline(site, part):
    site.faults = {"model": "dripped-headers"}
    limits = SpeedLimits(silence_s=30, min_rate=10**9, window_s=30, spare_s=0.3)
    assert refused(site, part, limits=limits) is Refusal.TOO_SLOW
    converges(site, part)


def test_slow_headers_on_a_reused_connection_are_aborted_at_the_deadline(site):
    refused_on_a_kept_connection(site)


def test_no_server_at_all_is_unreachable(site, part):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}/model.tar"
        assert refused(site, part, url=nobody) is Refusal.UNREACHABLE
    converges(site, part)


CONNECTION = HTTPConnection("h", 80)
POOL = HTTPConnectionPool("h", 80)
REFUSED = NewConnectionError(CONNECTION, "Failed to establish a new connection: [Errno 111] Connection refused")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (REFUSED, "Failed to establish a new connection: Connection refused"),
        (ConnectTimeoutError(CONNECTION, "Connection to h timed out."), "Connection to h timed out."),
        (ProxyError("Unable to connect to proxy", REFUSED), "Unable to connect to proxy: Failed to establish a new"),
        (NameResolutionError("h", CONNECTION, socket.gaierror(-2, "unknown")), "Failed to resolve 'h' (unknown)"),
        (ReadTimeoutError(POOL, "/", "Read timed out."), "Read timed out."),
        (ProtocolError("Connection aborted.", ConnectionResetError(104, "reset")), "Connection aborted: reset"),
    ],
)
def test_a_fault_of_the_connection_is_said_in_words_and_shows_no_object(error, words):
    pace = Pace(SpeedLimits(), lambda: 0.0)
    pace.begin(60.0)
    with pytest.raises(UpdateError) as caught, refusals("http://h/x", pace):
        raise error
    assert str(caught.value).startswith(f"http://h/x: {words}")
    assert not any(mark in str(caught.value) for mark in ("host=", "Error(", "Errno", "<"))


@pytest.mark.parametrize("url", ["gopher://host/model.tar", "http://host:port/model.tar", "model.tar"])
def test_a_wrong_url_says_so(site, part, url):
    assert refused(site, part, url=url) is Refusal.NOT_SET_UP


class TestStick:
    def test_a_file_url_is_read_and_resumed(self, site, part):
        part.write_bytes(CONTENT[:1000])
        fetch(site, part, url=(site.root / "model.tar").as_uri())
        assert part.read_bytes() == CONTENT

    def test_a_missing_file_url_is_reported(self, site, part):
        assert refused(site, part, url=(site.root / "other.tar").as_uri()) is Refusal.NOT_FOUND

    def test_a_pipe_a_directory_and_a_link_are_not_read(self, site, part):
        os.mkfifo(site.root / "pipe")
        (site.root / "link").symlink_to("/dev/zero")
        for name, expected in (
            ("pipe", Refusal.NOT_FOUND),
            ("link", Refusal.UNAVAILABLE),
            ("", Refusal.NOT_FOUND),
        ):
            assert refused(site, part, url=(site.root / name).as_uri()) is expected

    def test_a_longer_file_is_refused(self, site, part):
        (site.root / "model.tar").write_bytes(CONTENT + b"x")
        assert refused(site, part, url=(site.root / "model.tar").as_uri()) is Refusal.OVERSIZED


def test_a_full_disk_says_so(site):
    with pytest.raises(UpdateError) as caught:
        fetch(site, Path("/dev/full"))
    assert caught.value.refusal is Refusal.NO_SPACE


@pytest.mark.parametrize("text", ["bytes {}-9/10", "bytes 1-{}/10", "bytes 1-9/{}"])
def test_a_range_with_thousands_of_digits_is_no_range(text):
    """Python's int() raises beyond 4300 digits."""
    assert range_of({"Content-Range": text.format("9" * 5000)}) == (-1, None)
