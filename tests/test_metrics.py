import math

from pitcore.metrics import Metrics, StageTimes


def test_percentiles_are_of_what_was_recorded():
    times = StageTimes()
    for millisecond in range(1, 101):
        times.add(millisecond * 1_000_000)
    assert times.count == 100
    assert times.percentile_ms(50) == 50.5
    assert times.percentile_ms(100) == 100.0


def test_an_empty_stage_has_no_percentile():
    assert math.isnan(StageTimes().percentile_ms(50))


def test_only_the_last_durations_count_when_the_ring_is_full():
    times = StageTimes(capacity=4)
    for millisecond in range(1, 9):
        times.add(millisecond * 1_000_000)
    assert times.count == 8
    assert times.percentile_ms(0) == 5.0


def test_counters_add_up_over_their_labels():
    metrics = Metrics()
    metrics.count("dropped", "queue_full")
    metrics.count("dropped", "source", by=3)
    metrics.count("other")
    assert metrics.value("dropped") == 4
    assert metrics.value("dropped", "source") == 3
    assert metrics.labels("dropped") == {"queue_full": 1, "source": 3}
    assert metrics.value("never") == 0
