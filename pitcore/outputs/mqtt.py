"""Publishes status, model, camera health and verdicts to an MQTT 5 broker, and carries out the allowed commands.

The loop only appends a frame's verdicts to a bounded buffer; the thread ``pitcore-mqtt`` does the rest. Without a
connection the verdicts wait; beyond the bound the oldest are dropped and counted. A message is kept until the broker
has acknowledged it, so a broken connection loses none, and some may be sent twice. If the broker, a certificate or the
password is missing, the thread retries.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from pitcore import __version__
from pitcore.config import MqttConfig
from pitcore.control.commands import Commands
from pitcore.control.protocol import URGENT
from pitcore.control.server import Peer
from pitcore.errors import ControlError, PitcoreError
from pitcore.metrics import Metrics
from pitcore.outputs.broker_files import read_password, tls_context
from pitcore.outputs.topics import OFFLINE, Message, Topics, id_of, read_request
from pitcore.sinks.output_state import OutputState, reason_of
from pitcore.verdict import Event, Verdict

log = logging.getLogger(__name__)

RETRY_S = 2.0
CONNECT_S = 5.0  # time-out of TCP and TLS
ANSWER_S = 10.0  # time-out of the broker's answer to the connection
KEEPALIVE_S = 15  # the broker publishes the last will after 1.5 times this
TURN_S = 0.1  # interval of reading the buffer
STOP_S = 2.0
STEADY_S = 10.0  # a connection that was lost earlier is short
MANY_SHORT = 3  # short connections in a row: then the output counts as failing until one is steady
MAX_IN_FLIGHT = 64  # messages that the broker has not acknowledged
MAX_COMMANDS = 4  # at once; as many again for urgent ones
MAX_REFUSALS = 8  # waiting answers to refused commands; older ones are dropped
MAX_KNOWN_IDS = 256
OTHER_CLIENT = "perhaps another client has this board's name: set [mqtt] device"

Frame = Sequence[Verdict]


class _EndedError(Exception):
    """The connection ended, or never began; the message says why."""


class MqttOutput:
    """Implements ``sink.Sink``, ``sink.ReportsStatus`` and ``opening.Publisher``.

    Args:
        config: ``[mqtt]`` of the configuration.
        metrics: gets the count ``mqtt_verdicts_lost``.
        run: the run of the service.
    """

    def __init__(self, config: MqttConfig, metrics: Metrics, run: str) -> None:
        self._config, self._metrics = config, metrics
        self._topics = Topics(config, run)
        self._output_state = OutputState("mqtt", RETRY_S)
        # Waiting frames. Both threads use both ends; each operation is atomic in CPython. Each count has one writer;
        # the counts give the number of waiting verdicts.
        self._buffer: deque[Frame] = deque()
        self._added = self._dropped = 0  # numbers of verdicts, written by the loop
        self._taken = 0  # number of verdicts, written by the thread
        self._replies: deque[Message] = deque(maxlen=MAX_IN_FLIGHT)
        self._refusals: deque[Message] = deque(maxlen=MAX_REFUSALS)  # sent last: a flood of them holds nothing up
        self._sent = 0
        self._short, self._short_reason = 0, ""  # number of short connections in a row, and why they end
        self._known_ids: deque[str] = deque(maxlen=MAX_KNOWN_IDS)
        self._working: list[threading.Thread] = []
        self._stopped = threading.Event()
        self._commands: Commands | None = None
        self._thread = threading.Thread(target=self._run, name="pitcore-mqtt", daemon=True)

    def publish(self, commands: Commands) -> None:
        """Start the thread, which connects; waiting verdicts are published first."""
        self._commands = commands
        self._thread.start()

    def emit(self, records: Sequence[Verdict | Event]) -> None:
        """Append a frame's verdicts to the buffer; if it is full, drop the oldest."""
        if not self._config.verdicts:
            return
        frame = [record for record in records if isinstance(record, Verdict)]
        if not frame:
            return
        self._buffer.append(frame)
        self._added += len(frame)
        while self.waiting > self._config.buffer_verdicts:
            try:
                oldest = self._buffer.popleft()
            except IndexError:  # the thread took it meanwhile
                break
            self._lose(len(oldest))

    @property
    def waiting(self) -> int:
        """Number of verdicts in the buffer. Readable from any thread."""
        return self._added - self._dropped - self._taken

    def status(self) -> dict[str, Any]:
        """See ``pitcore.sinks.sink.ReportsStatus``."""
        status = {"kind": "mqtt", "broker": f"{self._config.host}:{self._config.port}", "device": self._topics.device}
        if self._thread.ident is not None and not self._thread.is_alive():
            return status | {"state": "ended"}
        counts = {"sent": self._sent, "verdicts_waiting": self.waiting, "verdicts_lost": self._dropped}
        return status | self._output_state.status() | counts

    def close(self) -> None:
        """Publish waiting verdicts for up to a second, and that the board is offline. Safe to call twice.

        What the broker did not acknowledge by then is lost: it is counted and logged.
        """
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)
        if (left := self.waiting) > 0:
            self._lose(left)
            log.warning("[mqtt] %d verdicts were not published before the stop, and are lost to the broker", left)

    def _lose(self, verdicts: int) -> None:
        self._dropped += verdicts
        self._metrics.count("mqtt_verdicts_lost", by=verdicts)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                _Connection(self).run()
            except (OSError, ValueError) as error:  # ValueError: certificates and keys
                self._fails(reason_of(error) if isinstance(error, OSError) else str(error))
            except _EndedError as error:
                self._fails(str(error))
            except Exception as error:  # nothing that a broker sends may end this thread
                log.exception("[mqtt] a bug in pitcore or its MQTT library")
                self._fails(f"{type(error).__name__}; the log has the traceback")
            self._stopped.wait(RETRY_S)

    def _lasts(self, for_s: float) -> None:
        """Set the state of a connection that has lasted for some time."""
        if for_s >= STEADY_S:
            self._short = 0
        if self._short < MANY_SHORT:
            self._output_state.works(f"connected to {self._config.host}:{self._config.port} now")

    def _ended(self, after_s: float, reason: str, *, is_known: bool) -> str:
        """Count a connection that was lost, and return the reason for the status.

        Among short connections the first reason stays, because each new one is logged.

        Args:
            after_s: how long the connection lasted.
            reason: why it ended.
            is_known: True if the broker gave the reason.
        """
        self._short = self._short + 1 if after_s < STEADY_S else 0
        if self._short < MANY_SHORT:
            return reason
        if self._short == MANY_SHORT:
            self._short_reason = (
                reason if is_known else f"{reason} again and again within {STEADY_S:g} s; {OTHER_CLIENT}"
            )
        return self._short_reason

    def _fails(self, reason: str) -> None:
        self._output_state.fails(
            f"{self._config.host}:{self._config.port}: {reason}", "Correct [mqtt], or check the broker"
        )

    def _take(self) -> Frame | None:
        """Remove and return the oldest waiting frame; None if none waits."""
        try:
            frame = self._buffer.popleft()
        except IndexError:
            return None
        self._taken += len(frame)
        return frame

    def _give_back(self, frames: Sequence[Frame]) -> None:
        """Put frames back at the front of the buffer, in their order."""
        self._taken -= sum(map(len, frames))
        self._buffer.extendleft(reversed(frames))

    def _serve(self, topic: str, payload: bytes) -> None:
        """Carry out a command on a new thread, because a reload takes seconds."""
        try:
            name, request = read_request(topic, payload, self._config.commands)
        except ControlError as error:
            log.warning("[mqtt] %s", error)
            asked = id_of(payload)
            if asked is not None:
                self._refusals.append(self._topics.answer(asked, {"ok": False, "error": str(error)}))
            return
        if request.id in self._known_ids:
            return  # with QoS 1 it may arrive twice
        self._known_ids.append(request.id)
        self._working = [thread for thread in self._working if thread.is_alive()]
        if len(self._working) >= MAX_COMMANDS * (2 if name in URGENT else 1):
            self._replies.append(self._topics.answer(request.id, {"ok": False, "error": "busy; try again later"}))
            return
        thread = threading.Thread(
            target=self._carry_out, args=(name, request.id), name="pitcore-mqtt-command", daemon=True
        )
        self._working.append(thread)
        thread.start()

    def _carry_out(self, name: str, request_id: str) -> None:
        assert self._commands is not None  # noqa: S101  set before the connection
        try:
            result = self._commands.by_name()[name]({}, Peer(pid=0, uid=-1, user="mqtt"))
            answer = {"ok": True, "result": result}
        except PitcoreError as error:
            answer = {"ok": False, "error": str(error)}
        self._replies.append(self._topics.answer(request_id, answer))


class _Connection:
    """One connection to the broker. The MQTT library runs on this thread and starts none.

    Args:
        output: the output whose buffer is published.
    """

    def __init__(self, output: MqttOutput) -> None:
        self._output, self._config, self._topics = output, output._config, output._topics  # noqa: SLF001  one module
        self._in_flight: dict[int, Frame | None] = {}
        self._accepted = False
        self._refused: str | None = None
        self._published_ns = 0
        self._published_state: object = None
        self._client = self._make_client()

    def run(self) -> None:
        """Connect, and publish until the service stops.

        Raises:
            _EndedError: the broker refused the connection, or the connection ended.
            OSError, ValueError: the broker cannot be reached, or a file of the configuration cannot be used.
        """
        config = self._config
        try:
            self._client.connect(config.host, config.port, KEEPALIVE_S, clean_start=True)
            self._wait_for_accepted()
            self._publish_all(time.monotonic())
        finally:
            lost = [frame for frame in self._in_flight.values() if frame is not None]
            self._output._give_back(lost)  # noqa: SLF001
            client = self._client
            client.disconnect()
            # The library closes its last descriptors when the client is freed: now, as no cycle holds it.
            client.on_connect = client.on_disconnect = client.on_publish = client.on_message = None

    def _publish_all(self, began_s: float) -> None:
        """Publish until the service stops. Raises _EndedError."""
        output = self._output
        try:
            self._begin()
            while not output._stopped.is_set():  # noqa: SLF001  one module
                output._lasts(time.monotonic() - began_s)  # noqa: SLF001
                self._turn(TURN_S)
            self._end()
        except _EndedError as error:
            after_s, is_known = time.monotonic() - began_s, self._refused is not None
            raise _EndedError(output._ended(after_s, str(error), is_known=is_known)) from error  # noqa: SLF001

    def _make_client(self) -> paho.Client:
        """Return the library's client. Raises OSError, ValueError."""
        config = self._config
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"pitcore-{self._topics.device}", protocol=paho.MQTTv5
        )
        client.connect_timeout = CONNECT_S
        client.max_inflight_messages = MAX_IN_FLIGHT
        client.will_set(self._topics.availability, OFFLINE, qos=1, retain=True)
        if config.user is not None:
            client.username_pw_set(config.user, read_password(config.password_file))
        if config.tls:
            client.tls_set_context(tls_context(config))
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        return client

    def _wait_for_accepted(self) -> None:
        until = time.monotonic() + ANSWER_S
        while not self._accepted:
            self._step(TURN_S)
            if time.monotonic() > until:
                raise _EndedError(f"the broker did not answer within {ANSWER_S:g} s")
            if self._output._stopped.is_set():  # noqa: SLF001
                raise _EndedError("the service stops")

    def _begin(self) -> None:
        """Publish all retained messages, because a restarted broker may have lost them."""
        self._send(self._topics.online())
        described = self._topics.discovery(__version__)
        if described is not None:
            self._send(described)
        if self._config.commands:
            self._client.subscribe(self._topics.commands, qos=1)

    def _turn(self, timeout_s: float) -> None:
        """Publish what is due while the broker accepts messages."""
        self._send_state()
        while len(self._in_flight) < MAX_IN_FLIGHT and not self._client.want_write():
            if self._output._replies:  # noqa: SLF001
                self._send(self._output._replies.popleft())  # noqa: SLF001
                continue
            frame = self._output._take()  # noqa: SLF001
            if frame is not None:
                self._send(self._topics.verdicts(frame), frame)
            elif self._output._refusals:  # noqa: SLF001
                self._send(self._output._refusals.popleft())  # noqa: SLF001
            else:
                break
        self._step(timeout_s)

    def _send_state(self) -> None:
        """Publish the status if it is due, or if an alarm, the arming or the model changed."""
        commands = self._output._commands  # noqa: SLF001
        assert commands is not None  # noqa: S101  set before the thread starts
        state = (tuple(alarm.name for alarm in commands.app.alarms), commands.arming.armed, commands.app.bundle.sha256)
        now_ns = time.monotonic_ns()
        due = now_ns - self._published_ns >= self._config.status_s * 1e9
        is_busy = self._client.want_write() or len(self._in_flight) >= MAX_IN_FLIGHT
        if is_busy or not (due or state != self._published_state):
            return
        self._published_ns, self._published_state = now_ns, state
        for message in self._topics.state(commands.status()):
            self._send(message)

    def _send(self, message: Message, frame: Frame | None = None) -> None:
        info = self._client.publish(message.topic, message.payload, qos=1, retain=message.retain)
        self._in_flight[info.mid] = frame

    def _step(self, timeout_s: float) -> None:
        """Let the library read and write. Raises _EndedError."""
        code = self._client.loop(timeout_s)
        if self._refused is not None:
            raise _EndedError(self._refused)
        if code in {paho.MQTT_ERR_CONN_LOST, paho.MQTT_ERR_NO_CONN}:  # which one it is depends on the moment
            raise _EndedError("the connection was lost")
        if code != paho.MQTT_ERR_SUCCESS:
            raise _EndedError(f"the connection ended: {paho.error_string(code)}")

    def _end(self) -> None:
        """Publish waiting verdicts and that the board goes offline, within half of the time for a stop."""
        until = time.monotonic() + STOP_S / 2
        while self._output._buffer and time.monotonic() < until:  # noqa: SLF001
            self._turn(0.01)
        self._send(self._topics.offline())
        while self._in_flight and time.monotonic() < until:
            self._step(0.01)

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _more: Any) -> None:  # noqa: ANN401
        if reason.is_failure:
            self._refused = f"the broker refuses the connection: {reason}"
        self._accepted = not reason.is_failure

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, _more: Any) -> None:  # noqa: ANN401
        if flags.is_disconnect_packet_from_server:
            taken = "; another client has this board's name: set [mqtt] device" if "taken over" in str(reason) else ""
            self._refused = f"the broker ended the connection: {reason}{taken}"

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: ReasonCode, _more: Any) -> None:  # noqa: ANN401
        self._in_flight.pop(mid, None)
        if reason.is_failure:
            log.warning("[mqtt] the broker refuses a message: %s", reason)
        self._output._sent += 1  # noqa: SLF001

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:  # noqa: ANN401
        if not message.retain:  # a retained command is old
            self._output._serve(message.topic, bytes(message.payload))  # noqa: SLF001
