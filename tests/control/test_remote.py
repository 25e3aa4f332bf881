"""Tests what the updater makes of the service's counts of faults."""

from pitcore.control.remote import health_of
from pitcore.control.status import since_model
from pitcore.metrics import Metrics

LOOSE_CABLE = ("frames_lost", 30), ("belt_gap", 1), ("not_judging", 1), ("not_judging_cleared", 1)


def health(*events):
    metrics = Metrics()
    mark = metrics.mark()
    metrics.count("judged", by=1000)
    for name, concerned in events:
        metrics.count("events", name, concerned)
        metrics.count("event_lines", name)
    return health_of("1" * 64, since_model(metrics, mark))


def test_one_fault_of_the_machine_counts_once_however_many_frames_it_concerns():
    found = health(*LOOSE_CABLE, ("encoder_glitch", 5000), ("armed", 1))
    assert (found.frames, found.model_faults, found.faults) == (1000, 0, 4)


def test_each_frame_that_was_dropped_counts_but_a_burst_is_one_fault_of_the_model():
    found = health(("frames_dropped", 30), ("logits_not_finite", 4), ("reject_late", 2), ("reload_ok", 1))
    assert (found.model_faults, found.faults) == (3, 36)
