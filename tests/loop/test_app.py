import numpy as np
import pytest

from pitcore.actuation.valve_setup import belt_plan
from pitcore.camera.recorder import Recorder
from pitcore.camera.replay import ReplaySource
from pitcore.config import (
    ActuationConfig,
    AlignmentConfig,
    BeltConfig,
    Config,
    ControlConfig,
    DecisionConfig,
    EmulatedSourceConfig,
    EncoderConfig,
    FrameConfig,
    LaneConfig,
    ReplaySourceConfig,
    RuntimeConfig,
    SegmentationConfig,
    SinkConfig,
)
from pitcore.emulator.emulated import EmulatedSource
from pitcore.errors import BundleError, ConfigError, RecordingError
from pitcore.frame import Frame
from pitcore.inference.choice import open_bundle
from pitcore.loop.app import RELOADABLE, App, Options
from pitcore.loop.pipeline import Hooks
from pitcore.loop.sources import belt_spec, build_source, check_geometry, emulated_belt
from pitcore.metrics import Metrics
from pitcore.outputs.opening import open_verdict_file
from pitcore.sinks.memory import MemorySink
from tests.conftest import tiny_card, write_card, write_tiny_bundle
from tests.scene import CLEAN, GEOMETRY, HEIGHT, MAYBE, PIT, WIDTH, ListSource, config_for, planes_with, still


def test_a_model_for_other_planes_is_refused_with_both_named(tiny_bundle):
    write_card(tiny_bundle, tiny_card(tiny_bundle) | {"planes": ["bottom", "top"]})
    with pytest.raises(BundleError, match=r"wants planes bottom, top, but \[frame\] planes are top, bottom"):
        open_bundle(config_for(tiny_bundle))


def test_the_emulated_belt_has_the_load_of_the_configuration():
    source = EmulatedSourceConfig(seed=7, cherries_per_frame=5.0, pit_share=0.9, advance_px=120, frames_per_s=3.0)
    config = Config(frame=FrameConfig(height_px=220, width_px=640), belt=BeltConfig(px_per_tick=2.0), source=source)
    spec = belt_spec(config, frames=9, ring=0)
    assert (spec.height_px, spec.width_px, spec.seed, spec.cherries_per_frame) == (220, 640, 7, 5.0)
    assert (spec.pit_share, spec.advance_px, spec.px_per_tick, spec.frames_per_s) == (0.9, 120, 2.0, 3.0)
    assert (spec.frames, spec.ring) == (9, 0)
    assert belt_spec(config, frames=9, ring=0, seed=3).seed == 3


def test_a_belt_of_another_source_gets_the_reference_load():
    config = Config(source=ReplaySourceConfig(path="out/rec"))
    assert belt_spec(config, frames=1, ring=0).cherries_per_frame == EmulatedSourceConfig().cherries_per_frame


def test_the_service_reads_a_belt_at_its_own_pace():
    belt = EmulatedSourceConfig(ring_frames=2, cherries_per_frame=3.0, advance_px=180)
    config = Config(frame=FrameConfig(height_px=220, width_px=640), source=belt)
    source = build_source(config)
    assert isinstance(source, EmulatedSource)
    assert source.live
    assert source.frames is None
    demo = emulated_belt(config, frames=3, seed=None, crops=None)
    assert not demo.live
    assert demo.frames == 3


def test_the_service_replays_a_recording(tmp_path):
    with Recorder(tmp_path / "rec", GEOMETRY) as recorder:
        recorder.write(Frame(0, 0, 0, planes_with()))
    replay = ReplaySourceConfig(path=str(tmp_path / "rec"))
    source = build_source(Config(source=replay))
    assert isinstance(source, ReplaySource)
    check_geometry(Config(frame=FrameConfig(height_px=HEIGHT, width_px=WIDTH), source=replay), source.geometry)
    with pytest.raises(RecordingError, match="pitcore record"):
        build_source(Config(source=ReplaySourceConfig(path=str(tmp_path / "nothing"))))


LANES = (LaneConfig(line=4, x_px=(0, 2464), distance_ticks=3000, pulse_ticks=60),)
ENCODER = EncoderConfig(line_a=1, line_b=2)


def test_lanes_act_only_where_valves_are_driven():
    driven = ActuationConfig(kind="simulated", encoder=ENCODER, lanes=LANES, review_by_plc=True)
    plan = belt_plan(Config(actuation=driven))
    assert [(lane.x_px, lane.distance_ticks) for lane in plan.lanes] == [((0, 2464), 3000)]
    assert (plan.rows_px, plan.px_per_tick) == ((0, 500), 0.5)
    shifted = belt_plan(Config(actuation=driven, alignment=AlignmentConfig(dy_px=-3)))
    assert shifted.rows_px == (3, 500)
    assert belt_plan(Config(actuation=ActuationConfig(lanes=LANES))).lanes == ()


def test_the_sink_is_where_the_configuration_says(tmp_path):
    sink = open_verdict_file(Config(sink=SinkConfig(path=str(tmp_path / "deep" / "v.jsonl"))), Metrics(), "0a" * 16)
    sink.close()
    assert (tmp_path / "deep" / "v.jsonl").read_bytes().count(b"run_started") == 1


class Reloading:
    """Runs three frames and reloads after the first."""

    def __init__(self, config, later, planes):
        self.memory, self.refusal, self._later = MemorySink(), None, later
        hooks = Hooks(between_frames=self._reload_once)
        options = Options(sinks=[self.memory], hooks=hooks)
        self.source = ListSource(still(*planes))
        self.app = App(config, self.source, options, Metrics())
        self.app.run()

    def _reload_once(self):
        later, self._later = self._later, None
        if later is None:
            return
        try:
            self.app.reload(later)
        except (ConfigError, BundleError) as error:
            self.refusal = error


THREE = [planes_with((100 + seed, 60, MAYBE), seed=seed) for seed in range(3)]


def test_a_reload_takes_new_thresholds_between_two_frames(tiny_bundle):
    first, later = config_for(tiny_bundle), config_for(tiny_bundle, decision=DecisionConfig(reject=0.4))
    run = Reloading(first, later, THREE)
    assert [line.verdict for line in run.memory.verdicts] == ["maybe", "pit", "pit"]
    assert [line.config for line in run.memory.verdicts] == [first.sha256, later.sha256, later.sha256]
    assert run.app.config is later


def test_a_reload_takes_a_new_model_between_two_frames(tmp_path, tiny_bundle):
    other = write_tiny_bundle(tmp_path / "other")
    write_card(other, tiny_card(other) | {"version": "2.0.0", "thresholds": {"accept": 0.1, "reject": 0.4}})
    run = Reloading(config_for(tiny_bundle), config_for(other), THREE)
    assert [line.model.version for line in run.memory.verdicts] == ["1.2.3", "2.0.0", "2.0.0"]
    assert [line.verdict for line in run.memory.verdicts] == ["maybe", "pit", "pit"]
    assert len({line.model.sha256 for line in run.memory.verdicts}) == 2


def test_a_reload_does_not_judge_a_known_cherry_again(tiny_bundle):
    top, bottom = planes_with((100, 20, PIT))
    moved = planes_with((100, 120, PIT), seed=1)
    memory = MemorySink()
    later = [config_for(tiny_bundle, runtime=RuntimeConfig(sub_batch=3))]
    hooks = Hooks(between_frames=lambda: app.reload(later.pop()) if later else None)
    frames = [(0, 0, (top, bottom)), (1, 200, moved)]
    app = App(config_for(tiny_bundle), ListSource(frames), Options(sinks=[memory], hooks=hooks), Metrics())
    app.run()
    assert [line.frame.seq for line in memory.verdicts] == [0]


@pytest.mark.parametrize("section", ["frame", "belt", "sink", "control"])
def test_a_reload_that_needs_a_restart_is_refused_and_the_old_goes_on(tiny_bundle, section):
    changes = {
        "frame": FrameConfig(height_px=HEIGHT, width_px=WIDTH + 2),
        "belt": BeltConfig(px_per_tick=0.25),
        "sink": SinkConfig(path="elsewhere.jsonl"),
        "control": ControlConfig(socket="elsewhere.sock"),
    }
    later = config_for(tiny_bundle, **{section: changes[section]}, decision=DecisionConfig(reject=0.4))
    run = Reloading(config_for(tiny_bundle), later, THREE)
    assert str(run.refusal).startswith(f"[{section}] changed: this needs a restart")
    assert [line.verdict for line in run.memory.verdicts] == ["maybe"] * 3


@pytest.mark.parametrize("key", ["queue_frames", "capture_timeout_s"])
def test_a_reload_that_would_change_the_queue_is_refused(tiny_bundle, key):
    run = Reloading(config_for(tiny_bundle), config_for(tiny_bundle, runtime=RuntimeConfig(**{key: 5})), THREE)
    assert str(run.refusal).startswith(f"[runtime] {key} changed: this needs a restart")


def test_every_section_that_a_reload_may_change_is_one():
    assert set(Config.__struct_fields__) >= RELOADABLE


def test_a_reload_takes_a_new_flood_limit_and_the_watch_forgets_nothing(tiny_bundle):
    later = config_for(tiny_bundle, segmentation=SegmentationConfig(max_foreground_share=0.01))
    run = Reloading(config_for(tiny_bundle), later, THREE)
    assert [event.event for event in run.memory.events] == ["frame_flooded", "frame_flooded"]
    planes = planes_with((100, 60, MAYBE))
    same = Reloading(
        config_for(tiny_bundle), config_for(tiny_bundle, decision=DecisionConfig(reject=0.4)), [planes] * 2
    )
    assert [event.event for event in same.memory.events] == ["frame_stuck"]


def test_a_reload_of_a_bad_model_is_refused_and_the_old_goes_on(tmp_path, tiny_bundle):
    bad = write_tiny_bundle(tmp_path / "bad", golden_shift=1.0)
    run = Reloading(config_for(tiny_bundle), config_for(bad), THREE)
    assert "golden vectors are off" in str(run.refusal)
    assert [line.verdict for line in run.memory.verdicts] == ["maybe"] * 3


def test_stop_ends_after_the_frame_in_hand(tiny_bundle):
    planes = [planes_with((100 + seed, 60, CLEAN), seed=seed) for seed in range(50)]
    memory, source = MemorySink(), ListSource(still(*planes))
    hooks = Hooks(between_frames=lambda: app.stop())  # noqa: PLW0108  there is no app yet
    app = App(config_for(tiny_bundle), source, Options(sinks=[memory], hooks=hooks), Metrics())
    app.run()
    assert len(memory.verdicts) == 1
    assert source.lent == source.given_back == 1


def test_a_live_source_counts_latency_from_mid_exposure(tiny_bundle):
    memory = MemorySink()
    source = ListSource(still(planes_with((100, 60, CLEAN))), live=True)
    App(config_for(tiny_bundle), source, Options(sinks=[memory]), Metrics()).run()
    latency = memory.verdicts[0].latency_us
    assert latency.total >= latency.capture > 1_000_000  # mid-exposure was when the clock started
    assert np.isclose(latency.total, latency.capture + latency.prepare + latency.infer + latency.decide, atol=5)
