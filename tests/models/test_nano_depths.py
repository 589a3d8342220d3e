"""A cell's depth is its distance to the mask's edge."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from anymask.models.rules import depths


@given(arrays(np.bool_, (12, 9)))
def test_the_depth_is_the_distance_to_the_edge(mask: np.ndarray) -> None:
    wanted = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    assert depths(mask) == pytest.approx(wanted, rel=0.04)  # a 5 x 5 approximation
