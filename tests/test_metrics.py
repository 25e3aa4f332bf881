import math

from pitcore.metrics import BOUNDS_MS, Metrics, StageTimes


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


def test_counts_since_a_mark_exclude_earlier_ones():
    metrics = Metrics()
    metrics.count("events", "frame_black")
    metrics.count("verdicts", "clean", by=3)
    metrics.stages["infer"].add(9_000_000)
    mark = metrics.mark()
    assert metrics.labels("verdicts", mark) == {}
    metrics.count("verdicts", "clean")
    metrics.count("verdicts", "pit")
    assert metrics.labels("verdicts", mark) == {"clean": 1, "pit": 1}
    assert metrics.labels("events", mark) == {}
    assert metrics.labels("verdicts") == {"clean": 4, "pit": 1}
    assert mark.stages["infer"] == 1


def test_percentiles_since_a_mark_are_of_later_durations_only_and_survive_the_ring():
    times = StageTimes(capacity=4)
    assert times.percentiles_ms((50,)) is None
    for millisecond in range(1, 7):
        times.add(millisecond * 1_000_000)
    assert times.percentiles_ms((0, 100), since=4) == [5.0, 6.0]
    assert times.percentiles_ms((0, 100), since=6) is None
    assert times.percentiles_ms((0, 100)) == [3.0, 6.0]  # the ring has this many durations


def test_no_reader_takes_the_lock_of_those_who_count():
    metrics = Metrics()
    metrics.count("verdicts", "pit")
    with metrics._writing:  # a reader that wanted it would wait for ever
        assert metrics.value("verdicts") == metrics.value("verdicts", "pit") == 1
        assert metrics.labels("verdicts") == {"pit": 1}
        assert metrics.mark().counts == {("verdicts", "pit"): 1}


def test_every_duration_is_counted_in_its_range_also_when_the_ring_went_round():
    times = StageTimes(capacity=2)
    for duration_ns in (400_000, 500_000, 500_001, 150_000_000, 5_000_000_000):
        times.add(duration_ns)
    spread = times.spread()
    assert {place: count for place, count in enumerate(spread.counts) if count} == {
        0: 2,
        1: 1,
        BOUNDS_MS.index(150.0): 1,
        len(BOUNDS_MS): 1,
    }
    assert spread.sum_s == 5.151400001
