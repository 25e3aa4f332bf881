"""Tests a candidate beside the live model: no verdict changes, and disagreements are counted and kept."""

import json
import os
import resource
import signal
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pitcore.capture.choose import Credit
from pitcore.capture.keeper import CropKeeper
from pitcore.config import ShadowConfig, decode_config
from pitcore.errors import ConfigError
from pitcore.loop.pipeline import Hooks
from pitcore.metrics import FrameWork, Metrics
from pitcore.model_card import Thresholds
from pitcore.shadow import beside
from pitcore.shadow.beside import Shadow, network_verdict
from pitcore.shadow.messages import CropMemory
from tests.capture.test_keeper import capture, end, kept
from tests.cli.program import assert_one_clear_line, run_pitcore, write_config
from tests.conftest import write_tiny_bundle
from tests.outputs.running import RunningService, until
from tests.page.board import HangingStarts, no_memory, verdict
from tests.patience import PATIENCE_S
from tests.scene import CLEAN, MAYBE, PIT, ListSource, config_for, planes_with, run_scene, still

SQUARES = (20, 60, CLEAN), (120, 60, PIT), (220, 60, MAYBE)


@pytest.fixture(autouse=True)
def _shares_the_cores(monkeypatch):
    """Tests run side by side on every core: there the candidate would wait for ever."""
    monkeypatch.setattr(beside, "IDLE", False)


@pytest.fixture
def candidate(tmp_path):
    """The network of the tiny bundle with other thresholds: what that calls maybe, this one calls pit."""
    return other(tmp_path / "candidate")


def other(directory, intercept=0.0):
    write_tiny_bundle(directory)
    card = json.loads((directory / "card.json").read_text())
    card |= {"name": "candidate", "thresholds": {"accept": 0.5, "reject": 0.5}}
    card["calibration"]["intercept"] = intercept
    (directory / "card.json").write_text(json.dumps(card))
    return directory


@contextmanager
def beside_scene(bundle, candidate, keeper=None, **keys):
    """A started candidate; yields it and its hooks, which let no frame come before the last one is compared."""
    keys = {"enabled": True, "bundle": str(candidate), "share": 1.0} | keys
    config = config_for(bundle, shadow=ShadowConfig(**keys))
    shadow = Shadow(config, keeper, Metrics())
    try:
        shadow.publish(SimpleNamespace(app=SimpleNamespace(config=config)))

        def compared():
            until(lambda: not shadow._holds, "answer of the candidate")

        keepers = [one for one in (keeper, shadow) if one is not None]
        yield shadow, Hooks(between_frames=compared, keepers=keepers)
    finally:
        shadow.close()


def ready(shadow):
    until(lambda: shadow._works, "candidate")


def frames(number):
    return [planes_with(*((x, 60 + at, level) for x, _, level in SQUARES), seed=at) for at in range(number)]


def test_verdict_lines_are_byte_equal_with_a_candidate_that_disagrees(tiny_bundle, candidate):
    alone, _, _ = run_scene(ListSource(still(*frames(6))), config_for(tiny_bundle), timings=False)
    with beside_scene(tiny_bundle, candidate) as (shadow, hooks):
        ready(shadow)
        both, _, _ = run_scene(ListSource(still(*frames(6))), config_for(tiny_bundle), timings=False, hooks=hooks)
        told = shadow.status()
    assert both.verdicts == alone.verdicts
    assert (told["frames"], told["cherries"], told["disagree"], told["maybe_to_pit"]) == (6, 18, 6, 6)


def test_a_model_never_disagrees_with_itself(tiny_bundle):
    touching = planes_with((20, 60, CLEAN), (76, 60, PIT), (200, 60, CLEAN))
    with beside_scene(tiny_bundle, tiny_bundle) as (shadow, hooks):
        ready(shadow)
        memory, _, _ = run_scene(ListSource(still(*frames(2), touching)), config_for(tiny_bundle), hooks=hooks)
        told = shadow.status()
    assert "touching" in {line.reason for line in memory.verdicts}
    assert (told["cherries"], told["disagree"]) == (len(memory.verdicts), 0)


def test_a_disagreement_is_kept_once_with_both_verdicts_and_within_the_limit(tmp_path, tiny_bundle, candidate):
    keeper = CropKeeper(
        capture(tmp_path / "ring", random_share=0.0, doubtful_per_minute=1.0, near_log_odds=0.0), "0a" * 16
    )
    with beside_scene(tiny_bundle, candidate, keeper, kept_per_minute=3.0) as (shadow, hooks):
        ready(shadow)
        memory, _, _ = run_scene(ListSource(still(*frames(6))), config_for(tiny_bundle), hooks=hooks)
    end(keeper)
    files = kept(tmp_path / "ring")
    boxes = [(record.verdict.frame.seq, record.verdict.box) for _, record, _ in files]
    assert len(boxes) == len(set(boxes)) == 4  # a maybe of the first frame as doubtful, then three that differ
    assert keeper.status()["shadow"] == 3
    for _, record, pixels in files[1:]:
        assert record.why == ("shadow",)
        assert (record.verdict.verdict, record.candidate.verdict) == ("maybe", "pit")
        assert record.candidate.p_pit == record.verdict.probabilities["pit"]
        assert (record.candidate.accept, record.candidate.reject) == (0.5, 0.5)
        assert record.candidate.model.name == "candidate"
        assert (pixels[..., 0] == MAYBE).all()
    assert {line.verdict for line in memory.verdicts} == {"clean", "maybe", "pit"}


def test_the_candidate_judges_its_share_of_the_frames(tiny_bundle, candidate):
    with beside_scene(tiny_bundle, candidate, share=0.1) as (shadow, hooks):
        ready(shadow)
        run_scene(ListSource(still(*frames(40))), config_for(tiny_bundle), hooks=hooks)
        told = shadow.status()
    assert (told["frames"], told["passed_over"]) == (4, 0)


def test_of_the_frames_that_find_the_candidate_busy_only_its_share_counts_as_passed_over(tiny_bundle, candidate):
    with beside_scene(tiny_bundle, candidate, share=0.1) as (shadow, _):
        ready(shadow)
        os.kill(shadow._process.pid, signal.SIGSTOP)
        run_scene(ListSource(still(*frames(40))), config_for(tiny_bundle), hooks=Hooks(keepers=[shadow]))
        assert shadow.status()["passed_over"] == 3  # the 20th, 30th and 40th; the 10th waits for its answer
        os.kill(shadow._process.pid, signal.SIGCONT)


def test_a_bug_in_the_comparison_is_reported_and_the_candidate_comes_back(monkeypatch, caplog, tiny_bundle, candidate):
    monkeypatch.setattr(beside, "RETRY_S", 0.1)
    with beside_scene(tiny_bundle, candidate) as (shadow, hooks):
        ready(shadow)
        with monkeypatch.context() as broken:
            broken.setattr(beside, "judge", None)
            run_scene(ListSource(still(*frames(1))), config_for(tiny_bundle), hooks=hooks)
            until(lambda: "[shadow] TypeError; the log has the traceback" in caplog.text, "report")
            until(lambda: shadow.status()["state"] == "ok", "candidate")
        ready(shadow)
        run_scene(ListSource(still(*frames(2))), config_for(tiny_bundle), hooks=hooks)
        assert shadow.status()["cherries"] == 6


def test_the_candidate_runs_only_when_no_other_program_needs_the_core(monkeypatch, tiny_bundle, candidate):
    monkeypatch.setattr(beside, "IDLE", True)
    with beside_scene(tiny_bundle, candidate) as (shadow, _):
        pid = until(lambda: shadow._process, "process").pid
        until(lambda: os.sched_getscheduler(pid) == os.SCHED_IDLE, "scheduling")
        until(lambda: Path(f"/proc/{pid}/oom_score_adj").read_text() == "800\n", "score")


def test_the_loop_takes_no_memory_when_it_copies_the_first_cherries():
    fd = os.memfd_create("crops")
    os.ftruncate(fd, CropMemory.size(128, 2))
    crops = CropMemory(fd, 128, 2).crops
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    crops[:] = 1
    taken = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before
    os.close(fd)
    assert taken * resource.getpagesize() < crops.nbytes / 10


def test_the_candidate_pauses_while_the_loop_is_busy(tiny_bundle, candidate):
    with beside_scene(tiny_bundle, candidate) as (shadow, hooks):
        ready(shadow)
        now_ns = beside.time.monotonic_ns()
        for seq in range(100):  # 10 ms of work in every 11
            done_ns = now_ns - (100 - seq) * 11_000_000
            shadow._metrics.work.add(FrameWork(done_ns, seq, 3, 3, 9_000_000, 1_000_000))
        until(lambda: shadow.status()["paused"], "pause")
        run_scene(ListSource(still(*frames(5))), config_for(tiny_bundle), hooks=hooks)
        told = shadow.status()
    assert (told["frames"], told["passed_over"]) == (0, 5)


def test_a_frame_that_finds_the_candidate_busy_is_passed_over_and_its_crops_stay(tiny_bundle, candidate):
    with beside_scene(tiny_bundle, candidate) as (shadow, _):
        ready(shadow)
        os.kill(shadow._process.pid, signal.SIGSTOP)  # it hangs, and the belt runs on
        memory, _, _ = run_scene(ListSource(still(*frames(5))), config_for(tiny_bundle), hooks=Hooks(keepers=[shadow]))
        assert len(memory.verdicts) == 15
        assert shadow.status()["passed_over"] == 4
        os.kill(shadow._process.pid, signal.SIGCONT)
        until(lambda: shadow.status()["frames"], "answer")
        told = shadow.status()
    assert (told["frames"], told["cherries"], told["maybe_to_pit"]) == (1, 3, 1)


def test_a_candidate_that_is_killed_comes_back_and_the_belt_is_judged_meanwhile(monkeypatch, tiny_bundle, candidate):
    monkeypatch.setattr(beside, "RETRY_S", 0.1)
    with beside_scene(tiny_bundle, candidate) as (shadow, hooks):
        ready(shadow)
        first = shadow._process.pid
        os.kill(first, signal.SIGKILL)
        memory, _, _ = run_scene(ListSource(still(*frames(3))), config_for(tiny_bundle), hooks=Hooks(keepers=[shadow]))
        assert len(memory.verdicts) == 9
        until(lambda: shadow._works and getattr(shadow._process, "pid", first) != first, "candidate")
        until(lambda: not shadow._holds, "answer")
        before = shadow.status()["frames"]
        run_scene(ListSource(still(*frames(2))), config_for(tiny_bundle), hooks=hooks)
        told = shadow.status()
    assert (told["state"], told["frames"] - before) == ("ok", 2)


HANGS = "its process said nothing for 0.2 s and is ended"


def test_a_candidate_that_hangs_at_its_start_is_ended_and_started_again(monkeypatch, caplog, tiny_bundle, candidate):
    monkeypatch.setattr(beside, "RETRY_S", 0.1)
    monkeypatch.setattr(beside, "SILENT_S", 0.2)
    with closing(HangingStarts(monkeypatch)) as hanging, beside_scene(tiny_bundle, candidate) as (shadow, _):
        ready(shadow)
        assert [process.returncode for process in hanging.processes] == [-signal.SIGKILL] * 2
    assert (hanging.told["state"], hanging.told["reason"]) == ("failing", HANGS)
    assert f"[shadow] {HANGS}; it is tried again every 0.1 s. The belt is judged without it." in caplog.text


def test_a_candidate_that_hangs_at_a_frame_is_ended_and_started_again(monkeypatch, tiny_bundle, candidate):
    monkeypatch.setattr(beside, "RETRY_S", 0.1)
    with beside_scene(tiny_bundle, candidate) as (shadow, _):
        ready(shadow)
        first, patient = shadow._process, shadow._child
        os.kill(first.pid, signal.SIGSTOP)
        shadow._child = replace(patient, silent_s=0.2)
        run_scene(ListSource(still(*frames(1))), config_for(tiny_bundle), hooks=Hooks(keepers=[shadow]))
        reason = until(lambda: shadow.status().get("reason"), "failure")
        shadow._child = patient
        assert reason == HANGS
        until(lambda: first.returncode is not None, "end of the first process")
        ready(shadow)
        assert first.returncode == -signal.SIGKILL


def test_status_is_starting_until_the_candidate_is_ready(tiny_bundle, candidate):
    config = config_for(tiny_bundle, shadow=ShadowConfig(enabled=True, bundle=str(candidate)))
    shadow = Shadow(config, None, Metrics())
    assert shadow.status()["state"] == "starting"
    shadow.close()
    with beside_scene(tiny_bundle, candidate) as (shadow, _):
        ready(shadow)
        assert shadow.status()["state"] == "ok"


def test_shadow_without_shared_memory_is_reported_as_failing_and_tried_again(
    monkeypatch, caplog, tiny_bundle, candidate
):
    monkeypatch.setattr(beside, "RETRY_S", 0.1)
    with monkeypatch.context() as full:
        full.setattr(os, "memfd_create", no_memory)
        with beside_scene(tiny_bundle, candidate) as (shadow, hooks):
            until(lambda: shadow.status()["state"] == "failing", "reason")
            assert "cannot be created: Cannot allocate memory" in shadow.status()["reason"]
            assert "out of processes, files or memory" in caplog.text
            assert "bundle" not in caplog.text
            keepers = Hooks(keepers=[shadow])
            memory, _, _ = run_scene(ListSource(still(*frames(2))), config_for(tiny_bundle), hooks=keepers)
            assert len(memory.verdicts) == 6
            full.undo()
            ready(shadow)
            run_scene(ListSource(still(*frames(2))), config_for(tiny_bundle), hooks=hooks)
            assert (shadow.status()["state"], shadow.status()["cherries"]) == ("ok", 6)


def test_a_bug_at_the_start_is_reported_and_the_candidate_is_started_again(monkeypatch, caplog, tiny_bundle, candidate):
    monkeypatch.setattr(beside, "RETRY_S", 0.1)
    with monkeypatch.context() as broken:
        broken.setattr("pitcore.sinks.child_output.start_child", None)
        with beside_scene(tiny_bundle, candidate) as (shadow, _):
            until(lambda: shadow.status()["state"] == "failing", "reason")
            assert shadow.status()["reason"] == "TypeError; the log has the traceback"
            assert "Traceback" in caplog.text
            broken.undo()
            ready(shadow)


def test_a_connection_that_fails_is_not_reported_as_a_process_that_ended(tiny_bundle, tmp_path):
    too_long = tmp_path / ("x" * (1 << 23))  # more than a socket sends as one message
    with beside_scene(tiny_bundle, too_long) as (shadow, _):
        until(lambda: shadow.status()["state"] == "failing", "reason")
        assert shadow.status()["reason"] == "the connection to its process failed: Message too long"


def test_a_candidate_that_cannot_be_used_is_reported_in_one_line_and_the_belt_is_judged(tmp_path, tiny_bundle, caplog):
    torn = write_tiny_bundle(tmp_path / "torn")
    (torn / "model.onnx").write_bytes(b"torn")
    shifted = write_tiny_bundle(tmp_path / "shifted", golden_shift=0.5)
    for bundle, said in (
        (tmp_path / "none", "no model bundle"),
        (torn, "altered"),
        (shifted, "golden vectors are off"),
    ):
        with beside_scene(tiny_bundle, bundle) as (shadow, hooks):
            until(lambda: shadow.status()["state"] == "failing", "reason")
            memory, _, _ = run_scene(ListSource(still(*frames(1))), config_for(tiny_bundle), hooks=hooks)
            reason = shadow.status()["reason"]
        assert len(memory.verdicts) == 3
        assert said in reason
        assert "\n" not in reason
        assert "The belt is judged without it. Correct [shadow] bundle." in caplog.messages[-1]


SERVICE = """
[shadow]
enabled = true
bundle = "{bundle}"
share = 1.0

[metrics]
enabled = true
port = 0
"""


def test_the_status_shows_the_candidate_and_counts_restart_with_another_model(tmp_path, tiny_bundle, monkeypatch):
    monkeypatch.setattr(Shadow, "_must_pause", lambda _: False)  # the loop of a slow machine may be busy all the time
    candidate = other(tmp_path / "candidate", intercept=12.0)  # drawn cherries have a margin of about -12
    with RunningService(tmp_path, tiny_bundle, SERVICE.format(bundle=candidate)) as service:
        until(lambda: service.sink("shadow")["cherries"] > 30, "cherries")
        told = service.sink("shadow")
        assert told["state"] == "ok"
        assert told["candidate"].startswith("candidate@1.2.3 (")
        assert told["disagree"] > 0
        assert "clean_to_pit" in told
        counts = service.metrics.labels("shadow")
        assert sum(counts.values()) >= told["cherries"]
        service.text = service.text.replace(str(tiny_bundle), str(candidate))  # the candidate becomes the model
        assert service.reloader.ask_and_wait("test", PATIENCE_S).state == "ok"
        until(lambda: service.metrics.labels("shadow_frames")["judged"] and _same_model(service), "comparison")
        assert service.sink("shadow")["disagree"] == 0


def _same_model(service):
    told = service.sink("shadow")
    return told["cherries"] > 30 and service.app.bundle.card.name == "candidate" and not told["disagree"]


def test_the_comparison_uses_verdicts_without_fail_safe():
    at = Thresholds(accept=0.2, reject=0.8)
    assert network_verdict(verdict("maybe", pit=0.01, reason="failsafe"), at) == "clean"
    assert network_verdict(verdict("maybe", pit=0.01, reason="touching"), at) == "maybe"
    assert network_verdict(verdict("maybe", pit=None, reason="not_finite"), at) == "maybe"
    assert network_verdict(verdict("pit", pit=0.9, reason="touching"), at) == "pit"


def test_credit_allows_its_limit_a_minute_and_saves_at_most_one_minute():
    credit = Credit(2.0)
    assert [credit.take(1000.0) for _ in range(3)] == [True, True, False]
    assert [credit.take(1030.0) for _ in range(2)] == [True, False]
    assert [credit.take(9000.0) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(("per_minute", "kept"), [(0.0, 0), (0.5, 31), (0.9, 55), (1.0, 61)])
def test_a_limit_below_one_a_minute_keeps_one_from_time_to_time(per_minute, kept):
    credit = Credit(per_minute)
    assert sum(credit.take(float(second)) for second in range(3601)) == pytest.approx(kept, abs=1)


def test_a_candidate_without_a_bundle_is_refused_with_the_key():
    with pytest.raises(ConfigError, match=r"shadow.*bundle is missing"):
        decode_config("[shadow]\nenabled = true\n", "board.toml")


def test_config_check_loads_the_candidate_and_names_it_or_what_is_wrong_with_it(tmp_path, tiny_bundle, candidate):
    extra = '\n[shadow]\nenabled = true\nbundle = "{}"\n'
    good = write_config(tmp_path / "good.toml", tiny_bundle, extra=extra.format(candidate))
    assert "shadow      candidate@1.2.3" in run_pitcore("config", "check", good).stdout
    bad = write_config(tmp_path / "bad.toml", tiny_bundle, extra=extra.format(tmp_path / "none"))
    assert_one_clear_line(run_pitcore("config", "check", bad), "none", "no model bundle")
