"""Boundary IoU against a slow way that looks at every pixel's neighbours."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anymask.evaluation.boundary import boundary_iou, click_and_box_rims, inner_rim
from anymask.evaluation.protocols import Truth
from tests.evaluation.small_sets import perfect, rectangle

masks = arrays(np.bool_, st.tuples(st.integers(1, 8), st.integers(1, 9)))


def slow_rim(mask: np.ndarray, width: int) -> np.ndarray:
    """Pixels of the mask with something outside it, or outside the photo, in a square around."""
    height, columns = mask.shape
    rim = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        rim[y, x] = any(
            not (0 <= v < height and 0 <= u < columns) or not mask[v, u]
            for v in range(y - width, y + width + 1)
            for u in range(x - width, x + width + 1)
        )
    return rim


@given(masks, st.integers(1, 4))
def test_the_rim_is_that_of_the_slow_way(mask: np.ndarray, width: int) -> None:
    assert np.array_equal(inner_rim(mask, width), slow_rim(mask, width))


def test_a_large_mask_is_judged_by_its_outline() -> None:
    hw = (300, 400)  # the rim is 10 pixels wide
    truth, found = rectangle(hw, (0, 0, 200, 200)), rectangle(hw, (0, 0, 190, 200))
    frame = 200 * 200 - 180 * 180  # of the truth; the right 10 columns are missed
    common = frame - 10 * 200
    extra = 10 * 180  # what takes their place, further in
    assert boundary_iou(truth, truth) == 1
    assert boundary_iou(found, truth) == pytest.approx(common / (frame + extra))  # their IoU: .95


def test_a_rim_is_at_least_one_pixel_wide() -> None:
    mask = rectangle((9, 9), (2, 2, 7, 7))
    assert inner_rim(mask, 1).sum() == 16
    assert boundary_iou(mask, rectangle((9, 9), (3, 3, 6, 6))) == 0


def test_ignored_pixels_and_empty_masks() -> None:
    mask = rectangle((9, 9), (2, 2, 7, 7))
    empty = np.zeros_like(mask)
    assert boundary_iou(empty, empty) == 1
    assert boundary_iou(empty, mask) == 0
    assert boundary_iou(empty, mask, ignore=mask) == 1


def test_a_method_is_asked_by_click_and_by_box() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    mask = rectangle((40, 40), (5, 6, 20, 30))
    image[mask] = 99
    method = perfect()
    scores = click_and_box_rims(method, method.embed(image), [Truth(mask)])
    assert {name: values.tolist() for name, values in scores.items()} == {
        "1 click": [1.0],
        "box": [1.0],
    }
