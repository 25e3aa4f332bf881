import numpy as np
import pytest

from pitcore.belt.encoder import Edge, QuadratureDecoder, SingleDecoder, TickHistory

PERIOD = [(0, 0), (1, 0), (1, 1), (0, 1)]  # (A, B) while the belt runs forward


def walk(steps, start=0):
    """Edges of a belt that makes these steps of +1 and -1."""
    edges, phase = [], start
    for seqno, step in enumerate(steps, 1):
        before, after = PERIOD[phase % 4], PERIOD[(phase + step) % 4]
        phase += step
        line = 0 if before[0] != after[0] else 1
        edges.append(Edge(seqno * 1000, line, bool(after[line]), seqno))
    return edges


def counts(decoder, edges):
    return [decoder.feed(edge) for edge in edges]


def test_each_edge_of_two_channels_is_a_step_forwards_and_backwards():
    steps = np.random.default_rng(3).choice((1, 1, 1, -1), 1000).tolist()
    expected = [sum(steps[: k + 1]) for k in range(len(steps))]
    assert counts(QuadratureDecoder(), walk(steps)) == expected
    assert counts(QuadratureDecoder(reverse=True), walk(steps)) == [-tick for tick in expected]


@pytest.mark.parametrize("phase", range(4))
def test_the_count_is_right_for_every_level_of_the_lines_at_the_start(phase):
    decoder = QuadratureDecoder(*PERIOD[phase])
    assert counts(decoder, walk([1, 1, -1, 1, 1], start=phase)) == [1, 2, 1, 2, 3]
    assert decoder.glitches == 0


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("lost", range(1, 12))
def test_edges_that_the_kernel_lost_are_in_the_count_and_counted(direction, lost):
    edges = walk([direction] * 40)
    decoder = QuadratureDecoder()
    counts(decoder, edges[:10] + edges[10 + lost :])
    assert (decoder.tick, decoder.lost, decoder.glitches) == (40 * direction, lost, 0)


def test_one_lost_edge_is_counted_right_even_where_the_belt_turns():
    steps = [1] * 9 + [-1] * 7 + [1] * 9
    edges = walk(steps)
    for lost in range(1, len(edges) - 1):
        decoder = QuadratureDecoder()
        counts(decoder, edges[:lost] + edges[lost + 1 :])
        assert (decoder.tick, decoder.lost, decoder.glitches) == (sum(steps), 1, 0), lost


def test_an_edge_to_the_level_the_line_has_is_a_glitch_and_no_step():
    edges = walk([1] * 5)
    decoder = QuadratureDecoder()
    counts(decoder, edges[:5])
    again = edges[4]
    assert decoder.feed(Edge(again.t_ns, again.line, again.rising, again.seqno + 1)) == 5
    assert decoder.glitches == 1


def test_encoder_jitter_on_an_edge_does_not_move_the_count():
    decoder = QuadratureDecoder()
    counts(decoder, walk([1] * 7 + [-1, 1] * 50))
    assert (decoder.tick, decoder.lost, decoder.glitches) == (7, 0, 0)


def test_one_channel_counts_rising_edges_and_what_the_kernel_lost():
    decoder = SingleDecoder()
    assert [decoder.feed(Edge(seqno, 0, rising=True, seqno=seqno)) for seqno in (1, 2, 3, 7, 8)] == [1, 2, 3, 7, 8]
    assert (decoder.lost, decoder.glitches) == (3, 0)
    assert decoder.feed(Edge(9, 0, rising=False, seqno=9)) == 8
    assert decoder.glitches == 1


def test_a_frame_gets_the_count_of_its_mid_exposure():
    history = TickHistory()
    for tick in range(1, 101):
        history.append(1_000_000 + tick * 1000, tick)
    assert history.tick_at(0) == 0
    assert history.tick_at(1_000_999) == 0
    assert history.tick_at(1_001_000) == 1
    assert history.tick_at(1_050_999) == 50
    assert history.tick_at(9_000_000) == history.tick == 100


def test_a_history_that_is_full_still_knows_the_newest_steps():
    history = TickHistory(capacity=64)
    for tick in range(1, 1001):
        history.append(tick * 10, tick)
    assert [history.tick_at(tick * 10 + 5) for tick in range(950, 1001)] == list(range(950, 1001))
    assert history.tick_at(0) == 1000 - (64 - 8) + 1  # the oldest tick that it must still know


def test_the_newest_step_has_its_time_and_its_count():
    history = TickHistory(capacity=64)
    assert (history.newest, history.t_ns, history.tick) == ((0, 0), 0, 0)
    for step in range(1, 131):
        history.append(step * 1000, -step)
        assert history.newest == (history.t_ns, history.tick) == (step * 1000, -step)


def test_speed_is_that_of_the_last_steps_and_falls_while_the_belt_is_stopped():
    history = TickHistory()
    assert history.ticks_per_s(5) == 0.0
    for tick in range(1, 101):
        history.append(tick * 200_000, tick)
    assert history.ticks_per_s(100 * 200_000) == pytest.approx(5000.0)
    assert history.ticks_per_s(100 * 200_000 + 10**9) < 40
    for back in range(1, 51):
        history.append((100 + back) * 200_000, 100 - back)
    assert history.ticks_per_s(150 * 200_000) == pytest.approx(-5000.0)


def test_the_speed_of_a_belt_that_starts_again_does_not_include_its_pause():
    history = TickHistory()
    for tick in range(1, 101):
        history.append(tick * 200_000, tick)
    for tick in range(1, 6):
        history.append(2_000_000_000 + tick * 1_000_000, 100 + tick)
    assert history.ticks_per_s(2_005_000_000) == pytest.approx(1000.0)


def test_a_step_is_found_from_an_earlier_one_and_the_place_between_two():
    history, since, t_ns, asked_ns = TickHistory(capacity=64), -1, 0, 0
    for tick in range(1, 1001):
        t_ns += 7 + tick % 13
        history.append(t_ns, tick)
        asked_ns = max(asked_ns, t_ns - 200 + tick % 31)
        since = history.step_at(asked_ns, since)
        assert since == history.step_at(asked_ns)
    assert history.tick_at(asked_ns) <= history.place_at(since, asked_ns) < history.tick_at(asked_ns) + 1
    assert history.place_at(history.step_at(t_ns), t_ns + 5) == 1000
    assert TickHistory().place_at(-1, 5) == 0
