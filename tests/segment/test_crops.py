"""The crops of automatic mask generation cover the image."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anymask.segment.everything.grid import crop_boxes
from tests.masks.strategies import quickly, sizes


def test_crops_equal_the_reference_by_hand() -> None:
    # By hand from the rule: overlap o = int(r * short * 2 / n), side ceil((o * (n - 1) + s) / n).
    boxes, layers = crop_boxes((100, 200), 1, 0.25)
    assert layers == [0, 1, 1, 1, 1]
    assert boxes == [
        (0, 0, 200, 100),
        (0, 0, 113, 63),
        (0, 38, 113, 100),
        (88, 0, 200, 63),
        (88, 38, 200, 100),
    ]


@quickly
@given(sizes(300), st.integers(0, 2), st.floats(0, 0.6))
def test_every_layer_covers_the_photo(size: tuple[int, int], layers: int, overlap: float) -> None:
    boxes, of_layer = crop_boxes(size, layers, overlap)
    assert len(boxes) == sum(4**layer for layer in range(layers + 1))
    for layer in range(layers + 1):
        if min(size) < 8:
            continue  # a crop may be empty there, as in the reference
        covered = np.zeros(size, np.bool_)
        for (x0, y0, x1, y1), place in zip(boxes, of_layer, strict=True):
            if place == layer:
                covered[y0:y1, x0:x1] = True
        assert covered.all()
