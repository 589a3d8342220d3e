"""Windows around objects, and two answers that become one."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from anymask.masks import CropRefinement, ModelSpec, Prompt, geometry
from anymask.models.rules import crop_window, logits_around, mean_probability, object_box
from tests.masks.strategies import quickly, sizes

SPEC = ModelSpec(name="any", image_side=256, mask_side=64)


def look(*, margin: float = 1.0, gain: float = 0.0, least: int = 96) -> CropRefinement:
    return CropRefinement(margin=margin, gain=gain, weight=0.6, min_side=least)


@quickly
@given(sizes(200), st.tuples(*[st.floats(0, 1)] * 4), st.floats(0, 2), st.integers(1, 100))
@example(size=(1, 2), shares=(0.5, 0.75, 0.0, 0.0), margin=0.0, least=1)
def test_a_window_holds_its_box_and_stays_inside(
    size: tuple[int, int], shares: tuple[float, ...], margin: float, least: int
) -> None:
    height, width = size
    x0, x1 = sorted((shares[0] * width, shares[1] * width))
    y0, y1 = sorted((shares[2] * height, shares[3] * height))
    window = crop_window((x0, y0, x1, y1), size, look(margin=margin, least=least))
    assert window is not None
    left, top, right, bottom = window
    assert 0 <= left <= x0
    assert x1 <= right <= width
    assert 0 <= top <= y0
    assert y1 <= bottom <= height
    assert right - left >= min(least, width)
    assert bottom - top >= min(least, height)
    if max(right - left, bottom - top) < min(size):
        assert right - left == bottom - top


def test_a_window_that_shows_the_object_hardly_larger_is_none() -> None:
    box = (100.0, 100.0, 200.0, 180.0)  # of 301 pixels with what is around it
    assert crop_window(box, (361, 300), look(gain=1.2)) is None
    assert crop_window(box, (362, 300), look(gain=1.2)) == (0, 0, 300, 301)


def test_prompt_and_mask_say_where_the_object_is() -> None:
    mask = np.zeros((50, 80), bool)
    assert object_box(Prompt.of(points=[(7, 9)], labels=[0]), mask) is None
    mask[20:30, 10:40] = True
    assert object_box(Prompt.of(points=[(70, 2)], labels=[0]), mask) == (10, 20, 39, 29)
    assert object_box(Prompt.of(points=[(70.5, 2)], labels=[1]), mask) == (10, 2, 70.5, 29)
    assert object_box(Prompt.of(box=(5, 25, 20, 45)), mask) == (5, 25, 20, 45)


def test_cells_of_a_window_are_read_where_they_lie() -> None:
    """Logits that tell the place: x of the photo in a photo of 900 x 600, its half at 300, 200."""
    whole = geometry((600, 900), SPEC)
    x = (np.arange(64, dtype=np.float32) + 0.5) * 900 / 64  # a cell is 900 / 64 pixels
    across = np.tile(x, (64, 1))
    window = (300, 200, 750, 500)
    for size in ((300, 450), (150, 225)):  # the window itself, or a smaller copy of it
        near = geometry(size, SPEC)
        read = logits_around(across, whole, window, near)
        np.testing.assert_allclose(read[10], 300 + (np.arange(64) + 0.5) * 450 / 64, rtol=1e-3)
        down = logits_around(np.ascontiguousarray(across.T), whole, window, near)
        np.testing.assert_allclose(down[:, 10], 200 + (np.arange(64) + 0.5) * 450 / 64, rtol=1e-2)


def test_the_mean_of_chances_is_no_mean_of_logits() -> None:
    near, far = np.array([[0, 30, -2]], np.float32), np.array([[0, -1, 4]], np.float32)
    chances = 0.6 * np.array([0.5, 1, 0.11920292]) + 0.4 * np.array([0.5, 0.26894142, 0.98201379])
    logits = np.log(chances) - np.log1p(-chances)
    np.testing.assert_allclose(mean_probability(near, far, 0.6), [logits], rtol=1e-4, atol=1e-6)
