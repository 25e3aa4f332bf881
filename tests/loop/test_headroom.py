"""Tests the headroom with figures that can be computed by hand, for a service and for a trial."""

import msgspec
import pytest

from pitcore.config import (
    BeltConfig,
    Config,
    DisturbanceConfig,
    EmulatedSourceConfig,
    ModelConfig,
    ReplaySourceConfig,
    load_config,
)
from pitcore.loop.headroom import FrameCost, brought_per_s, cost_of, headroom_of, measure_headroom
from pitcore.metrics import FrameWork, Work
from tests.conftest import ROOT

MS = 1_000_000


def work_of(frames, *, seqs=None, each=16, judged=None, period_ms=50, network_ms=32, other_ms=2):
    """A service that judged this number of frames, the last one at 100 s."""
    work = Work()
    for index in range(frames):
        done_ns = 100_000 * MS - (frames - 1 - index) * period_ms * MS
        seq = index if seqs is None else seqs[index]
        work.add(FrameWork(done_ns, seq, each, each if judged is None else judged, network_ms * MS, other_ms * MS))
    return work


NOW_NS = 100_001 * MS


def test_headroom_is_what_the_frame_time_leaves_after_fixed_work_and_cherries():
    found = headroom_of(work_of(100), NOW_NS)
    assert found.used == pytest.approx((2 + 32) / 50)
    assert found.judges_per_s == pytest.approx((1 - 2 / 50) / 0.002)  # 2 ms a cherry
    assert found.brings_per_s == pytest.approx(16 * 20)


def test_half_the_frames_dropped_means_twice_the_load_and_more_than_all_of_the_frame_time():
    found = headroom_of(work_of(100, seqs=range(0, 200, 2)), NOW_NS)
    assert found.brings_per_s == pytest.approx(16 * 40)
    assert found.used == pytest.approx(2 * (2 + 32) / 50)
    assert found.judges_per_s < found.brings_per_s


def test_cherries_beyond_the_limit_of_a_frame_count_as_brought_and_cost_as_much_as_the_others():
    found = headroom_of(work_of(100, each=32, judged=16), NOW_NS)
    assert found.brings_per_s == pytest.approx(32 * 20)
    assert found.used == pytest.approx((2 + 64) / 50)


def test_a_restart_of_the_frame_numbers_does_not_make_the_belt_run_backwards():
    assert headroom_of(work_of(4, seqs=[7, 8, 0, 1]), NOW_NS).used == pytest.approx((2 + 32) / 50)


def test_only_the_last_minute_counts():
    work = work_of(100, network_ms=1)
    assert headroom_of(work, NOW_NS).used == pytest.approx(3 / 50)
    assert headroom_of(work, NOW_NS + 60_000 * MS) is None
    assert headroom_of(work_of(1), NOW_NS) is None
    assert headroom_of(Work(), NOW_NS) is None


def test_an_empty_belt_leaves_the_number_of_cherries_open():
    found = headroom_of(work_of(10, each=0, network_ms=0), NOW_NS)
    assert (found.used, found.judges_per_s, found.brings_per_s) == (pytest.approx(2 / 50), None, 0.0)
    assert str(found) == "4% of the frame time; no cherry was judged yet"


def test_a_machine_whose_search_alone_takes_longer_than_a_frame_judges_none():
    assert FrameCost(0.06, 0.001).headroom(20.0, 100.0).judges_per_s == 0.0


def test_the_first_frames_of_a_trial_are_left_out():
    work = work_of(2, network_ms=1000)
    for row in work_of(4).since(0):
        work.add(FrameWork(*row.tolist()))
    assert cost_of(work, 0, skip=2) == FrameCost(0.002, 0.002)
    assert cost_of(Work(), 0, skip=2) is None


def test_a_ring_that_is_full_keeps_the_last_frames_in_order():
    work = Work(capacity=4)
    for number in range(1, 8):
        work.add(FrameWork(number, number, 0, 0, 0, 0))
    assert work.since(0)[:, 1].tolist() == [4, 5, 6, 7]
    assert work.since(5)[:, 1].tolist() == [6, 7]


def test_the_belt_carries_the_reference_load_unless_the_configuration_has_another():
    assert brought_per_s(Config()) == pytest.approx(24 * 340 / 500 * 20)
    (board,) = (ROOT / "firmware_configs" / "boards").glob("pi5-*.toml")
    assert brought_per_s(load_config(board)) == pytest.approx(24 * 680 / 1088 * 10)
    assert brought_per_s(Config(belt=BeltConfig(cherries_per_s=180.0))) == 180.0
    assert brought_per_s(Config(source=ReplaySourceConfig(path="rec"))) is None


def test_a_trial_judges_cherries_here_also_where_the_drawn_belt_is_set_to_show_none(tiny_bundle):
    source = EmulatedSourceConfig(disturbance=DisturbanceConfig(shows="nothing"))
    config = Config(source=source, model=ModelConfig(bundle=str(tiny_bundle)))
    found = measure_headroom(config)
    assert found.judges_per_s > 0
    assert found.used > 0
    assert found.brings_per_s == pytest.approx(326.4)
    twice = measure_headroom(msgspec.structs.replace(config, belt=BeltConfig(cherries_per_s=652.8)))
    assert twice.brings_per_s == 652.8
    assert measure_headroom(Config(source=ReplaySourceConfig(path="rec"))) is None
