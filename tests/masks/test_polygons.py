"""Polygons: lossless both ways, valid to shapely, filled by the pixel-centre rule."""

import re
import tracemalloc

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from anymask.base import InputError
from anymask.masks import Mask, Masks, crop_to_rle
from anymask.masks import polygons as P
from tests.evaluation.small_sets import rectangle
from tests.masks.strategies import Pixels, masks, quickly, thoroughly


@thoroughly
@given(masks(largest=14))
def test_exact_polygons_give_the_mask_again_and_are_valid(mask: Pixels) -> None:
    polygons = P.mask_to_polygons(mask)
    np.testing.assert_array_equal(P.polygons_to_mask(polygons, mask.shape), mask)
    assert len(polygons) == ndimage.label(mask)[1]
    shapes = [shapely.Polygon(polygon.exterior, polygon.holes) for polygon in polygons]
    assert all(shape.is_valid for shape in shapes)
    assert shapely.MultiPolygon(shapes).is_valid
    assert sum(polygon.area for polygon in polygons) == mask.sum()
    for polygon in polygons:
        assert P.ring_area(polygon.exterior) > 0
        assert all(P.ring_area(hole) < 0 for hole in polygon.holes)


@quickly
@given(st.integers(0, 2**32 - 1), st.integers(3, 8))
def test_filling_takes_the_pixels_whose_centre_is_inside(seed: int, corners: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = rng.uniform(2, 9, corners)
    ring = np.stack([6 + radii * np.cos(angles), 5 + radii * np.sin(angles)], axis=1)
    shape = shapely.Polygon(ring)
    if not shape.is_valid:
        return
    y, x = np.mgrid[:11, :13] + 0.5
    inside = shapely.contains_xy(shape, x.ravel(), y.ravel()).reshape(11, 13)
    np.testing.assert_array_equal(P.polygons_to_mask([P.Polygon(ring)], (11, 13)), inside)


@pytest.mark.parametrize("tolerance", [1.0, 2.0, 3.0])
def test_simplifying_drops_corners_and_keeps_the_shape(tolerance: float) -> None:
    y, x = np.mgrid[:120, :120]
    distance = np.hypot(x - 60, y - 60)
    mask = (distance < 50) & (distance > 20)
    exact, short = P.mask_to_polygons(mask), P.mask_to_polygons(mask, tolerance)
    assert len(short[0].exterior) < len(exact[0].exterior) / 2
    again = P.polygons_to_mask(short, mask.shape)
    assert (again & mask).sum() / (again | mask).sum() > 1 - 0.03 * tolerance - 0.01


def test_a_slope_of_pixels_becomes_a_line_and_every_centre_stays_on_its_side() -> None:
    y, x = np.mgrid[:80, :120]
    mask = (y > x / 3 + 4) & (y < 70) & (x > 9) & (x < 100)
    (exact,), (smooth,) = (
        P.mask_to_polygons(mask),
        P.mask_to_polygons(mask, P.TOLERANCE, smooth=True),
    )
    assert len(exact.exterior) > 40
    assert len(smooth.exterior) <= 12
    assert [10.0, 70.0] in smooth.exterior.tolist()  # between long sides: it stays sharp
    again = P.polygons_to_mask([smooth], mask.shape)
    assert (again ^ mask).sum() <= 0.005 * mask.sum()


@quickly
@given(masks(largest=14))
def test_an_outline_without_stairs_moves_pixels_of_the_border_alone(mask: Pixels) -> None:
    smooth = P.mask_to_polygons(mask, 1e-6, smooth=True)
    wrong = P.polygons_to_mask(smooth, mask.shape) ^ mask
    for side in (mask, ~mask):
        inside = cv2.erode(np.pad(side, 1).astype(np.uint8), np.ones((3, 3), np.uint8))[1:-1, 1:-1]
        assert not (wrong & (inside > 0)).any()


@quickly
@given(masks(largest=14), st.sampled_from([1.0, 4.0]))
def test_simplifying_never_loses_a_region(mask: Pixels, tolerance: float) -> None:
    assert len(P.mask_to_polygons(mask, tolerance)) == len(P.mask_to_polygons(mask))


def test_small_regions_and_holes_can_be_left_out() -> None:
    mask = rectangle((10, 10), (1, 1, 7, 7))
    mask[3, 3] = False
    mask[8, 8] = True
    (polygon,) = P.mask_to_polygons(mask, min_area=2)
    assert polygon.area == 36
    assert not polygon.holes


def test_polygons_may_leave_the_photo() -> None:
    huge = P.Polygon(np.array([[-1e6, -1e6], [1e6, -1e6], [1e6, 1e6], [-1e6, 1e6]]))
    assert P.polygons_to_mask([huge], (3, 4)).all()
    outside = P.Polygon(np.array([[10.0, 10], [20, 10], [20, 20]]))
    assert not P.polygons_to_mask([outside], (3, 4)).any()
    assert P.polygons_to_mask([], (3, 4)).shape == (3, 4)


def test_overlapping_polygons_add_up() -> None:
    one = P.Polygon(np.array([[0.0, 0], [3, 0], [3, 2], [0, 2]]))
    two = P.Polygon(np.array([[2.0, 0], [5, 0], [5, 2], [2, 2]]))
    assert P.polygons_to_mask([one, two], (2, 5)).all()


def test_one_mask_of_a_huge_image_is_decoded_in_its_box() -> None:
    mask = Mask(crop_to_rle(np.ones((3, 5)), (100, 200), (30_000, 30_000)))
    tracemalloc.start()
    (outline,), table = mask.polygons(0), Masks([mask]).to_csv()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outline.exterior.tolist() == [[100, 200], [105, 200], [105, 203], [100, 203]]
    assert table.splitlines()[1].split(",")[4] == "15"
    assert peak < 30_000**2 / 10


def test_an_svg_path_holds_every_ring() -> None:
    mask = np.ones((3, 3), np.bool_)
    mask[1, 1] = False
    path = P.polygons_to_svg_path(P.mask_to_polygons(mask))
    rings = re.findall(r"M([^Z]*)Z", path)
    assert [len(ring.split("L")) for ring in rings] == [4, 4]
    assert P.polygons_to_svg_path([]) == ""


def test_masks_without_pixels_have_no_polygons() -> None:
    assert P.mask_to_polygons(np.zeros((0, 3), np.bool_)) == []


@pytest.mark.parametrize(
    "ring", [np.zeros((2, 2)), np.zeros(6), np.array([[0, 0], [1, 0], [np.nan, 1]])]
)
def test_a_bad_ring_is_refused(ring: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"\(n, 2\) with at least 3 finite corners"):
        P.polygons_to_mask([P.Polygon(ring)], (4, 4))
