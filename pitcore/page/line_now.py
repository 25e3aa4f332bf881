"""Reads the state of the running service for the page: counters, cameras and alarms. The loop never waits for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from msgspec import to_builtins

from pitcore import __version__
from pitcore.actuation.arming import Arming
from pitcore.actuation.valve_setup import belt_plan
from pitcore.control import status
from pitcore.control.reload import Reloader
from pitcore.line_watch.alarm import CONSEQUENCES, finding_of
from pitcore.loop.app import App
from pitcore.machine import state as machine_state
from pitcore.page.hand_over import PageSink
from pitcore.page.messages import LineNow
from pitcore.sinks.sink import Sink

WORK = ("prepare", "infer", "decide", "emit")  # stages in which the loop works; in capture it waits for a frame
MACHINE_EVERY_S = 2.0


class LineLooker:
    """Reads the state repeatedly. Not thread-safe.

    Args:
        app: the service.
        arming: says whether valves are armed.
        reloader: the service's reloader.
        sinks: the service's sinks.
        page: the sink of the page, which knows the time of the last searched frame.
    """

    def __init__(self, app: App, arming: Arming, reloader: Reloader, sinks: Sequence[Sink], page: PageSink) -> None:
        self._app, self._arming, self._reloader, self._sinks, self._page = app, arming, reloader, tuple(sinks), page
        self._started_ns = self._looked_ns = time.monotonic_ns()
        self._judged = self._acted = 0
        self._machine_s, self._machine = -MACHINE_EVERY_S, machine_state()

    def look(self) -> LineNow:
        """Return the present state of the line."""
        app, metrics, config, arming = self._app, self._app.metrics, self._app.config, self._arming.state
        now_s = time.monotonic()
        if now_s - self._machine_s >= MACHINE_EVERY_S:
            self._machine_s, self._machine = now_s, machine_state()
        before, self._judged = self._judged, metrics.stages["total"].count
        latency = metrics.stages["total"].percentiles_ms((50, 99), before)
        acted, self._acted = self._acted, metrics.spare.count
        spare = metrics.spare.percentiles_ms((0,), acted)
        last = self._reloader.last
        return LineNow(
            state=status.state_of(app),
            version=__version__,
            uptime_s=(time.monotonic_ns() - self._started_ns) / 1e9,
            armed=arming.armed,
            armed_by=arming.by,
            armed_at=arming.at,
            arming_possible=self._arming.possible,
            model=to_builtins(status.model_status(app)),
            frames=to_builtins(status.frames_status(app, config)),
            alarms=[_alarm(one) for one in status.alarm_status(app)],
            cameras=to_builtins(status.camera_status(app.health(), config.runtime.capture_timeout_s)),
            looked_ns=self._page.looked_ns,
            latency_ms=None if latency is None else (latency[0], latency[1]),
            busy=self._busy(self._judged - before),
            rejects=metrics.labels("rejects"),
            spare_ms=None if spare is None else spare[0],
            sinks=status.sink_status(self._sinks),
            machine=self._machine,
            less_safe=status.less_safe(config, arming),
            points=list(app.bundle.card.points),
            valves=len(belt_plan(config).lanes),
            reloading=self._reloader.busy,
            reload=None if last is None else f"{last.state}: {last.detail}",
        )

    def _busy(self, frames: int) -> float | None:
        """Return the share of time since the last call in which the loop worked; None if no frame was judged."""
        before_ns, self._looked_ns = self._looked_ns, time.monotonic_ns()
        if not frames:
            return None
        stages = [self._app.metrics.stages[name] for name in WORK]
        means = [stage.percentiles_ms((50,), max(0, stage.count - frames)) for stage in stages]
        worked_ms = frames * sum(mean[0] for mean in means if mean is not None)
        return min(1.0, worked_ms * 1e6 / max(1, self._looked_ns - before_ns))


def _alarm(alarm: status.AlarmStatus) -> dict[str, Any]:
    """Return an alarm for viewers, with what was measured and what happens to verdicts as separate texts."""
    texts = {"measured": finding_of(alarm.detail, alarm.failsafe), "effect": CONSEQUENCES[alarm.failsafe]}
    return {**to_builtins(alarm), **texts}
