"""Connections that a broker closes at once, as mosquitto does when another client connects with the same name."""

import contextlib
import socket
import threading

import pytest

from pitcore.outputs import mqtt
from tests.outputs.running import RunningService, until

ON = '[mqtt]\nenabled = true\nport = {port}\ndevice = "line-3"\n'
ACCEPTED = b"\x20\x03\x00\x00\x00"  # CONNACK of MQTT 5: success
TAKEN_OVER = b"\xe0\x02\x8e\x00"  # DISCONNECT of MQTT 5: session taken over


class ClosingBroker:
    """Accepts each connection, and closes it at the first message.

    Args:
        farewell: what it sends before.
    """

    def __init__(self, farewell=b""):
        self._farewell, self.closed = farewell, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):  # the listener is closed at the end
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(ACCEPTED)
                    connection.recv(65536)
                    connection.sendall(self._farewell)
                self.closed += 1

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.mark.parametrize("farewell", [b"", TAKEN_OVER], ids=["without a word", "with a reason"])
def test_a_connection_that_is_lost_again_and_again_says_what_may_be_the_cause_and_is_logged_once(
    tmp_path, tiny_bundle, monkeypatch, caplog, farewell
):
    monkeypatch.setattr(mqtt, "RETRY_S", 0.02)
    broker = ClosingBroker(farewell)
    with RunningService(tmp_path, tiny_bundle, ON.format(port=broker.port)) as running:
        until(lambda: "set [mqtt] device" in running.sink("mqtt").get("reason", ""), "hint")
        until(lambda: broker.closed > 2 * mqtt.MANY_SHORT, "lost connections")
        known = len(said(caplog))
        before = broker.closed
        until(lambda: broker.closed > before + 5, "more lost connections")
        told = running.sink("mqtt")
        assert told["state"] == "failing"
        assert told["reason"].endswith("another client has this board's name: set [mqtt] device")
        assert len(said(caplog)) == known <= 2 * mqtt.MANY_SHORT
    broker.close()


def said(caplog):
    return [record.message for record in caplog.records if "[mqtt]" in record.message]


def test_a_connection_that_lasts_ends_the_failure():
    output = mqtt.MqttOutput(mqtt.MqttConfig(enabled=True), mqtt.Metrics(), "0a" * 16)
    for _ in range(mqtt.MANY_SHORT):
        output._lasts(0.0)
        output._fails(output._ended(1.0, "lost", is_known=False))
    reason = output.status()["reason"]
    assert mqtt.OTHER_CLIENT in reason
    output._lasts(mqtt.STEADY_S / 2)
    output._fails(output._ended(1.0, "taken over", is_known=True))
    assert output.status()["reason"] == reason, "each new reason is logged"
    output._lasts(mqtt.STEADY_S)
    assert not output._output_state.failing
    assert output._ended(mqtt.STEADY_S, "lost", is_known=False) == "lost"
