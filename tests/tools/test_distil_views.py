"""Views of crops: rotated, relit, in the eight orientations, and scaled to the size of their cherry."""

from __future__ import annotations

import pytest
import torch

from pitcore.preprocess.prepare import CropSpec, crop_from_image
from pitcore_tools.distil.views import (
    SLACK,
    Form,
    Jitter,
    draw,
    eight,
    fitted_windows,
    middle,
    oriented,
    render,
    unchanged,
)
from tests.tools.test_distil import some_crops


def one_view(**columns: float) -> torch.Tensor:
    """A view that changes nothing, but for the columns given."""
    view = torch.tensor([[1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]])
    for name, value in columns.items():
        view[0, int(name[1:])] = value
    return view


def test_a_view_that_changes_nothing_shows_the_cameras_own_pixels() -> None:
    crops = torch.randint(0, 256, (1, 2, 112, 112), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    shown = render(crops, one_view(), Form(72, 72))
    assert torch.allclose(shown, middle(crops, 72).float() / 255.0, atol=2e-3)


def discs(*boxes: tuple[int, int, int]) -> torch.Tensor:
    """Crops with a disc each: left and top of its box, and its diameter."""
    rows, columns = torch.meshgrid(torch.arange(112), torch.arange(112), indexing="ij")
    pictures = []
    for left, top, size in boxes:
        middle_px = (size - 1) / 2
        inside = (columns - left - middle_px) ** 2 + (rows - top - middle_px) ** 2 <= (size / 2) ** 2
        pictures.append((inside * 150).to(torch.uint8).expand(2, 112, 112))
    return torch.stack(pictures)


@pytest.mark.parametrize(("left", "top", "size"), [(40, 44, 30), (20, 26, 72), (2, 3, 108)])
def test_a_fitted_cherry_fills_its_picture_and_looks_as_on_the_board(left: int, top: int, size: int) -> None:
    rows, columns = torch.meshgrid(torch.arange(112), torch.arange(112), indexing="ij")
    ramps = torch.stack([60 + columns, 200 - rows]).to(torch.uint8)  # a turned, mirrored or exchanged plane differs
    crops = (discs((left, top, size)) > 0) * ramps
    shown = unchanged(crops, Form(72, None)) * 255.0
    board = crop_from_image(crops[0].permute(1, 2, 0).numpy(), CropSpec(72, "fit", 2))
    apart = abs(shown[0].numpy().transpose(1, 2, 0) - board)
    assert apart.mean() < 2.0
    assert apart[20:52, 20:52].max() < 1.01  # only the edge differs
    for edge in (shown[0, 0, 0], shown[0, 0, -1], shown[0, 0, :, 0], shown[0, 0, :, -1]):
        assert float(edge.max()) > 0.0


def test_a_rotated_and_enlarged_view_is_fitted_too() -> None:
    crops = discs((30, 34, 40)).repeat(200, 1, 1, 1)
    views = draw(200, Jitter(), torch.Generator().manual_seed(5))
    shown = render(crops, views, Form(72, None)) > 0.0
    wide, high = (shown.any(1).any(axis).sum(1) for axis in (1, 2))
    assert bool((torch.maximum(wide, high) >= 72 / (1 + SLACK) - 2).all())
    assert len(set(views[:, 11].tolist())) > 100
    assert int(abs(wide - high).max()) <= 3  # a disc that its window cuts is not as wide as high
    exact = views[:, 11] == 0.0
    assert 30 < int(exact.sum()) < 100
    assert bool((torch.maximum(wide, high)[exact] == 72).all())


def test_a_blend_is_fitted_to_both_of_its_cherries() -> None:
    crops = discs((50, 50, 20), (56, 10, 40), (10, 10, 20), (30, 30, 20))
    views = one_view().repeat(4, 1)
    views[2, 11] = 1.0  # the slack of the other view does not count
    windows = fitted_windows(crops, views, torch.tensor([True, False]))
    assert torch.equal(windows[0], windows[2])
    left, right = windows[0, :2] - windows[0, 2], windows[0, :2] + windows[0, 2]
    assert (left + 1) * 56 == pytest.approx([10.0, 10.0])
    assert (right + 1) * 56 == pytest.approx([70.0, 70.0])
    assert windows[1] == pytest.approx(torch.tensor([20.0, -26.0, 20.0]) / 56.0)
    assert windows[3] == pytest.approx(torch.tensor([-16.0, -16.0, 10.0]) / 56.0)


def test_background_stays_zero_whatever_the_light() -> None:
    shown = render(some_crops(2).pixels, one_view(c6=1.1, c8=0.9).repeat(2, 1), Form(72, 72))
    assert float(shown[:, :, 0, 0].abs().max()) == 0.0
    assert float(shown.max()) <= 1.0


def test_equal_seeds_draw_equal_views() -> None:
    first, second = (draw(50, Jitter(), torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, draw(50, Jitter(), torch.Generator().manual_seed(4)))


def test_the_eight_orientations_differ_and_begin_with_the_one_as_given() -> None:
    picture = torch.arange(9.0).view(1, 1, 3, 3)
    views = eight(picture)
    assert torch.equal(views[0], picture)
    assert len({tuple(view.flatten().tolist()) for view in views}) == 8


def test_each_picture_gets_its_own_orientation() -> None:
    pictures = torch.rand(8, 2, 6, 6)
    expected = torch.stack([eight(pictures)[number][number] for number in range(8)])
    assert torch.equal(oriented(pictures, torch.arange(8)), expected)
