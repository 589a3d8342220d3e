"""The measures of masks in an exported bundle are those of OpenCV, which the package uses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from anymask.masks import OPENCV
from anymask.masks.shapes import chamfer_depths, connected_parts

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))


@given(arrays(np.bool_, (12, 9)))
def test_the_depth_is_the_distance_to_the_edge(mask: np.ndarray) -> None:
    expected = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    assert OPENCV.depths(mask) == pytest.approx(expected, rel=0.04)  # a 5 x 5 approximation


@given(MASKS)
def test_both_depths_are_equal(mask: np.ndarray) -> None:
    np.testing.assert_allclose(chamfer_depths(mask), OPENCV.depths(mask), atol=1e-4)


@given(MASKS, st.sampled_from([4, 8]))
def test_both_find_the_same_parts(mask: np.ndarray, connectivity: int) -> None:
    ours, theirs = connected_parts(mask, connectivity), OPENCV.parts(mask, connectivity)
    pairs = set(zip(ours.ravel().tolist(), theirs.ravel().tolist(), strict=True))
    assert len(pairs) == len(np.unique(ours)) == len(np.unique(theirs))
    np.testing.assert_array_equal(ours > 0, mask)


def test_both_measures_of_a_large_blob_are_equal() -> None:
    y, x = np.mgrid[:128, :128]
    mask = (np.hypot(y - 60, x - 66) < 50) & (np.hypot(y - 50, x - 50) > 9)
    np.testing.assert_allclose(chamfer_depths(mask), OPENCV.depths(mask), atol=1e-3)
    assert connected_parts(mask, 8).max() == 1
    assert connected_parts(~mask, 4).max() == 2
