"""The registers as a PLC reads them, by a client that is not the server's library."""

import socket

import pytest
from pyModbusTCP.client import ModbusClient

from pitcore.config import ModbusConfig
from pitcore.errors import SinkError
from pitcore.metrics import Metrics
from pitcore.sinks import registers
from pitcore.sinks.modbus import ModbusSink
from pitcore.sinks.registers import ENTRY, FIELDS, RING_ENTRIES, RING_START, RING_WORDS, SIZE, Registers
from tests.conftest import ROOT
from tests.sinks.valves import PLAN, verdict


class Switch:
    armed = False


@pytest.fixture
def served():
    metrics, switch = Metrics(), Switch()
    sink = ModbusSink(ModbusConfig(enabled=True, port=0), PLAN, switch, metrics)
    client = ModbusClient("127.0.0.1", sink.port, unit_id=1, timeout=20.0)
    yield sink, client, metrics, switch
    client.close()
    sink.close()


def value(words, name, fields=FIELDS, start=0):
    (place,) = (place for place in fields if place.name == name)
    number = 0
    for word in words[start + place.address : start + place.address + place.words]:
        number = number << 16 | word
    return number


def entry_of(number):
    return RING_START + (number - 1) % RING_ENTRIES * RING_WORDS


def test_a_plc_reads_counts_flags_and_the_last_verdicts(served):
    sink, client, metrics, switch = served
    metrics.count("frames", by=80_000)
    metrics.count("judged", by=70_000)
    metrics.count("verdicts", "pit", 3)
    metrics.count("rejects", "late", 2)
    switch.armed = True
    sink.emit([verdict(1000, x=150), verdict(70_000, action="review", tick=70_100)])
    words = client.read_input_registers(0, 60)
    assert words == client.read_holding_registers(0, 60)
    assert value(words, "schema") == 1
    assert value(words, "flags") == 0b11
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
    assert sink.status() == {"kind": "modbus", "state": "ok", "address": address}
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


def test_the_ring_keeps_the_newest_and_each_where_its_number_says(served):
    sink, client, _, _ = served
    sink.emit([verdict(1000 + number) for number in range(1, 3 * RING_ENTRIES + 8)])
    newest = value(client.read_input_registers(0, 60), "newest")
    assert newest == 3 * RING_ENTRIES + 7
    for number in range(newest - RING_ENTRIES + 1, newest + 1):
        words = client.read_input_registers(entry_of(number), RING_WORDS)
        assert (value(words, "id", ENTRY), value(words, "tick", ENTRY)) == (number, 1000 + number)


def test_a_plc_can_write_nothing_and_read_nothing_beyond_the_map(served):
    _, client, _, _ = served
    assert not client.write_single_register(2, 1)
    assert not client.write_multiple_registers(0, [9, 9])
    assert client.read_input_registers(SIZE, 1) is None
    assert client.read_input_registers(0, 1) == [1]


def test_there_are_no_coils_which_would_be_bits_that_mean_nothing(served):
    _, client, _, _ = served
    for read in (client.read_coils, client.read_discrete_inputs):
        assert read(0, 16) is None
        assert client.last_except_as_txt == "illegal function"
    assert client.read_holding_registers(0, 1) == [1]


def test_an_address_that_is_taken_is_one_clear_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SinkError, match=rf"127.0.0.1:{port} cannot be listened on: .*; choose another"):
            ModbusSink(ModbusConfig(port=port), PLAN, Switch(), Metrics())


def test_ticks_before_zero_and_numbers_beyond_32_bits_wrap():
    made = Registers(PLAN, values={"frames": (1 << 32) + 5})
    made.add(verdict(-100, tick=50))
    words = made.image()
    assert value(words, "frames") == 5
    assert value(words, "tick", ENTRY, RING_START) == (1 << 32) - 100


def test_no_two_values_share_a_register():
    for fields, end in ((FIELDS, RING_START), (ENTRY, RING_WORDS)):
        taken = [place.address + word for place in fields for word in range(place.words)]
        assert len(taken) == len(set(taken))
        assert max(taken) < end


def test_the_document_has_the_map_that_is_served():
    text = (ROOT / "docs" / "modbus.md").read_text()
    assert text.endswith(registers.table())
    assert text.count("| `schema` |") == 1, "an older map before it"
