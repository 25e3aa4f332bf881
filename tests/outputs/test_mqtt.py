"""Against a real mosquitto, which is killed, stopped, restarted, and watched by a second client."""

import json
import signal
import socket
import subprocess
import threading

import msgspec
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from pitcore.config import MqttConfig
from pitcore.control.status import Status
from pitcore.errors import ControlError
from pitcore.metrics import Metrics
from pitcore.outputs import mqtt, topics
from pitcore.outputs.mqtt import MqttOutput
from pitcore.outputs.topics import Topics, read_request
from tests.actuation.valves import verdict
from tests.cli.program import write_config
from tests.cli.service import Service
from tests.conftest import ROOT
from tests.outputs.running import RunningService, free_port, need, until

ON = '[mqtt]\nenabled = true\nport = {port}\ndevice = "line-3"\nstatus_s = 0.2\n'
RUN = "0a" * 16


class Broker:
    """A mosquitto at a port that stays."""

    def __init__(self, place, extra="allow_anonymous true"):
        self.port, self._place = free_port(), place
        place.mkdir(exist_ok=True)
        (place / "mosquitto.conf").write_text(f"listener {self.port} 127.0.0.1\nuser root\n{extra}\n")
        self.start()

    def start(self):
        with (self._place / "mosquitto.log").open("ab") as log:
            command = [need("mosquitto", "mosquitto"), "-c", self._place / "mosquitto.conf"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._listens, "broker")

    def _listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 5).close()
        except OSError:
            return False
        return True

    def kill(self):
        self.process.kill()
        self.process.wait()


class Watcher:
    """A second client that keeps every message."""

    def __init__(self, port, topic="pitcore/#", **options):
        self.messages = []
        self._topic = topic
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        for name, value in options.items():
            getattr(self.client, name)(**value)
        self._subscribed = threading.Event()
        self.client.on_connect = lambda *_: self.client.subscribe(self._topic, qos=1)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = lambda _client, _data, message: self.messages.append(message)
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._subscribed.wait(60)

    def of(self, topic):
        return [message for message in list(self.messages) if message.topic == f"pitcore/line-3/{topic}"]

    def last(self, topic):
        found = self.of(topic)
        return found[-1].payload.decode() if found else None

    def frames(self):
        """Frame numbers of the verdicts, in the order in which they came."""
        return [json.loads(message.payload)[0]["frame"]["seq"] for message in self.of("verdict")]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def broker(tmp_path, monkeypatch):
    monkeypatch.setattr(mqtt, "RETRY_S", 0.1)
    monkeypatch.setattr(mqtt, "STEADY_S", 0.1)
    running = Broker(tmp_path / "broker")
    yield running
    running.kill()


@pytest.fixture
def watcher(broker):
    watching = Watcher(broker.port)
    yield watching
    watching.close()


def test_topics_and_what_is_kept_are_as_documented(tmp_path, tiny_bundle, broker, watcher):
    with RunningService(tmp_path, tiny_bundle, ON.format(port=broker.port)) as running:
        until(lambda: watcher.of("verdict"), "verdicts")
        until(lambda: watcher.of("camera/emulated/health"), "health")
        late = Watcher(broker.port)
        until(lambda: len({message.topic for message in late.messages if message.retain}) >= 4, "what is kept")
        kept = {message.topic.removeprefix("pitcore/line-3/") for message in late.messages if message.retain}
        late.close()
        assert running.sink("mqtt")["state"] == "ok"
    assert kept == {"availability", "status", "model", "camera/emulated/health"}
    assert msgspec.json.decode(watcher.last("status"), type=Status).model.name == "tiny"
    assert json.loads(watcher.last("model"))["version"] == "1.2.3"
    assert json.loads(watcher.last("camera/emulated/health"))["planes"] == ["top", "bottom"]
    lines = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    written = [line for line in lines if line["schema"] == "pitcore.verdict/1"]
    published = [one for message in watcher.of("verdict") for one in json.loads(message.payload)]
    assert published == [line | {"run": running.outputs.run} for line in written]
    until(lambda: watcher.last("availability") == "offline", "goodbye")
    assert all(message.qos == 1 for message in watcher.messages)
    for part in kept - {"camera/emulated/health"} | {"verdict", "cmd/", "reply"}:
        assert f"| `{part}" in (ROOT / "docs" / "mqtt.md").read_text()


def test_a_broker_that_is_killed_and_restarted_under_load_blocks_nothing_and_has_the_right_state_after(
    tmp_path, tiny_bundle, broker, watcher
):
    text = ON.format(port=broker.port) + "buffer_verdicts = 50\n"
    with RunningService(tmp_path, tiny_bundle, text) as running:
        until(lambda: watcher.of("verdict"), "verdicts")
        for _ in range(3):
            broker.kill()
            until(lambda: running.sink("mqtt")["state"] == "failing", "lost connection")
            lost, judged = running.sink("mqtt")["verdicts_lost"], running.metrics.value("judged")
            until(lambda: running.sink("mqtt")["verdicts_lost"] > lost, "full buffer")  # noqa: B023
            assert running.sink("mqtt")["verdicts_waiting"] <= 50 + 4 * 10
            assert running.metrics.value("judged") > judged, "the loop waited"
            running.arming.arm("anna") if not running.arming.armed else running.arming.disarm("anna")
            before = len(watcher.messages)
            broker.start()
            until(lambda: running.sink("mqtt")["state"] == "ok", "connection")
            until(
                lambda: any(
                    message.topic.endswith("/status")
                    and json.loads(message.payload)["arming"]["armed"] == running.arming.armed
                    for message in watcher.messages[before:]  # noqa: B023
                ),
                "state after",
            )
            assert watcher.last("availability") == "online"
        until(lambda: len(set(watcher.frames())) > 10, "frames")
        lost = running.sink("mqtt")["verdicts_lost"]
        assert running.metrics.value("mqtt_verdicts_lost") >= lost


def test_a_broker_that_stops_reading_blocks_nothing_and_loses_nothing_within_the_buffer(
    tmp_path, tiny_bundle, broker, watcher
):
    with RunningService(tmp_path, tiny_bundle, ON.format(port=broker.port)) as running:
        until(lambda: watcher.of("verdict"), "verdicts")
        broker.process.send_signal(signal.SIGSTOP)
        try:
            judged = running.metrics.value("judged")
            until(lambda: running.metrics.value("judged") > judged + 100, "frames that are judged meanwhile")
        finally:
            broker.process.send_signal(signal.SIGCONT)
        until(lambda: running.sink("mqtt")["verdicts_waiting"] < 20, "empty buffer")
        assert running.sink("mqtt")["verdicts_lost"] == 0
    frames = watcher.frames()
    assert sorted(set(frames)) == sorted(dict.fromkeys(frames))
    written = {
        line["frame"]["seq"]
        for line in map(json.loads, (tmp_path / "v.jsonl").read_text().splitlines())
        if line["schema"] == "pitcore.verdict/1"
    }
    until(lambda: set(watcher.frames()) == written, "every frame")


def test_the_last_will_of_a_service_that_was_killed_is_seen_by_a_second_client(tmp_path, tiny_bundle, broker):
    program = need("mosquitto_sub", "mosquitto-clients")
    board = write_config(
        tmp_path / "board.toml", tiny_bundle, sink=tmp_path / "v.jsonl", extra=ON.format(port=broker.port)
    )
    command = [program, "-p", str(broker.port), "-t", "pitcore/line-3/availability", "-q", "1", "-C", "2", "-W", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
        service = Service(board, tmp_path / "log")
        assert second.stdout.readline() == "online\n"
        service.kill()
        assert second.stdout.readline() == "offline\n"


def test_beyond_the_bound_the_oldest_go_first_and_are_counted():
    metrics = Metrics()
    output = MqttOutput(MqttConfig(enabled=True, buffer_verdicts=10), metrics, RUN)
    for number in range(8):
        output.emit([verdict(1000 + number) for _ in range(3)])
    assert output.waiting == 9
    assert metrics.value("mqtt_verdicts_lost") == 15
    first, second = output._take(), output._take()
    output._give_back([first, second])  # as when the connection breaks
    assert output.waiting == 9
    output.emit([verdict(2000)] * 4)
    assert output.waiting == 10
    assert [frame[0].tick for frame in output._buffer] == [second[0].tick, output._buffer[1][0].tick, 2150]


def test_a_missing_broker_does_not_stop_the_service(tmp_path, tiny_bundle, caplog):
    with RunningService(tmp_path, tiny_bundle, ON.format(port=free_port())) as running:
        until(lambda: running.metrics.value("judged") > 20, "judged frames")
        told = until(lambda: (now := running.sink("mqtt"))["state"] == "failing" and now, "failing output")
    assert told["reason"].endswith("Connection refused")
    assert len([one for one in caplog.records if "tried again every" in one.message]) == 1


def test_name_and_password_come_from_the_file_and_are_never_shown(tmp_path, tiny_bundle, monkeypatch, caplog):
    monkeypatch.setattr(mqtt, "RETRY_S", 0.1)
    need("mosquitto", "mosquitto")
    place = tmp_path / "broker"
    place.mkdir()
    hashed = place / "users"
    subprocess.run([need("mosquitto_passwd", "mosquitto"), "-c", "-b", hashed, "line", "s3cret-cherry"], check=True)
    hashed.chmod(0o600)
    broker = Broker(place, f"allow_anonymous false\npassword_file {hashed}")
    password = tmp_path / "password"
    password.write_text("wrong-cherry\n")
    text = ON.format(port=broker.port) + f'user = "line"\npassword_file = "{password}"\n'
    try:
        with RunningService(tmp_path, tiny_bundle, text) as running:
            until(lambda: "Not authorized" in running.sink("mqtt").get("reason", ""), "refusal")
            password.unlink()
            until(lambda: f"{password}: No such file" in running.sink("mqtt").get("reason", ""), "missing file")
            password.write_text("s3cret-cherry\n")
            until(lambda: running.sink("mqtt")["state"] == "ok", "connection")
            status = msgspec.json.encode(running.commands.status())
    finally:
        broker.kill()
    told = caplog.text.encode() + status
    assert b"cherry-resnet" not in told
    assert b"s3cret" not in told
    assert b"wrong-cherry" not in told


def certificates(place):
    """A key and a certificate for 127.0.0.1 that signs itself."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", place / "key.pem", "-out", place / "ca.pem"]
    subprocess.run(command, check=True, capture_output=True)
    (place / "key.pem").chmod(0o600)


# The library leaves a socket whose handshake failed to the interpreter to close.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_brokers_certificate_is_checked(tmp_path, tiny_bundle, monkeypatch):
    monkeypatch.setattr(mqtt, "RETRY_S", 0.1)
    need("openssl", "openssl")
    place = tmp_path / "broker"
    place.mkdir()
    certificates(place)
    broker = Broker(place, f"allow_anonymous true\ncertfile {place / 'ca.pem'}\nkeyfile {place / 'key.pem'}")
    ca = tmp_path / "ca.pem"
    text = ON.format(port=broker.port) + f'tls = true\nca_file = "{ca}"\n'
    try:
        with RunningService(tmp_path, tiny_bundle, text) as running:
            until(lambda: f"{ca}: No such file" in running.sink("mqtt").get("reason", ""), "missing certificate")
            (tmp_path / "other").mkdir()
            certificates(tmp_path / "other")
            ca.write_bytes((tmp_path / "other" / "ca.pem").read_bytes())
            until(lambda: "CERTIFICATE_VERIFY_FAILED" in running.sink("mqtt").get("reason", ""), "refusal")
            ca.write_bytes((place / "ca.pem").read_bytes())
            until(lambda: running.sink("mqtt")["state"] == "ok", "connection")
            watching = Watcher(broker.port, tls_set={"ca_certs": str(place / "ca.pem")})
            until(lambda: watching.of("verdict"), "verdicts")
            watching.close()
    finally:
        broker.kill()


def asked(watcher, name, payload):
    watcher.client.publish(f"pitcore/line-3/cmd/{name}", payload, qos=1).wait_for_publish(60)


def test_commands_that_are_allowed_are_carried_out_once_and_answered(tmp_path, tiny_bundle, broker, watcher):
    text = ON.format(port=broker.port) + 'commands = ["status", "disarm"]\n'
    with RunningService(tmp_path, tiny_bundle, text) as running:
        running.arming.arm("anna")
        until(lambda: watcher.of("verdict"), "connection")
        asked(watcher, "reload", b'{"id": "0"}')
        asked(watcher, "arm", b'{"id": "1"}')
        asked(watcher, "disarm", b'{"id": "2"}')
        asked(watcher, "disarm", b'{"id": "2"}')
        asked(watcher, "disarm", b"no json")
        asked(watcher, "disarm", b'{"id": 7}')
        asked(watcher, "status", b'{"id": "x", "sudo_user": "root"}')
        asked(watcher, "status", b'{"id": "3"}')
        answers = until(
            lambda: (
                (found := {json.loads(one.payload)["id"]: json.loads(one.payload) for one in watcher.of("reply")})
                and "3" in found
                and found
            ),
            "answers",
        )
        assert not running.arming.armed
        assert running.arming.state.by == "mqtt"
    assert answers.keys() == {"0", "1", "2", 7, "x", "3"}
    assert answers["2"]["result"]["changed"]
    assert answers["3"]["result"]["schema"] == "pitcore.status/1"
    refused = {name: answers[name]["error"] for name in ("0", "1", 7, "x")}
    assert not any(answers[name]["ok"] for name in refused)
    assert refused["1"] == "command 'arm' is not allowed; [mqtt] commands: status, disarm"
    assert "Expected `str`, got `int`" in refused[7]
    assert "unknown field `sudo_user`" in refused["x"]
    assert len(watcher.of("reply")) == 6


def test_a_command_that_the_broker_kept_is_not_carried_out(tmp_path, tiny_bundle, broker, watcher):
    watcher.client.publish("pitcore/line-3/cmd/disarm", b'{"id": "old"}', qos=1, retain=True).wait_for_publish(60)
    text = ON.format(port=broker.port) + 'commands = ["status", "disarm"]\n'
    with RunningService(tmp_path, tiny_bundle, text) as running:
        running.arming.arm("anna")
        until(lambda: watcher.of("verdict"), "connection")
        asked(watcher, "status", b'{"id": "1"}')
        until(lambda: watcher.of("reply"), "answer")
        assert running.arming.armed


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("pitcore/a/cmd/arm", b'{"id": "1"}'),
        ("pitcore/a/cmd/", b'{"id": "1"}'),
        ("pitcore/a/cmd/disarm/x", b'{"id": "1"}'),
        ("pitcore/a/cmd/disarm", b""),
        ("pitcore/a/cmd/disarm", b"\xff\xfe"),
        ("pitcore/a/cmd/disarm", b"[]"),
        ("pitcore/a/cmd/disarm", b'{"id": 7}'),
        ("pitcore/a/cmd/disarm", b'{"id": ""}'),
        ("pitcore/a/cmd/disarm", b'{"id": "1", "sudo_user": "root"}'),
        ("pitcore/a/cmd/disarm", b'{"id": "' + b"a" * 10_000_000 + b'"}'),
    ],
)
def test_invalid_commands_are_refused(topic, payload):
    with pytest.raises(ControlError):
        read_request(topic, payload, ("disarm",))


def test_home_assistant_finds_each_value_where_the_status_has_it(tmp_path, tiny_bundle, broker):
    watching = Watcher(broker.port, "#")
    with RunningService(tmp_path, tiny_bundle, ON.format(port=broker.port) + "discovery = true\n") as running:
        place = "homeassistant/device/pitcore_line-3/config"
        found = until(lambda: [one for one in watching.messages if one.topic == place], "discovery")
        now = msgspec.to_builtins(running.commands.status())
    watching.close()
    described = json.loads(found[0].payload)
    assert described["availability_topic"] == "pitcore/line-3/availability"
    assert described["state_topic"] == "pitcore/line-3/status"
    assert {"alarm", "armed", "verdicts_pit"} <= described["components"].keys()
    unique = [one["unique_id"] for one in described["components"].values()]
    assert len(set(unique)) == len(unique)
    for component in described["components"].values():
        for path in component["value_template"].split("value_json.")[1:]:
            value = now
            for key in path.split(" ")[0].split("."):
                if key in {"clean", "maybe", "pit", "side"}:
                    break  # there is a default before the first
                value = value[key]


@pytest.mark.parametrize(
    ("name", "fits"), [("line-3", "line-3"), ("/base/axi/pcie@1", "base_axi_pcie_1"), ("+/#", "board"), ("é", "board")]
)
def test_topics_have_no_wildcards_of_the_broker(name, fits):
    assert topics.fit(name) == fits


def test_without_a_name_the_host_is_the_device():
    assert Topics(MqttConfig(), RUN).device == topics.fit(socket.gethostname())


def test_a_broker_that_hangs_does_not_keep_the_service_from_ending_well(tmp_path, tiny_bundle, broker):
    board = write_config(
        tmp_path / "board.toml", tiny_bundle, sink=tmp_path / "v.jsonl", extra=ON.format(port=broker.port)
    )
    service = Service(board, tmp_path / "log")
    try:
        service.wait_for_line(tmp_path / "v.jsonl", lambda line: line["schema"] == "pitcore.verdict/1")
        broker.process.send_signal(signal.SIGSTOP)
        assert service.stop() == 0
    finally:
        broker.process.send_signal(signal.SIGCONT)
        service.kill()
