"""Implements ``pitcore status``, which shows the state of the running service."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pitcore.cli.options import board_option, control_socket, socket_option
from pitcore.control.client import ask
from pitcore.control.remote import ask_status
from pitcore.control.status import CameraStatus, Status
from pitcore.text_table import table
from pitcore.verdict import Event


@click.command()
@board_option
@socket_option
@click.option("--json", "as_json", is_flag=True, help="As one JSON object, schema pitcore.status/1.")
def status(config_path: Path | None, socket_path: Path | None, as_json: bool) -> None:
    """Show the state of the running service: model, frames, verdicts, faults, latency, cameras, armed or not.

    Exit code 3 if none runs.

    \b
    Example:
      sudo pitcore status
    """
    path = control_socket(socket_path, config_path)
    click.echo(json.dumps(ask(path, "status")) if as_json else text(ask_status(path)))


def text(now: Status) -> str:
    """Return a status for people."""
    model = now.model
    lines = [
        ("", f"{now.state} for {_duration(now.uptime_s)}, process {now.pid}, pitcore {now.version}"),
        ("air jet", _arming(now)),
        ("model", f"{model.name}@{model.version} ({model.sha256[:12]}) in {model.directory}"),
        ("thresholds", _thresholds(now)),
        ("configuration", f"{now.config.sha256[:12]}, {now.config.path or 'the defaults'}"),
        ("run", now.run or "not told"),
        *[("LESS SAFE", said) for said in now.less_safe],
        *[("ALARM", f"{one.name} since {one.since}, frame {one.since_seq}: {one.detail}") for one in now.alarms],
        ("frames", _frames(now)),
        ("verdicts", _counts(now.verdicts)),
        ("maybe because", _counts(now.reasons)),
        ("events", _counts(now.events)),
        ("this model", _since_model(now)),
        ("headroom", "not measured yet" if now.headroom is None else str(now.headroom)),
        *[("drift", said) for said in _drift(now)],
        ("encoder", _encoder(now)),
        *[("camera", _camera(camera)) for camera in now.cameras],
        *[("sink", ", ".join(f"{key} {value}" for key, value in sink.items())) for sink in now.sinks],
        ("last reload", _reload(now)),
    ]
    parts = ["\n".join(f"  {name:14}  {said}".rstrip() if name else f"{said}" for name, said in lines)]
    if now.latency_ms:
        rows = [[name, f"{found.p50:.2f}", f"{found.p99:.2f}"] for name, found in now.latency_ms.items()]
        parts.append(table(["ms a frame", "p50", "p99"], rows))
    if now.last_events:
        events = [f"  {at}  frame {event.seq}  {event.event}: {event.detail}" for at, event in _events(now)]
        parts.append("\n".join(["  last events", *events]))
    return "\n\n".join(parts)


def _arming(now: Status) -> str:
    arming = now.arming
    state = "ARMED" if arming.armed else "dry run"
    if arming.withheld:
        return f"{state}: {arming.withheld}; arm it again"
    return f"{state}, by {arming.by} at {arming.at}" if arming.by else f"{state}, never armed"


def _frames(now: Status) -> str:
    frames = now.frames
    counts = f"{frames.judged} judged of {frames.processed}, {frames.dropped} dropped, {frames.lost} lost before it"
    return f"{counts}; {frames.waiting} of {frames.queue} wait"


def _encoder(now: Status) -> str:
    encoder = now.encoder
    return "none" if encoder is None else f"tick {encoder.tick}, {1000 * encoder.age_s:.1f} ms ago"


def _since_model(now: Status) -> str:
    since = now.since_model
    return (
        f"{since.frames} frames in {_duration(since.seconds)}: {_counts(since.verdicts)}; "
        f"faults: {_counts(since.faults)}"
    )


def _events(now: Status) -> list[tuple[str, Event]]:
    return [(noted.at, noted.event) for noted in now.last_events]


def _thresholds(now: Status) -> str:
    model = now.model
    used = f"clean below {model.accept:g}, pit from {model.reject:g}"
    if model.stricter:
        used += f"; stricter than the card's {model.card_accept:g} and {model.card_reject:g}"
    return f"{model.point}: {used}; {model.promise}"


def _drift(now: Status) -> list[str]:
    """Return a line for the last weeks and one for the card, as far as there is something to say."""
    if now.drift is None:
        return []
    if any(one.usual is None for one in now.drift.figures):
        return ["what is usual on this line is being learned"]
    said = ", ".join(f"{one.name} {one.now} (usual {one.usual})" for one in now.drift.figures)
    card = ", ".join(f"{one.name} {one.psi:.2f}" for one in now.drift.card)
    return [said, *([f"stability index against the card: {card}"] if card else [])]


def _camera(camera: CameraStatus) -> str:
    age = "none yet" if camera.age_s is None else f"the last {camera.age_s:.2f} s ago"
    lost = f"; lost: {_counts(camera.lost)}" if camera.lost else ""
    locked = (
        "" if camera.locked is None else f"; locked at {camera.locked.exposure_us} us, gain {camera.locked.gain:.3g}"
    )
    return f"{camera.id} ({', '.join(camera.planes)}): {camera.state}, {camera.frames} frames, {age}{locked}{lost}"


def _reload(now: Status) -> str:
    under_way = "one is running; " if now.reloading else ""
    last = now.reload
    return under_way + ("none" if last is None else f"{last.state} at {last.at} in {last.took_s:.2f} s: {last.detail}")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _duration(seconds: float) -> str:
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"
