"""The roofline's arithmetic, and predictions of boards."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pitcore.config import Config
from pitcore.errors import DataError
from pitcore.model_card import DEFAULT_BUNDLE, load_bundle
from pitcore_tools.cli.main import pitcore_tools
from pitcore_tools.experiments.cost import cost_of
from pitcore_tools.performance import boards, report, roofline
from pitcore_tools.performance.boards import BOARDS, KERNEL_SHARE, predict
from pitcore_tools.train.recipe import load_recipe

PI5, PI4 = BOARDS
COUNTS = Path(__file__).parents[2] / "docs" / "performance" / "instructions.json"


def test_the_slowest_limit_of_the_roofline_model_decides():
    decoding = predict(PI5, instructions=4.8e6)
    assert decoding.expected == pytest.approx(1.0)  # two a cycle at 2.4 GHz
    assert (decoding.best, decoding.worst) == pytest.approx((0.5, 2.0))
    multiplying = predict(PI5, 4.8e6, macs=2.4e9 * 32 / 100)
    assert multiplying.best == pytest.approx(10.0)  # at the peak
    assert multiplying.expected == multiplying.worst == pytest.approx(10.0 / KERNEL_SHARE)
    reading = predict(PI5, 4.8e6, read_bytes=17.1e6)
    assert (reading.best, reading.expected, reading.worst) == pytest.approx((1.0, 2.0, 4.0))


def test_the_kernel_model_reproduces_its_measurements():
    assert boards.kernel_ms(PI5, boards.NCNN_MACS) == pytest.approx(boards.NCNN_MS)
    assert boards.kernel_ms(PI4, 1e6) / boards.kernel_ms(PI5, 1e6) == pytest.approx(4 * 2.4 / 1.8)


def test_multiplications_of_a_layer():
    assert roofline.macs_of((64, 2, 7, 7), [24, 40, 40, 64]) == 40 * 40 * 64 * 2 * 49
    assert roofline.macs_of((2, 512), [24, 2]) == 2 * 512
    assert roofline.macs_of((), [24, 20, 20, 64]) == 0


def test_the_layers_of_the_bundled_network_add_up_to_its_recipe():
    bundle = load_bundle(DEFAULT_BUNDLE)
    found = roofline.layers(bundle)
    recipe = load_recipe(DEFAULT_BUNDLE / "config.yaml")
    cost = cost_of(recipe)
    first = recipe.crop_size_px // 2 * recipe.crop_size_px // 2 * recipe.widths[0] * len(recipe.planes)
    padding = first * (8 * 8 - 7 * 7)  # the first convolution gathers whole blocks
    assert sum(layer.macs for layer in found) == cost.macs + padding
    assert sum(layer.weights for layer in found) == pytest.approx(cost.parameters, rel=0.01)  # biases aside
    assert all(layer.ms > 0 for layer in found if layer.macs > 1e6)


def test_the_machine_is_measured():
    reached = roofline.measure(Config(), load_bundle(DEFAULT_BUNDLE), 3)
    assert reached.frame_bytes == 2 * 500 * 2464
    assert 10 < reached.things < 40
    assert min(reached.machine.bytes_per_s, reached.machine.macs_per_s) > 1e8
    text = report.roofline(reached, roofline.layers(load_bundle(DEFAULT_BUNDLE)))
    assert text.count("| layer") == 4
    assert "| judge 24 crops | " in text


def test_the_committed_counts_are_of_the_bundled_model():
    counts = boards.read_counts(COUNTS)
    assert counts["model"] == load_bundle(DEFAULT_BUNDLE).label, (
        "run make test-arm, then python tests/arm/count_instructions.py --write docs/performance/instructions.json"
    )
    with pytest.raises(DataError, match="not with this"):
        report.boards(counts | {"model": "other@1.0.0"}, load_bundle(DEFAULT_BUNDLE), [], Config(), COUNTS.parent)


def test_the_report_of_a_real_board_is_shown_beside_its_prediction(tmp_path):
    counts, bundle = boards.read_counts(COUNTS), load_bundle(DEFAULT_BUNDLE)
    layers = [roofline.Layer("conv1/Conv", "QLinearConv", 100_000_000, 1, 1.0)]
    stages = {name: {"percentiles": [7.25]} for name in ("search", "track", "extract", "infer", "decide")}
    run = {"load": {"cherries_in_view": 20.0}, "crops_per_frame": 10.0, "stages_ms": stages}
    (tmp_path / "pi5.json").write_text(json.dumps({"schema": "pitcore.bench/1", "run": run}))
    pi5, pi4 = report.boards(counts, bundle, layers, Config(), tmp_path).split("**Raspberry Pi 4**")
    assert "20 cherries in view, 10.0 of them judged" in pi5
    assert pi5.count("| 7.25 |") == len(stages)
    assert "| 36.25 |" in pi5
    assert "| 7.25 |" not in pi4
    (tmp_path / "pi5.json").write_text("{}")
    with pytest.raises(DataError, match="not a report of schema"):
        report.boards(counts, bundle, layers, Config(), tmp_path)


@pytest.mark.parametrize(
    ("judged", "workers", "pieces", "crops", "all_pieces"),
    [
        (16, 1, 1, 16, 1),
        (17, 1, 2, 17, 2),
        (16, 2, 2, 8, 4),
        (16, 3, 2, 6, 6),
        (16, 4, 1, 4, 4),
        (16.5, 4, 1.5, 4.5, 4.5),  # half the frames have 17
        (1, 4, 1, 1, 1),
    ],
)
def test_the_busiest_worker_decides_how_long_a_frame_takes(judged, workers, pieces, crops, all_pieces):
    assert boards.busiest(judged, workers) == boards.Part(pieces, crops, all_pieces)


def test_a_frame_on_workers_is_the_calls_and_cherries_of_the_busiest_until_the_memory_that_all_share_is_slower():
    counts = {"infer-1": 12e6, "infer-8": 82e6}  # 2 million a call, 10 a crop
    found = boards.predict_network(PI5, counts, (0, 0), 16, 3)
    assert found.expected == pytest.approx((2 * 2 + 6 * 10) / 4.8)
    shared = boards.predict_network(PI5, counts, (0, 171_000_000), 16, 3)  # 10 ms a call at the memory's peak
    assert shared.best == pytest.approx(6 * 10.0)
    macs = boards.predict_network(PI5, counts, (2400 * 32 * 1000, 0), 16, 4)
    assert macs.best == pytest.approx(42 / 9.6)  # 42 million instructions, four in a cycle
    macs = boards.predict_network(PI5, counts, (2_400_000 * 32 * 5, 0), 16, 4)
    assert macs.best == pytest.approx(4 * 5.0)


def test_four_workers_of_a_pi_5_take_17_ms_at_most_with_the_bundled_network():
    bundle, counts = load_bundle(DEFAULT_BUNDLE), boards.read_counts(COUNTS)
    layers = roofline.layers(bundle)
    text = report.boards(counts, bundle, layers, Config(), COUNTS.parent)
    (pi5, _) = text.split("**Raspberry Pi 4**")
    (row,) = [line for line in pi5.splitlines() if line.startswith("| 4 |")]
    assert float(row.split("|")[3].split()[0]) <= 17.0


@pytest.mark.parametrize(
    ("content", "error"),
    [(None, "make test-arm"), ("{", "not JSON"), ('{"cortex-a76": {}}', "no counts of cortex-a72")],
)
def test_counts_that_cannot_be_used_are_one_clear_line(tmp_path, content, error):
    if content is not None:
        (tmp_path / "instructions.json").write_text(content)
    result = CliRunner().invoke(pitcore_tools, ["performance", "--boards", str(tmp_path)])
    assert isinstance(result.exception, DataError)
    assert error in str(result.exception)


def test_the_command_fills_the_document(tmp_path):
    document = tmp_path / "performance.md"
    document.write_text("<!-- table: roofline -->\n<!-- end -->\n<!-- table: boards -->\n<!-- end -->\n")
    arguments = ["performance", "--rounds", "3", "--boards", str(COUNTS.parent), "--write", str(document)]
    CliRunner().invoke(pitcore_tools, arguments, catch_exceptions=False)
    text = document.read_text()
    assert "MMAC a crop" in text
    assert text.count("**Raspberry Pi ") == len(BOARDS)
    assert np.char.count(text, "<!-- end -->") == 2
