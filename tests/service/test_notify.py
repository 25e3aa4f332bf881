import os
import socket

import pytest

from pitcore.service.notify import Notifier


@pytest.fixture
def systemd(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        yield listening


def environment_of(systemd, **more):
    return {"NOTIFY_SOCKET": systemd.getsockname(), **more}


def test_every_assignment_arrives_on_a_line_of_its_own(systemd):
    Notifier(environment_of(systemd)).tell("READY=1", "STATUS=ja, läuft")
    assert systemd.recv(1000).decode() == "READY=1\nSTATUS=ja, läuft"


def test_an_abstract_socket_is_reached():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0pitcore-test-{os.getpid()}")
        listening.settimeout(10)
        Notifier({"NOTIFY_SOCKET": f"@pitcore-test-{os.getpid()}"}).tell("READY=1")
        assert listening.recv(100) == b"READY=1"


def test_without_a_running_systemd_nothing_happens(tmp_path):
    Notifier({}).tell("READY=1")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).tell("READY=1")


def test_a_systemd_that_does_not_read_does_not_block_the_service(systemd):
    notifier = Notifier(environment_of(systemd))
    for _ in range(2000):  # far more than any socket buffer queues
        notifier.tell("WATCHDOG=1", "STATUS=" + "x" * 1000)


@pytest.mark.parametrize(
    ("more", "expected_ns"),
    [
        ({"WATCHDOG_USEC": "5000000"}, 5_000_000_000),
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": str(os.getpid())}, 5_000_000_000),
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}, None),  # meant for our parent
        ({}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "18446744073709551615"}, None),  # systemd's infinity
    ],
)
def test_the_watchdog_is_taken_from_what_systemd_says(systemd, more, expected_ns):
    assert Notifier(environment_of(systemd, **more)).watchdog_ns == expected_ns


@pytest.mark.parametrize("usec", ["infinity", "5s", "-1", "1.5", " 5", "\u00b2", "\u0665", "9" * 5000])
def test_an_invalid_watchdog_time_is_reported_and_ignored(systemd, caplog, usec):
    assert Notifier(environment_of(systemd, WATCHDOG_USEC=usec)).watchdog_ns is None
    assert "is not a time, so the watchdog is not fed" in caplog.text
