"""What a restart, and a stop with a broker away, look like to those who read the outputs."""

import json

import msgspec
from pyModbusTCP.client import ModbusClient

from pitcore.capture.record import decode_record
from pitcore.config import MqttConfig
from pitcore.control.status import Status
from pitcore.metrics import Metrics
from pitcore.outputs.mqtt import MqttOutput
from pitcore.outputs.registers import FIELDS
from pitcore.outputs.topics import Topics
from tests.actuation.valves import verdict
from tests.outputs.running import RunningService, until
from tests.outputs.test_prometheus import VALVES

ON = (
    '[modbus]\nenabled = true\nport = 0\n[capture]\nenabled = true\nrandom_share = 1.0\nfree_bytes = 0\nfolder = "{}"\n'
)


def registers(running):
    port = running.sink("modbus")["address"].rpartition(":")[2]
    client = ModbusClient("127.0.0.1", int(port), timeout=60.0)
    words = client.read_input_registers(0, 60)
    client.close()
    return {
        place.name: int.from_bytes(b"".join(word.to_bytes(2) for word in words[place.address :][: place.words]))
        for place in FIELDS
    }


def test_every_output_names_the_run_and_a_restart_is_another(tmp_path, tiny_bundle):
    runs, folder = [], tmp_path / "kept"
    for _ in range(2):
        with RunningService(tmp_path, tiny_bundle, ON.format(folder) + VALVES) as running:
            until(lambda: running.metrics.value("crops") > 5, "kept cherries")
            told = msgspec.json.decode(msgspec.json.encode(running.commands.status()), type=Status)
            read = registers(running)
        assert told.encoder.t_ns > 0
        assert read["tick_now"] >= told.encoder.tick
        assert read["encoder"] == 1
        assert read["run"] == int(told.run[:8], 16)
        runs.append(told.run)
    lines = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert [line["run"] for line in lines if line.get("event") == "run_started"] == runs
    assert len(set(runs)) == 2
    kept = {decode_record(file.read_bytes(), file.name)[0].run for file in folder.glob("*.png")}
    assert kept <= set(runs)
    assert kept


def test_a_message_with_verdicts_names_the_run_in_each():
    topics, cherries = Topics(MqttConfig(), "0a" * 16), [verdict(1000), verdict(1010)]
    lines = json.loads(topics.verdicts(cherries).payload)
    assert lines == [msgspec.to_builtins(one) | {"box": list(one.box), "run": "0a" * 16} for one in cherries]


def test_verdicts_that_still_wait_for_the_broker_at_the_stop_are_counted_and_logged_once(caplog):
    metrics = Metrics()
    output = MqttOutput(MqttConfig(enabled=True), metrics, "0a" * 16)
    output.emit([verdict(1000)] * 3)
    output.emit([verdict(2000)] * 2)
    output.close()
    output.close()
    assert [one.message for one in caplog.records] == [
        "[mqtt] 5 verdicts were not published before the stop, and are lost to the broker"
    ]
    assert metrics.value("mqtt_verdicts_lost") == 5
    assert (output.status()["verdicts_waiting"], output.status()["verdicts_lost"]) == (0, 5)
