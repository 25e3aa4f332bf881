import pytest
from click.testing import CliRunner

from pitcore.bench.load import Load
from pitcore.bench.swaps import WARM_UP_SWAPS, SwapTrial, swap_trial, text
from pitcore.cli.bench import MISSED, bench
from pitcore.config import Config, EmulatedSourceConfig, FrameConfig
from pitcore.control.memory import keep_large_blocks_apart

SMALL = Config(
    frame=FrameConfig(height_px=240, width_px=640), source=EmulatedSourceConfig(advance_px=120, cherries_per_frame=4.0)
)


def test_ten_swaps_of_the_default_model_lose_nothing_and_every_line_names_its_model():
    keep_large_blocks_apart()  # as the service does
    trial = swap_trial(SMALL, Load(4, None, 1.0), 10)
    assert trial.failures == []
    assert trial.offered == trial.processed > 0
    assert trial.changes == 10 + WARM_UP_SWAPS
    assert (trial.strangers, trial.refused) == (0, 0)
    assert len(trial.verdicts) == 2
    assert min(trial.verdicts.values()) > 0
    assert len(trial.rss_mb) == 11
    assert "  passed" in text(trial, Load(4, None, 1.0))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"refused": 1}, "1 swaps refused"),
        ({"dropped": 2, "offered": 12}, "2 frames lost"),
        ({"dropped": 2, "offered": 12, "gone_before": 1}, "2 frames lost (1 before any swap"),
        ({"offered": 11}, "frames unaccounted for"),
        ({"strangers": 3}, "3 lines name a model that was not in force"),
        ({"changes": 4}, "4 changes of model"),
        ({"rss_mb": [100.0] * 10 + [106.0] * 10}, "memory grew by 6.0%"),
    ],
)
def test_every_violated_condition_is_named(fault, said):
    good = {"swaps": 20, "offered": 10, "processed": 10, "changes": 20 + WARM_UP_SWAPS, "rss_mb": [100.0] * 21}
    assert SwapTrial(**good).failures == []
    (found,) = SwapTrial(**good | fault).failures
    assert said in found


def test_the_command_ends_with_an_exit_code_of_its_own_if_frames_were_lost(monkeypatch):
    lost = SwapTrial(1, dropped=1, swap_ms=[1.0], rss_mb=[1.0, 1.0], total_ms=[1.0])
    monkeypatch.setattr("pitcore.cli.bench.swap_trial", lambda *_: lost)
    result = CliRunner().invoke(bench, ["--swaps", "1"])
    assert result.exit_code == MISSED
    assert "FAILED" in result.output
