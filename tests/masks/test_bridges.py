"""Bridges join the rings of a mask without a change of its pixels."""

import numpy as np
from hypothesis import given

from anymask.masks import (
    Polygon,
    joined,
    mask_to_polygons,
    polygon_to_ring,
    polygons_to_mask,
    ring_area,
)
from tests.masks.strategies import Pixels, masks, quickly


@quickly
@given(masks())
def test_bridges_change_no_pixel(mask: Pixels) -> None:
    polygons = mask_to_polygons(mask)
    if not polygons:
        return
    ring = joined([polygon_to_ring(polygon) for polygon in polygons])
    np.testing.assert_array_equal(polygons_to_mask([Polygon(ring)], mask.shape), mask)
    assert ring_area(ring) == mask.sum()  # so the winding rule agrees with the even-odd rule
