"""A small line for tests of valves: two reject lanes and a review lane."""

from pitcore.belt.lanes import Lane, Plan
from pitcore.config import ActuationConfig, EncoderConfig, LaneConfig
from pitcore.verdict import FrameRef, ModelRef, Verdict

DISTANCE, PULSE = 1000, 40
PLAN = Plan(
    px_per_tick=1.0,
    rows_px=(0, 300),
    cherry_px=60,
    lanes=(
        Lane((0, 100), DISTANCE, PULSE),
        Lane((100, 200), DISTANCE, PULSE),
        Lane((0, 200), DISTANCE + 500, PULSE, "review"),
    ),
)
CONFIG = ActuationConfig(
    kind="simulated",
    encoder=EncoderConfig(line_a=20, line_b=21),
    lanes=tuple(
        LaneConfig(
            line=number, x_px=lane.x_px, distance_ticks=lane.distance_ticks, pulse_ticks=PULSE, action=lane.action
        )
        for number, lane in enumerate(PLAN.lanes)
    ),
    cherry_px=60,
)


def verdict(at_row_0, *, action="reject", x=50, tick=None):
    """A verdict on a cherry whose middle is at row 0 at a tick: it is due DISTANCE ticks later."""
    tick = at_row_0 + 150 if tick is None else tick
    return Verdict(
        schema="pitcore.verdict/1",
        frame=FrameRef(tick, tick * 1000),
        tick=tick,
        box=(x - 30, tick - at_row_0 - 30, 60, 60),
        verdict="pit" if action == "reject" else "maybe",
        code=2 if action == "reject" else 5,
        reason=None,
        probabilities=None,
        model=ModelRef("test", "0", "ab" * 32),
        config="cd" * 32,
        latency_us=None,
        action=action,
    )
