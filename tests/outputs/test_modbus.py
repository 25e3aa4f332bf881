"""The registers as a PLC reads them, by a client that is not the server's library."""

import contextlib
import itertools
import math
import socket
import struct
import time
from pathlib import Path

import pytest
from pyModbusTCP.client import ModbusClient

from pitcore.config import ModbusConfig
from pitcore.metrics import Metrics
from pitcore.outputs import modbus, registers
from pitcore.outputs.modbus import ModbusSink
from pitcore.outputs.registers import (
    ENTRY,
    FIELDS,
    LAST_ID,
    RING_ENTRIES,
    RING_START,
    RING_WORDS,
    SHORT_ENTRIES,
    SHORT_START,
    SIZE,
    Registers,
)
from pitcore.preprocess.prepare import SegmentSpec
from pitcore.sinks.sink import TickNow
from tests.actuation.valves import PLAN, verdict
from tests.conftest import ROOT

RUN = "0123abcd" * 4


class Switch:
    armed = False


class Encoder:
    def tick_now(self):
        return TickNow((1 << 32) + 70_000, time.monotonic_ns() - 5_000_000)


@pytest.fixture
def served():
    metrics, switch = Metrics(), Switch()
    sink = ModbusSink(ModbusConfig(enabled=True, port=0), Registers(PLAN, RUN), switch, metrics, Encoder())
    client = ModbusClient("127.0.0.1", sink.port, unit_id=1, timeout=60.0)
    yield sink, client, metrics, switch
    client.close()
    sink.close()


def value(words, name, fields=FIELDS, start=0):
    (place,) = (place for place in fields if place.name == name)
    number = 0
    for word in words[start + place.address : start + place.address + place.words]:
        number = number << 16 | word
    return number


SHORT, LONG = (SHORT_START, SHORT_ENTRIES), (RING_START, RING_ENTRIES)


def entry_of(number, ring=LONG):
    start, entries = ring
    return start + (number - 1) % entries * RING_WORDS


def test_a_plc_reads_counts_flags_and_the_last_verdicts(served):
    sink, client, metrics, switch = served
    metrics.count("frames", by=80_000)
    metrics.count("judged", by=70_000)
    metrics.count("verdicts", "pit", 3)
    metrics.count("rejects", "late", 2)
    switch.armed = True
    sink.emit([verdict(1000, x=150), verdict(70_000, action="review", tick=70_100)])
    words = client.read_input_registers(0, 60)
    assert words[:33] == client.read_holding_registers(0, 60)[:33]  # then the age of the count
    assert value(words, "schema") == registers.SCHEMA == 1
    assert (value(words, "flags"), value(words, "encoder")) == (0b11, 1)
    assert value(words, "run") == 0x0123ABCD
    assert value(words, "tick_now") == 70_000
    assert value(words, "tick_age") >= 5000
    assert (value(words, "frames"), value(words, "pit"), value(words, "late")) == (70_000, 3, 2)
    assert value(words, "newest") == 2
    assert (value(words, "model"), value(words, "config")) == (0xABABABAB, 0xCDCDCDCD)
    ring = client.read_input_registers(RING_START, 2 * RING_WORDS)
    first = {place.name: value(ring, place.name, ENTRY) for place in ENTRY}
    second = {place.name: value(ring, place.name, ENTRY, RING_WORDS) for place in ENTRY}
    assert first == {"id": 1, "tick": 1000, "code": 2, "action": 2, "lane": 2, "x": 150}
    assert second == {"id": 2, "tick": 70_000, "code": 5, "action": 1, "lane": 3, "x": 50}


def test_the_status_of_a_server_that_answers_no_more_is_not_ok(served):
    sink, _, _, _ = served
    address = f"127.0.0.1:{sink.port}"
    assert sink.status() == {"kind": "modbus", "state": "ok", "address": address, "clients": 0}
    sink.close()
    assert sink.status() == {"kind": "modbus", "state": "ended", "address": address}


def test_the_heartbeat_goes_up_with_each_judged_frame_even_without_cherries_and_with_no_other(served):
    sink, client, metrics, _ = served
    beats = []
    for judged in (1, 0, 1):
        metrics.count("frames")
        sink.emit([])
        metrics.count("judged", by=judged)
        beats.append(client.read_input_registers(1, 1)[0])
    assert beats == [1, 1, 2]


def test_disarming_shows_at_once(served):
    _, client, _, switch = served
    for armed in (True, False):
        switch.armed = armed
        assert client.read_input_registers(2, 1)[0] & 1 == int(armed)


@pytest.mark.parametrize("ring", [SHORT, LONG])
def test_a_ring_keeps_the_newest_verdicts_at_the_places_of_their_numbers(ring):
    made, entries = Registers(PLAN, RUN), ring[1]
    for number in range(1, entries + 8):
        made.add(verdict(1000 + number))
    words = made.read(0, SIZE)
    newest = value(words, "newest")
    assert newest == entries + 7
    for number in range(newest - entries + 1, newest + 1):
        at = entry_of(number, ring)
        assert (value(words, "id", ENTRY, at), value(words, "tick", ENTRY, at)) == (number, 1000 + number)


def test_a_plc_gets_every_verdict_of_a_frame_however_many_cherries_it_shows(served):
    sink, client, _, _ = served
    most = SegmentSpec.max_components
    sink.emit([verdict(1000 + number) for number in range(1, most + 1)])
    assert value(client.read_input_registers(0, 60), "newest") == most
    for first in range(1, most + 1, 15):
        number_read = min(15, most + 1 - first)
        words = client.read_input_registers(entry_of(first), number_read * RING_WORDS)
        ids = [value(words, "id", ENTRY, place * RING_WORDS) for place in range(number_read)]
        assert ids == list(range(first, first + number_read)), "the frame's last verdicts took the place of its first"


def test_the_ring_fits_into_the_addresses_and_starts_again_where_the_numbers_do():
    assert SIZE <= 1 << 16
    both = math.lcm(SHORT_ENTRIES, RING_ENTRIES)
    assert (1 << 32) // both * both == LAST_ID


def test_programs_that_know_the_short_ring_find_all_where_it_was():
    """The layout is still 1, which such a program checks: it goes on while the service is upgraded."""
    assert (registers.SCHEMA, SHORT_START, SHORT_ENTRIES, RING_WORDS, LAST_ID) == (1, 100, 60, 8, 4_294_967_280)
    places = {place.name: (place.address, place.words) for place in FIELDS}
    assert (places["schema"], places["flags"], places["newest"]) == ((0, 1), (2, 1), (27, 2))
    made = Registers(PLAN, RUN)
    assert (value(made.read(0, 60), "ring_entries"), value(made.read(0, 60), "ring_words")) == (60, 8)


def test_a_plc_can_write_nothing_and_read_nothing_beyond_the_map(served):
    _, client, _, _ = served
    assert not client.write_single_register(2, 1)
    assert not client.write_multiple_registers(0, [9, 9])
    assert client.read_input_registers(SIZE, 1) is None
    assert client.read_input_registers(0, 1) == [1]


def test_reading_coils_is_refused(served):
    _, client, _, _ = served
    for read in (client.read_coils, client.read_discrete_inputs):
        assert read(0, 16) is None
        assert client.last_except_as_txt == "illegal function"
    assert client.read_holding_registers(0, 1) == [1]


def test_an_address_in_use_is_reported_and_opened_as_soon_as_it_is_free(monkeypatch):
    monkeypatch.setattr(modbus, "RETRY_S", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sink = ModbusSink(ModbusConfig(port=port), Registers(PLAN, RUN), Switch(), Metrics())
        told = sink.status()
    assert told["state"] == "failing"
    assert f"127.0.0.1:{port} cannot be opened for listening: Address already in use" in told["reason"]
    until = time.monotonic() + 30.0
    while sink.status()["state"] != "ok" and time.monotonic() < until:
        time.sleep(0.01)
    client = ModbusClient("127.0.0.1", port, unit_id=1, timeout=60.0)
    assert client.read_input_registers(0, 1) == [1]
    client.close()
    sink.close()


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def read_of(function, address, count, transaction=7):
    return struct.pack(">HHHBBHH", transaction, 0, 6, 1, function, address, count)


def test_several_requests_in_one_segment_get_as_many_answers(served):
    sink = served[0]
    with socket.create_connection(("127.0.0.1", sink.port), 20) as connection:
        connection.sendall(b"".join(read_of(4, 0, 1, number) for number in range(3)))
        said = b""
        while len(said) < 3 * 11:
            piece = connection.recv(100)
            assert piece, "the connection ended before the last answer"
            said += piece
    assert said == b"".join(struct.pack(">HHHBBBH", number, 0, 5, 1, 4, 2, 1) for number in range(3))


def test_a_request_that_comes_byte_by_byte_is_answered_once(served):
    sink = served[0]
    with socket.create_connection(("127.0.0.1", sink.port), 20) as connection:
        for byte in read_of(3, 0, 1):
            connection.sendall(bytes([byte]))
        assert connection.recv(100) == struct.pack(">HHHBBBH", 7, 0, 5, 1, 3, 2, 1)


def test_a_connection_that_sends_something_else_is_closed(served):
    sink = served[0]
    with socket.create_connection(("127.0.0.1", sink.port), 20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):  # closed without waiting for what it sends besides
            assert connection.recv(100) == b""
    assert served[1].read_input_registers(0, 1) == [1]


@pytest.mark.parametrize("function", [1, 2, 5, 6, 7, 15, 16, 17, 20, 22, 24, 43, 100])
def test_every_other_function_is_illegal(function):
    assert modbus.answer(bytes([function, 0, 0, 0, 1]), lambda _, count: [0] * count) == bytes([function | 0x80, 1])


@pytest.mark.parametrize(("address", "count", "code"), [(0, 0, 3), (0, 126, 3), (SIZE, 1, 2), (SIZE - 1, 2, 2)])
def test_a_read_beyond_the_map_or_of_too_much_is_refused(address, count, code):
    assert modbus.answer(struct.pack(">BHH", 4, address, count), lambda _, count: [0] * count) == bytes([0x84, code])


def test_idle_connections_take_no_place_from_a_plc_that_reads(served, caplog):
    sink, client, _, _ = served
    assert client.read_input_registers(0, 1) == [1]
    before = open_files()
    idle = []
    try:
        for number in range(100):
            idle.append(socket.create_connection(("127.0.0.1", sink.port), 20))
            if number % 10 == 9:
                assert client.read_input_registers(0, 1) == [1], "the connection that reads was closed"
        for one in idle:  # the last one is served, so all before it were seen by the server
            one.settimeout(20)
        idle[-1].sendall(read_of(4, 0, 1))
        assert idle[-1].recv(100)
        server_side = open_files() - before - len(idle)
        assert server_side <= modbus.MAX_CLIENTS + modbus.BACKLOG
        assert sink.status()["clients"] <= modbus.MAX_CLIENTS
    finally:
        for one in idle:
            one.close()
    assert len([record for record in caplog.records if "connections at once" in record.message]) == 1


def test_ticks_before_zero_and_numbers_beyond_32_bits_wrap():
    made = Registers(PLAN, RUN)
    made.set({"frames": (1 << 32) + 5})
    made.add(verdict(-100, tick=50))
    words = made.read(0, SIZE)
    assert value(words, "frames") == 5
    assert value(words, "tick", ENTRY, RING_START) == (1 << 32) - 100


def test_an_entrys_place_follows_from_its_number_after_the_numbers_start_again():
    made = Registers(PLAN, RUN, newest=LAST_ID - 3)
    for tick in range(1, 10):
        made.add(verdict(tick))
    words = made.read(0, SIZE)
    assert value(words, "newest") == 6
    numbers = [LAST_ID - 2, LAST_ID - 1, LAST_ID, 1, 2, 3, 4, 5, 6]
    for ring, (tick, number) in itertools.product((SHORT, LONG), enumerate(numbers, 1)):
        at = entry_of(number, ring)
        assert (value(words, "id", ENTRY, at), value(words, "tick", ENTRY, at)) == (number, tick)


def test_no_two_values_share_a_register():
    for fields, end in ((FIELDS, SHORT_START), (ENTRY, RING_WORDS)):
        taken = [place.address + word for place in fields for word in range(place.words)]
        assert len(taken) == len(set(taken))
        assert max(taken) < end


def test_the_document_has_the_map_that_is_served():
    text = (ROOT / "docs" / "modbus.md").read_text()
    assert text.endswith(registers.table())
    for start, entries in (SHORT, LONG):
        assert f"{start} + ((*n* - 1) mod {entries}) * {RING_WORDS}." in text
    assert text.count("| `schema` |") == 1, "an older map before it"
