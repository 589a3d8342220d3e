"""A window lies where the object is, and what comes back from it lands where it was taken from."""

import cv2
import numpy as np
import pytest

from anymask.masks import EDGE_SIDE as SIDE
from anymask.masks import Geometry, Prompt
from anymask.segment.prediction import (
    MIN_WINDOW_CELLS,
    EdgeWindow,
    add_change,
    window_around,
    window_image,
    window_logits,
    window_mask,
    window_prompt,
)
from tests.evaluation.small_sets import rectangle

SIZES = [(1024, 768), (341, 512), (97, 1301), (480, 480)]


def placed(hw: tuple[int, int], side: int = 512) -> Geometry:
    scale = side / max(hw)
    height, width = (max(1, int(length * scale + 0.5)) for length in hw)
    return Geometry(hw, (height, width), side)


def blob(cells: tuple[int, int, int, int], side: int = 128) -> np.ndarray:
    logits = np.full((side, side), -6.0, np.float32)
    x0, y0, x1, y1 = cells
    logits[y0:y1, x0:x1] = 4
    return logits


def test_a_speck_gets_some_cells_and_nothing_gets_none() -> None:
    window = window_around(blob((50, 50, 51, 51)), placed((480, 480)))
    assert window.cells == MIN_WINDOW_CELLS
    assert window_around(blob((0, 0, 0, 0)), placed((480, 480))) is None
    below = blob((10, 100, 20, 110))  # in the padding of a wide photo
    assert window_around(below, placed((240, 480))) is None


@pytest.mark.parametrize("hw", SIZES)
def test_a_photo_of_places_is_seen_where_it_lies(hw: tuple[int, int]) -> None:
    """A photo whose values are its own coordinates: each pixel of the window says where it is."""
    geometry = placed(hw)
    rows, columns = np.mgrid[: hw[0], : hw[1]].astype(np.float32)
    image = np.stack([columns * 250 / hw[1], rows * 250 / hw[0], rows * 0], axis=2)
    window = window_around(blob((20, 3, 44, 9)), geometry)
    seen = window_image(image.astype(np.uint8), window).astype(np.float64)
    ys, xs = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    expected = window.to_image @ np.stack([xs, ys, np.ones_like(xs)]).reshape(3, -1)
    for axis, length in ((0, hw[1]), (1, hw[0])):
        place = np.clip(expected[axis], 0, length - 1).reshape(SIDE, SIDE) * 250 / length
        margin = 1.5 + 250 / length * max(1.0, window.to_image[axis, axis])
        assert np.abs(seen[..., axis] - place).max() < margin


@pytest.mark.parametrize("hw", SIZES)
def test_a_change_lands_where_the_cells_are(hw: tuple[int, int]) -> None:
    """Cells, enlarged in the window and brought back, are the cells drawn in the photo."""
    geometry = placed(hw)
    rng = np.random.default_rng(1)
    rough = cv2.GaussianBlur(rng.normal(0, 9, (128, 128)).astype(np.float32), (0, 0), 2.5)
    smooth = np.where(blob((20, 3, 44, 9)) > 0, np.abs(rough) + 0.1, rough)
    window = window_around(blob((20, 3, 44, 9)), geometry)
    change = cv2.resize(window_logits(smooth.astype(np.float32), window), (SIDE, SIDE))
    back = np.zeros(hw, np.float32)
    add_change(back, change, window)
    x, y = 32, 6  # a cell well inside
    column, row = (int((at + 0.5) * size) for at, size in zip((x, y), window.pixel, strict=True))
    assert back[row, column] == pytest.approx(smooth[y, x], abs=0.6)
    outside = np.ones(hw, np.bool_)
    (left, top), (right, bottom) = (
        (np.array([window.x, window.y]) + n) * window.pixel for n in (0, window.cells)
    )
    outside[max(int(top), 0) : int(bottom) + 1, max(int(left), 0) : int(right) + 1] = False
    assert not back[outside].any()


@pytest.mark.parametrize("hw", [(1, 1), (1, 300), (2, 3)])
def test_the_smallest_photos_have_windows(hw: tuple[int, int]) -> None:
    geometry = placed(hw)
    window = window_around(np.full((128, 128), 3, np.float32), geometry)
    assert window is not None
    assert window_image(np.zeros((*hw, 3), np.uint8), window).shape == (SIDE, SIDE, 3)
    logits = np.zeros(hw, np.float32)
    add_change(logits, np.ones((SIDE, SIDE), np.float32), window)
    np.testing.assert_allclose(logits, 1)


def test_a_mask_in_the_window_keeps_its_share() -> None:
    mask = rectangle((480, 480), (160, 120, 280, 240))
    window = EdgeWindow(36, 26, 48, (3.75, 3.75))
    inside = window_mask(mask, window)
    assert inside.mean() == pytest.approx(120 * 120 / (48 * 3.75) ** 2, rel=0.02)


def test_clicks_and_boxes_are_drawn_where_they_are() -> None:
    window = EdgeWindow(10, 20, 32, (8.0, 8.0))  # a pixel of the window is one of the photo
    prompt = Prompt.of(points=[(100, 180), (130, 300)], labels=[1, 0], box=(90, 170, 200, 400))
    clicks, box = window_prompt(prompt, window)
    assert np.unravel_index(clicks.argmax(), clicks.shape) == (180 - 160, 100 - 80)
    assert np.unravel_index(clicks.argmin(), clicks.shape) == (300 - 160, 130 - 80)
    ys, xs = np.nonzero(box > 0)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (10, 119, 10, 239)
    assert set(np.unique(box)) == {-1, 1}
    assert not window_prompt(Prompt.of(points=[(5, 5)]), window)[1].any()
