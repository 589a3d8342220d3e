"""Shapes against scipy, shapely and masks counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from shapely import MultiPoint

from anymask.masks import mask_to_rle, measure

MASKS = arrays.arrays(
    np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.booleans()
)


@given(MASKS)
def test_parts_and_holes_are_those_that_scipy_counts(mask: np.ndarray) -> None:
    shape = measure.measure_shape(mask_to_rle(mask))
    assert shape.parts == ndimage.label(mask, np.ones((3, 3)))[1]
    ground = ndimage.label(~np.pad(mask, 1))[1] - 1
    assert shape.holes == (ground if mask.any() else 0)


@given(MASKS)
def test_the_hull_is_that_of_the_pixels_squares(mask: np.ndarray) -> None:
    shape = measure.measure_shape(mask_to_rle(mask))
    y, x = np.nonzero(mask)
    corners = [(a + i, b + j) for a, b in zip(x, y, strict=True) for i in (0, 1) for j in (0, 1)]
    hull = MultiPoint(corners).convex_hull.area if corners else 0
    assert shape.hull == pytest.approx(hull)
    assert -1e-9 <= shape.concavity < 1
    if len(x):
        assert shape.center == pytest.approx((x.mean() + 0.5, y.mean() + 0.5))
