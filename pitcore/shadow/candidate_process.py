"""Runs the candidate in a separate process, which ``beside`` starts.

A thread of low priority would not do: it could hold the interpreter while another program has the core, and the loop
would wait for it. Linux runs this process only when no other thread of the service needs the core (SCHED_IDLE), and
kills it first if memory is short. It ends with the service.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pitcore.child_process import begin_child, first_message
from pitcore.config import operating_point
from pitcore.errors import PitcoreError
from pitcore.inference.choice import check_planes
from pitcore.loop.classifier import Classifier
from pitcore.model_card import Bundle, load_bundle
from pitcore.shadow.messages import MAX_MESSAGE_BYTES, Answer, Ask, CropMemory, Ready, Refused, Start

PIECE = 8  # crops in one call of the network


def main() -> None:
    """Run the process. The last two arguments are the descriptors of socket and shared memory."""
    connection, memory = begin_child()
    start = msgspec.msgpack.decode(first_message(connection, MAX_MESSAGE_BYTES), type=Start)
    with contextlib.suppress(OSError):  # the service has ended
        try:
            _serve(connection, memory, start)
        except PitcoreError as error:
            _say(connection, Refused(str(error)))


def open_candidate(directory: str, planes: Sequence[str]) -> Bundle:
    """Load a candidate for these planes. Raises BundleError, CardError."""
    bundle = load_bundle(Path(directory))
    check_planes(bundle, planes)
    return bundle


def _serve(connection: socket.socket, memory: int, start: Start) -> None:
    """Load the candidate, and answer requests until the service ends. Raises PitcoreError, OSError."""
    bundle = open_candidate(start.bundle, start.planes)
    classifier = Classifier(bundle, batch=PIECE)  # runs the golden vectors
    crops = CropMemory(memory, start.capacity, len(start.planes)).crops
    _say(connection, Ready(bundle.card.name, bundle.card.version, bundle.sha256))
    while raw := connection.recv(MAX_MESSAGE_BYTES):
        ask = msgspec.msgpack.decode(raw, type=Ask)
        thresholds = operating_point(bundle.card, ask.decision).thresholds
        found: list[float | None] = []
        for first in range(0, ask.count, PIECE):
            found += classifier.pit_probabilities(list(crops[first : min(first + PIECE, ask.count)]))
        _say(connection, Answer(found, thresholds.accept, thresholds.reject))


def _say(connection: socket.socket, said: Ready | Answer | Refused) -> None:
    connection.send(msgspec.msgpack.encode(said))
