"""Clicks against slow truths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from anymask.base import InputError
from anymask.masks import point_grid
from anymask.masks import prompts as C
from tests.masks.strategies import Pixels, mask_lists, masks, quickly, thoroughly

EIGHT = np.ones((3, 3), int)


@pytest.mark.parametrize("n", [1, 2, 5, 32])
def test_a_grid_has_its_points_at_the_cells_centres(n: int) -> None:
    grid = point_grid(n)
    assert grid.shape == (n * n, 2)
    assert grid.dtype == np.float32
    truth = [((x + 0.5) / n, (y + 0.5) / n) for y in range(n) for x in range(n)]
    np.testing.assert_allclose(grid, truth, rtol=1e-6)


def distances(mask: Pixels) -> np.ndarray:
    """Every pixel's distance to the nearest pixel off the object, outside the photo included."""
    return ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]


@thoroughly
@given(masks())
def test_the_centre_is_as_far_from_the_border_as_can_be(mask: Pixels) -> None:
    if not mask.any():
        with pytest.raises(InputError, match="mask is empty"):
            C.center_click(mask)
        return
    x, y = C.center_click(mask)
    assert x == int(x)
    assert y == int(y)
    assert mask[int(y), int(x)]
    assert distances(mask)[int(y), int(x)] == pytest.approx(distances(mask).max(), abs=1e-3)


@thoroughly
@given(masks())
def test_depths_are_distances_and_the_deepest_pixel_has_the_largest(mask: Pixels) -> None:
    np.testing.assert_allclose(C.mask_depth(mask), distances(mask), atol=1e-3)
    depth, (x, y) = C.deepest_pixel(mask)
    assert depth == C.mask_depth(mask).max(initial=0)
    assert not depth or C.mask_depth(mask)[int(y), int(x)] == depth


@thoroughly
@given(mask_lists(least=3, most=3))
def test_the_next_click_lands_in_the_largest_error(given_masks: list[Pixels]) -> None:
    prediction, truth, ignore = given_masks
    missing, surplus = truth & ~prediction & ~ignore, prediction & ~truth & ~ignore
    click = C.next_click(prediction, truth, ignore=ignore)
    if not (missing | surplus).any():
        assert click is None
        return
    areas = {}
    for label, wrong in ((0, surplus), (1, missing)):
        regions, n = ndimage.label(wrong, structure=EIGHT)
        areas[label] = [(regions == region).sum() for region in range(1, n + 1)]
        if label == click.label:
            x, y = (int(value) for value in click.point)
            assert regions[y, x] > 0
            region = regions == regions[y, x]
            assert distances(region)[y, x] == pytest.approx(distances(region).max(), abs=1e-3)
    assert region.sum() == max(areas[0] + areas[1])
    if max(areas[0], default=0) == max(areas[1], default=0):
        assert click.label == 1


@quickly
@given(masks(), st.integers(0, 999))
def test_violated_points_are_the_clicks_on_the_wrong_side(mask: Pixels, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-2, 26, (6, 2))
    labels = rng.integers(0, 2, 6)
    height, width = mask.shape
    truth = tuple(
        index
        for index, ((x, y), label) in enumerate(zip(points, labels, strict=True))
        if mask[min(max(int(y // 1), 0), height - 1), min(max(int(x // 1), 0), width - 1)] != label
    )
    assert C.violated_points(mask, points, labels) == truth
