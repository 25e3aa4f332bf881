import contextlib
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pitcore.service import journal as journal_module
from pitcore.service.journal import JournalHandler, TerminalHandler, encode_fields, reads_stderr


def decode(datagram):
    """Decode a datagram as journald does: both forms of the native protocol."""
    fields = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if equals:
            datagram = rest
        else:
            size = int.from_bytes(rest[:8], "little")
            value, datagram = rest[8 : 8 + size], rest[8 + size + 1 :]
        fields[name.decode()] = value.decode()
    return fields


@pytest.fixture
def journald(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.settimeout(10)
        yield listening


@pytest.fixture
def log(journald):
    handler = JournalHandler(journald.getsockname())
    logger = logging.Logger("pitcore.test")
    logger.addHandler(handler)
    yield logger
    handler.close()


def received(journald):
    return decode(journald.recv(1 << 20))


def test_a_record_arrives_with_message_priority_and_the_fields_to_search_by(journald, log):
    log.warning("plane %s is dark", "top", extra={"journal": {"PITCORE_CAMERA": "top", "PITCORE_FRAME": "7"}})
    assert received(journald) == {
        "SYSLOG_IDENTIFIER": "pitcore",
        "MESSAGE": "plane top is dark",
        "PRIORITY": "4",
        "PITCORE_LOGGER": "pitcore.test",
        "PITCORE_CAMERA": "top",
        "PITCORE_FRAME": "7",
    }


def test_a_traceback_arrives_whole_as_one_record(journald, log):
    broken = RuntimeError("first\nPRIORITY=0")  # nothing in a message can forge a field
    log.error("it broke", exc_info=(RuntimeError, broken, None))
    fields = received(journald)
    assert fields["MESSAGE"].startswith("it broke\nRuntimeError")
    assert fields["MESSAGE"].endswith("PRIORITY=0")
    assert fields["PRIORITY"] == "3"


def test_an_endless_message_is_cut_and_still_arrives(journald, log):
    log.error("x" * 1_000_000)
    assert 1000 < len(received(journald)["MESSAGE"]) < 100_000


def test_a_slow_journal_loses_counted_records_and_does_not_block(journald, log):
    for number in range(3000):
        log.info("%d %s", number, "x" * 1000)
    kept = 0
    journald.settimeout(0.0)
    try:
        while True:
            received(journald)
            kept += 1
    except BlockingIOError:
        pass
    assert kept < 3000
    log.info("again")
    assert received(journald)["MESSAGE"] == f"{3000 - kept} log records were lost: the journal did not keep up"
    assert received(journald)["MESSAGE"] == "again"


def test_a_field_of_several_lines_carries_its_length():
    assert encode_fields({"A": "1\n2"}) == b"A\n\x03\x00\x00\x00\x00\x00\x00\x001\n2\n"


def test_the_journal_is_used_only_if_it_reads_our_standard_error():
    status = os.fstat(2)
    assert reads_stderr({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
    assert not reads_stderr({"JOURNAL_STREAM": "1:1"})
    assert not reads_stderr({})


def test_on_a_terminal_the_log_goes_to_standard_error():
    code = "import logging; from pitcore.service.journal import start_logging; start_logging(); logging.info('there')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "INFO root: there\n"


def test_the_update_library_logs_nothing_itself():
    code = (
        "import logging; from pitcore.service.journal import start_logging; start_logging(); "
        "logging.getLogger('tuf.api').info('No signature'); logging.getLogger('tuf.api').warning('odd')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "WARNING tuf.api: odd\n"


def test_a_fault_of_both_cameras_is_found_under_either():
    assert encode_fields({"PITCORE_CAMERA": ("top", "bottom")}) == b"PITCORE_CAMERA=top\nPITCORE_CAMERA=bottom\n"


def test_lines_that_do_not_fit_in_standard_error_go_to_the_journal(journald, monkeypatch):
    monkeypatch.setattr(journal_module, "SOCKET", Path(journald.getsockname()))
    logger = logging.Logger("pitcore.test")
    with contextlib.suppress(OSError), Path("/dev/full").open("w", encoding="utf-8", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        handler = TerminalHandler()
        logger.addHandler(handler)
        logger.warning("plane %s is dark", "top")
        monkeypatch.undo()
    assert received(journald)["MESSAGE"] == "plane top is dark"
    handler.close()


def test_a_service_without_a_standard_error_logs_to_the_journal(journald):
    code = (
        "import logging, sys; from pathlib import Path; from pitcore.service import journal; "
        "journal.SOCKET = Path(sys.argv[1]); journal.start_logging(is_silent=True); logging.info('there')"
    )
    subprocess.run([sys.executable, "-c", code, journald.getsockname()], check=True)
    assert received(journald)["MESSAGE"] == "there"
