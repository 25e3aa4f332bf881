import numpy as np
import pytest
from PIL import Image, ImageDraw

from pitcore.cli.picture import BACKGROUND, BAR_PX, COLOURS, LEGEND_PX, MARGIN_PX, Snapshot, draw, mark
from pitcore.verdict import CODES, VERDICTS, FrameRef, ModelRef, Verdict

HEIGHT, WIDTH = 200, 1500  # wide enough for the legend


def judged(verdict, box, tick=0):
    model = ModelRef("tiny", "1", "0")
    schema, code = "pitcore.verdict/1", CODES[verdict]
    return Verdict(schema, FrameRef(0, 0), tick, box, verdict, code, None, None, model, "", None, "pass")


def snapshot(tick=0):
    return Snapshot(3, tick, tuple(np.full((HEIGHT, WIDTH), 6, np.uint8) for _ in range(2)))


def drawn(verdicts, tick=0, names=("top", "bottom")):
    return np.asarray(draw(snapshot(tick), names, verdicts, px_per_tick=0.5))


def strips(picture):
    """The parts of the picture that show the two planes."""
    second = BAR_PX + HEIGHT + MARGIN_PX
    return picture[BAR_PX : BAR_PX + HEIGHT], picture[second : second + HEIGHT]


def where(strip, verdict):
    """Rows and columns of a verdict's colour: first and last."""
    rows, columns = np.nonzero((strip == COLOURS[verdict]).all(axis=2))
    return (rows.min(), rows.max(), columns.min(), columns.max()) if len(rows) else None


def test_both_planes_are_drawn_below_a_legend_with_every_sign():
    picture = drawn([judged("pit", (100, 60, 60, 50))])
    assert picture.shape == (BAR_PX + 2 * (HEIGHT + MARGIN_PX), WIDTH, 3)
    for strip in strips(picture):
        assert where(strip, "pit") is not None
    for verdict in VERDICTS:
        assert where(picture[:BAR_PX], verdict) is not None


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_sign_surrounds_its_cherry(verdict):
    top, bottom, left, right = where(strips(drawn([judged(verdict, (300, 60, 60, 50))]))[0], verdict)
    assert top <= 60
    assert bottom + 1 >= 110
    assert left <= 300
    assert right + 1 >= 360


def test_signs_differ_by_shape_alone():
    def grey_sign(verdict):
        canvas = Image.new("RGB", (120, 120))
        mark(ImageDraw.Draw(canvas), verdict, (30, 30, 60, 60))
        return np.asarray(canvas).any(axis=2)

    signs = [grey_sign(verdict) for verdict in VERDICTS]
    for index, sign in enumerate(signs):
        for other in signs[index + 1 :]:
            assert np.logical_xor(sign, other).sum() > 0.5 * min(sign.sum(), other.sum())
    assert len(set(COLOURS.values())) == len(VERDICTS)


def test_a_verdict_of_another_frame_is_drawn_where_the_belt_carried_its_cherry():
    verdict = judged("pit", (300, 30, 60, 50), tick=100)
    here = where(strips(drawn([verdict], tick=100))[0], "pit")
    later = where(strips(drawn([verdict], tick=260))[0], "pit")
    assert tuple(np.subtract(later, here)) == (80, 80, 0, 0)


@pytest.mark.parametrize("tick", [-300, 700])
def test_a_cherry_out_of_the_frame_is_neither_drawn_nor_counted(tick):
    verdict = judged("clean", (300, 10, 60, 50), tick=100)
    strip = strips(drawn([verdict], tick=tick))[0]
    assert where(strip, "clean") is None
    assert np.array_equal(drawn([verdict], tick=tick), drawn([], tick=tick))


@pytest.mark.parametrize(("y", "seen"), [(-50, False), (-49, True), (HEIGHT - 1, True), (HEIGHT, False)])
def test_a_cherry_counts_as_in_the_frame_from_its_first_row_to_its_last(y, seen):
    assert (not np.array_equal(drawn([judged("side", (300, y, 60, 50))]), drawn([]))) == seen


def legend_entries(picture):
    """The four entries of the legend, cut out of the bar."""
    left, step = (round(px * min(1.0, picture.shape[1] / LEGEND_PX)) for px in (400, 250))
    return [picture[:BAR_PX, left + step * index : left + step * (index + 1)] for index in range(len(VERDICTS))]


@pytest.mark.parametrize("counted", range(len(VERDICTS)))
@pytest.mark.parametrize("width", [640, WIDTH])
def test_the_legend_counts_each_verdict_apart_on_narrow_frames_too(counted, width):
    def legend(count):
        verdicts = [judged(VERDICTS[counted], (100, 60, 60, 50))] * count
        planes = (np.full((HEIGHT, width), 6, np.uint8),)
        return legend_entries(np.asarray(draw(Snapshot(3, 0, planes), ("top",), verdicts, 0.5)))

    none, one, two = legend(0), legend(1), legend(2)
    for index in range(len(VERDICTS)):
        changed = [not np.array_equal(*pair) for pair in ((none[index], one[index]), (one[index], two[index]))]
        assert changed == [index == counted] * 2
        assert where(one[index], VERDICTS[index]) is not None


def test_a_plane_stays_in_its_own_strip():
    bright, framed = np.full((HEIGHT, WIDTH), 200, np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    framed[[0, -1]] = 200
    picture = np.asarray(draw(Snapshot(3, 0, (bright, framed)), ("top", "bottom"), [], 0.5))
    beside_names = np.s_[:, WIDTH // 2 :]
    upper, lower = (strip[beside_names] for strip in strips(picture))
    assert upper.min() > 50
    assert lower[[0, -1]].min() > 50
    assert lower[1:-1].max() == 0
    for gap in (BAR_PX + HEIGHT, BAR_PX + 2 * HEIGHT + MARGIN_PX):
        assert (picture[gap : gap + MARGIN_PX] == BACKGROUND).all()


def test_planes_of_any_name_and_number_are_drawn():
    planes = (np.full((HEIGHT, WIDTH), 90, np.uint8),)
    picture = np.asarray(draw(Snapshot(0, 0, planes), ("infrared",), [], 0.5))
    assert picture.shape[0] == BAR_PX + HEIGHT + MARGIN_PX
    assert len(set(picture[BAR_PX + 100, 700].tolist())) == 1  # a plane without a tint is grey


def test_drawing_does_not_touch_the_frame():
    kept = snapshot()
    before = [plane.copy() for plane in kept.planes]
    draw(kept, ("top", "bottom"), [judged("pit", (100, 60, 60, 50))], 0.5)
    assert all(np.array_equal(plane, copy) for plane, copy in zip(kept.planes, before, strict=True))
