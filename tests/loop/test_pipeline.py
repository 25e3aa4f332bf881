import json
import threading

import numpy as np
import pytest
from onnx import TensorProto

from pitcore.config import DecisionConfig, FrameConfig, RuntimeConfig
from pitcore.errors import ConfigError, FrameError, SinkError, SourceError
from pitcore.frame import Geometry
from pitcore.loop.app import App, Options
from pitcore.loop.pipeline import Hooks
from pitcore.metrics import Metrics
from pitcore.model_card import ModelCard
from pitcore.preprocess.prepare import CropSpec, crop_from_image
from pitcore.sinks.jsonl import JsonlSink
from pitcore.sinks.memory import MemorySink
from pitcore.sinks.sink import Notice
from pitcore.verdict import Verdict, encode_lines
from tests.conftest import SIZE, tiny_card, tiny_network, write_card, write_tiny_bundle
from tests.scene import (
    CLEAN,
    GEOMETRY,
    HEIGHT,
    MAYBE,
    PIT,
    PX_PER_TICK,
    SIDE,
    WIDTH,
    ListSource,
    config_for,
    planes_with,
    run_scene,
    still,
)


def moving(squares, ticks):
    """Frames of squares (x, belt position of the upper edge, level), seen at these encoder ticks."""
    frames = []
    for seq, tick in enumerate(ticks):
        placed = [(x, round(tick * PX_PER_TICK) - position, level) for x, position, level in squares]
        frames.append((seq, tick, planes_with(*placed, seed=seq)))
    return frames


def said(memory):
    return [(line.verdict, line.reason) for line in memory.verdicts]


def test_each_square_gets_the_computed_verdict(tiny_bundle):
    planes = planes_with((20, 60, CLEAN), (120, 60, PIT), (220, 60, MAYBE))
    memory, metrics, app = run_scene(ListSource(still(planes)), config_for(tiny_bundle))
    expected = []
    for level in (CLEAN, PIT, MAYBE):
        margin = (level * SIDE**2 / SIZE**2 - 100) / 4
        expected.append(round(1 / (1 + np.exp(-margin)), 6))
    lines = [json.loads(line) for line in encode_lines(memory.verdicts).splitlines()]
    assert [(line["verdict"], line["code"], line["action"], line["reason"]) for line in lines] == [
        ("clean", 1, "pass", None),
        ("pit", 2, "reject", None),
        ("maybe", 5, "review", "uncertain"),
    ]
    assert [line["probabilities"]["pit"] for line in lines] == pytest.approx(expected, abs=2e-6)
    assert [line["box"] for line in lines] == [[20, 60, SIDE, SIDE], [120, 60, SIDE, SIDE], [220, 60, SIDE, SIDE]]
    assert lines[0]["frame"] == {"seq": 0, "t_ns": 0, "clock": "monotonic"}
    assert lines[0]["model"] == {"name": "tiny", "version": "1.2.3", "sha256": app.bundle.sha256}
    assert lines[0]["config"] == app.config.sha256
    assert metrics.labels("verdicts") == {"clean": 1, "maybe": 1, "pit": 1}


def test_overlapping_frames_give_one_verdict_a_cherry(tiny_bundle):
    squares = [(20 + 90 * (k % 3), 30 + 70 * k, PIT if k % 2 else CLEAN) for k in range(20)]
    frames = moving(squares, range(0, 3600, 200))  # 100 px of 200 at a time
    memory, metrics, _ = run_scene(ListSource(frames), config_for(tiny_bundle))
    assert sorted(said(memory)) == [("clean", None)] * 10 + [("pit", None)] * 10
    assert metrics.value("things_known") >= 10


def test_a_square_that_was_never_whole_is_judged_and_never_clean(tiny_bundle):
    frames = moving([(100, 48, CLEAN)], [40, 406])  # entering, then leaving: 28 px, then 45 px of it in view
    memory, _, _ = run_scene(ListSource(frames), config_for(tiny_bundle))
    assert said(memory) == [("maybe", "cut")]


def test_a_cherry_that_left_between_two_frames_is_reported_as_unseen(tiny_bundle):
    frames = moving([(100, 48, CLEAN)], [40, 600])
    memory, _, _ = run_scene(ListSource(frames), config_for(tiny_bundle))
    assert said(memory) == [("maybe", "unseen")]
    assert memory.verdicts[0].probabilities is None


def test_a_cherry_that_was_entering_when_the_belt_ended_is_unseen(tiny_bundle):
    memory, _, _ = run_scene(ListSource(moving([(100, 48, CLEAN)], [40])), config_for(tiny_bundle))
    assert said(memory) == [("maybe", "unseen")]


def test_a_square_cut_by_the_side_edge_is_side_and_not_shown_to_the_network(tiny_bundle):
    memory, metrics, _ = run_scene(ListSource(still(planes_with((-20, 60, PIT)))), config_for(tiny_bundle))
    assert [(line.verdict, line.code, line.probabilities) for line in memory.verdicts] == [("side", 3, None)]
    assert metrics.value("crops") == 0


def test_touching_squares_are_never_clean(tiny_bundle):
    planes = planes_with((20, 60, CLEAN), (20 + SIDE, 70, CLEAN))
    memory, _, _ = run_scene(ListSource(still(planes)), config_for(tiny_bundle))
    assert said(memory) == [("maybe", "touching")]


def test_dark_things_are_foreign(tiny_bundle):
    memory, _, _ = run_scene(ListSource(still(planes_with((100, 60, 30)))), config_for(tiny_bundle))
    assert said(memory) == [("maybe", "foreign")]


def test_an_empty_frame_gives_no_event(tiny_bundle):
    frames = still(planes_with(), planes_with(), planes_with((100, 60, PIT)))
    memory, metrics, _ = run_scene(ListSource(frames), config_for(tiny_bundle))
    assert said(memory) == [("pit", None)]
    assert memory.events == []
    assert metrics.value("frames") == 3


@pytest.mark.parametrize(("level", "event"), [(255, "frame_flooded"), (0, "frame_black")])
def test_a_frame_all_white_or_black_is_an_event_and_the_belt_goes_on(tiny_bundle, level, event):
    bad = (np.full((HEIGHT, WIDTH), level, np.uint8), np.full((HEIGHT, WIDTH), level, np.uint8))
    source = ListSource(still(planes_with((100, 60, PIT)), bad, planes_with((100, 60, CLEAN), seed=1)))
    memory, metrics, _ = run_scene(source, config_for(tiny_bundle))
    assert [(found.event, found.seq) for found in memory.events] == [(event, 1), ("belt_gap", 2)]
    assert said(memory) == [("pit", None), ("clean", None)]
    assert metrics.value("events", event) == 1
    assert source.given_back == source.lent == 3


def test_a_hung_camera_is_noticed_and_its_picture_not_judged_again(tiny_bundle):
    planes = planes_with((100, 60, PIT))
    memory, _, _ = run_scene(ListSource(still(planes, planes)), config_for(tiny_bundle))
    assert said(memory) == [("pit", None)]
    assert [found.event for found in memory.events] == ["frame_stuck"]


def test_lost_and_repeated_frames_are_counted(tiny_bundle):
    frames = still(*[planes_with(seed=seed) for seed in range(6)])
    _, metrics, _ = run_scene(ListSource([frames[k] for k in (0, 1, 1, 4, 5)]), config_for(tiny_bundle))
    assert metrics.value("events", "frames_lost") == 2
    assert metrics.value("event_lines", "frames_lost") == 1
    assert metrics.value("events", "frame_repeated") == 1


def test_two_thousand_cherries_in_one_frame_each_get_a_verdict(tiny_bundle):
    top, bottom = planes_with(height=500, width=2464)
    for row in range(40):
        for column in range(50):
            here = np.s_[3 + row * 12 : 13 + row * 12, 4 + column * 49 : 36 + column * 49]
            top[here], bottom[here] = 100, 120
    geometry = Geometry(("top", "bottom"), 500, 2464, PX_PER_TICK)
    config = config_for(tiny_bundle, frame=FrameConfig(), runtime=RuntimeConfig(max_cherries=64))
    memory, metrics, _ = run_scene(ListSource([(0, 0, (top, bottom))], geometry=geometry), config)
    assert len(memory.verdicts) == 2000
    assert metrics.labels("reasons") == {"overload": 1936, "foreign": 64}
    assert metrics.labels("verdicts") == {"maybe": 2000}
    assert [(found.event, found.count) for found in memory.events] == [("overload", 1936)]


def test_a_float_model_gets_the_crops_that_an_int8_model_gets(tmp_path, tiny_bundle):
    bundle = write_tiny_bundle(tmp_path / "float", network=tiny_network(dtype=TensorProto.FLOAT))
    with np.load(bundle / "golden.npz") as golden:
        crops, logits = golden["crops"], golden["logits"]
    np.savez(bundle / "golden.npz", crops=crops.astype(np.float32), logits=logits)
    write_card(bundle, tiny_card(bundle) | {"dtype": "float32"})
    frames = still(planes_with((20, 60, CLEAN), (120, 60, PIT), (220, 60, MAYBE)))
    as_float, _, _ = run_scene(ListSource(frames), config_for(bundle))
    as_bytes, _, _ = run_scene(ListSource(frames), config_for(tiny_bundle))
    assert [line.probabilities for line in as_float.verdicts] == [line.probabilities for line in as_bytes.verdicts]


def test_the_belt_and_a_single_picture_show_the_network_the_same_pixels(tiny_bundle):
    top, bottom = planes_with((100, 60, PIT))
    seen = []
    source = ListSource(still((top, bottom)))
    _, _, app = run_scene(source, config_for(tiny_bundle), hooks=Hooks(observe=lambda frame: seen.append(frame.seq)))
    card: ModelCard = app.bundle.card
    image = np.zeros((SIDE, SIDE, 2), np.uint8)
    image[..., 0], image[..., 1] = PIT, 120
    single = crop_from_image(image, CropSpec(card.crop_size_px, card.resize, 2))
    on_belt = app._pipeline._stages.session.batch[0]
    assert seen == [0]
    assert np.array_equal(single, on_belt)


def test_without_timings_two_runs_are_equal_byte_for_byte(tiny_bundle):
    frames = moving([(40, 30, PIT), (150, 160, CLEAN), (230, 90, MAYBE)], range(0, 800, 200))
    runs = [
        encode_lines(run_scene(ListSource(frames), config_for(tiny_bundle), timings=False)[0].verdicts)
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert runs[0].count(b"\n") == 3
    assert b'"latency_us":null' in runs[0]


def test_latencies_are_there_and_add_up(tiny_bundle):
    memory, metrics, _ = run_scene(ListSource(still(planes_with((100, 60, PIT)))), config_for(tiny_bundle))
    latency = memory.verdicts[0].latency_us
    parts = (latency.prepare, latency.infer, latency.decide)
    assert all(part >= 0 for part in parts)
    assert sum(parts) <= latency.total <= sum(parts) + 4  # each is cut to whole microseconds
    assert metrics.stages["total"].count == metrics.stages["infer"].count == 1


def test_a_source_that_breaks_gives_every_frame_back_and_closes_the_sinks(tiny_bundle, tmp_path):
    source = ListSource(still(planes_with((100, 60, PIT))), fail_at=1)
    source.failure = SourceError("camera top: cable pulled")
    metrics = Metrics()
    sink = JsonlSink(tmp_path / "v.jsonl", rotate_bytes=1 << 20, keep=1, metrics=metrics)
    with pytest.raises(SourceError, match="cable pulled"):
        App(config_for(tiny_bundle), source, Options(sinks=[sink]), metrics).run()
    assert (tmp_path / "v.jsonl").read_text().count("\n") == 1
    assert sink._fd == -1
    assert source.closed
    assert source.given_back == 1


def test_a_sink_that_fails_to_close_does_not_keep_the_others_open(tiny_bundle):
    closed = []

    class Sink:
        def __init__(self, error):
            self._error = error

        def emit(self, records):
            pass

        def close(self):
            closed.append(self)
            if self._error:
                raise self._error

    sinks = [Sink(None), Sink(SinkError("disk full")), Sink(None)]
    with pytest.raises(SinkError, match="disk full"):
        App(config_for(tiny_bundle), ListSource([]), Options(sinks=sinks), Metrics()).run()
    assert len(closed) == 3


def test_a_frame_of_another_shape_than_configured_ends_the_run_with_the_fix(tiny_bundle):
    source = ListSource(still(planes_with(height=100)))
    with pytest.raises(FrameError, match=r"set \[frame\] to what the source gives"):
        run_scene(source, config_for(tiny_bundle))
    assert source.given_back == 1


def test_a_geometry_other_than_configured_is_refused_before_the_first_frame(tiny_bundle):
    source = ListSource(still(planes_with()))
    with pytest.raises(ConfigError, match=r"planes top, bottom of 200x320 px at 0\.5 px a tick"):
        run_scene(source, config_for(tiny_bundle, frame=FrameConfig()))
    assert source.lent == 0
    assert source.geometry == GEOMETRY


def test_stricter_thresholds_of_the_board_are_in_force(tiny_bundle):
    frames = still(planes_with((100, 60, MAYBE)))
    memory, _, _ = run_scene(ListSource(frames), config_for(tiny_bundle, decision=DecisionConfig(reject=0.4)))
    assert said(memory) == [("pit", None)]


def test_events_of_other_threads_are_written_with_the_next_frame_and_at_the_end(tiny_bundle):
    memory, frames = MemorySink(), still(planes_with((100, 60, CLEAN)), planes_with((101, 60, CLEAN)))
    notes = [("armed", "armed by anna"), ("disarmed", "disarmed by bert")]
    hooks = Hooks(between_frames=lambda: app.note(*notes.pop(0)))
    app = App(config_for(tiny_bundle), ListSource(frames), Options(sinks=[memory], hooks=hooks), Metrics())
    app.run()
    assert [(event.seq, event.event, event.detail) for event in memory.events] == [
        (1, "armed", "armed by anna"),
        (1, "disarmed", "disarmed by bert"),
    ]


class Valves(MemorySink):
    """A belt sink that records the order of its calls."""

    def __init__(self):
        super().__init__()
        self.told, self.waiting_px = [], []
        self._notices = [Notice("reject_late", "2 verdicts came late", 2)]

    def emit(self, records):
        super().emit(records)
        self.told += [record.verdict for record in records if isinstance(record, Verdict)]

    def judged(self, tick, t_ns, waiting_px=0):
        assert t_ns % 50_000_000 == 0  # of the frame, as ListSource stamps it
        self.told.append(tick)
        self.waiting_px.append(waiting_px)

    def notices(self):
        notices, self._notices = self._notices, []
        return notices


def test_valves_get_the_judged_belt_after_its_verdicts_and_only_of_searched_frames(tiny_bundle):
    black = (np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8))
    frames = still(planes_with((100, 60, PIT)), black, planes_with((100, 60, CLEAN), seed=1), planes_with(seed=2))
    valves, metrics = Valves(), Metrics()
    App(config_for(tiny_bundle), ListSource(frames), Options([valves], belt_sink=valves), metrics).run()
    ticks = [tick for _, tick, _ in frames]
    assert valves.told == ["pit", ticks[0], "clean", ticks[2], ticks[3]]
    late = [found for found in valves.events if found.event == "reject_late"]
    assert [(found.seq, found.count, found.detail) for found in late] == [(0, 2, "2 verdicts came late")]
    assert metrics.value("events", "reject_late") == 2


def test_things_that_wait_at_the_entry_edge_count_as_unjudged_for_the_valves(tiny_bundle):
    frames = [(0, 0, planes_with((100, -20, PIT))), (1, 120, planes_with((100, 40, PIT), seed=1))]
    valves, metrics = Valves(), Metrics()
    App(config_for(tiny_bundle), ListSource(frames), Options([valves], belt_sink=valves), metrics).run()
    assert valves.told == [0, "pit", 120]
    assert valves.waiting_px == [pytest.approx(36, abs=2), 0]
    assert metrics.value("crops") == 1


class StandingBelt(ListSource):
    """A live source whose camera is triggered by a belt that does not move."""

    def __init__(self):
        super().__init__([], live=True)
        self._over = threading.Event()

    def read(self, timeout_s):  # noqa: ARG002  the source's own business while the belt is stopped
        self._over.wait(60.0)

    def close(self):
        super().close()
        self._over.set()


class BrokenValves(Valves):
    def notices(self):
        raise SinkError("the valve process is gone")


def test_a_missing_valve_process_ends_the_service_even_without_frames(tiny_bundle):
    source, valves = StandingBelt(), BrokenValves()
    app = App(config_for(tiny_bundle), source, Options([valves], belt_sink=valves), Metrics())
    with pytest.raises(SinkError, match="the valve process is gone"):
        app.run()
    assert source.closed


def test_a_cherry_for_which_the_network_gives_no_number_is_never_clean_and_leaves_an_event(tmp_path):
    bundle = write_tiny_bundle(tmp_path / "nan", tiny_network(nan_below=95.0))
    memory, metrics, _ = run_scene(ListSource(still(planes_with((20, 60, CLEAN), (120, 60, PIT)))), config_for(bundle))
    assert said(memory) == [("maybe", "not_finite"), ("pit", None)]
    assert [line.probabilities is None for line in memory.verdicts] == [True, False]
    (event,) = [event for event in memory.events if event.event == "logits_not_finite"]
    assert (event.count, metrics.labels("reasons")) == (1, {"not_finite": 1})
    assert b'"probabilities":null' in encode_lines(memory.verdicts).splitlines()[0]
