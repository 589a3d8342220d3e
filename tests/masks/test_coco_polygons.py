"""COCO's polygons: the pixels of pycocotools, whatever the corners are."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as peer

from anymask.base import DataError
from anymask.masks import coco_polygons_to_rle, coco_to_rle, rle_to_mask, rle_to_string
from tests.masks.strategies import quickly, sizes, thoroughly


@st.composite
def polygons(draw: st.DrawFn) -> tuple[list[list[float]], tuple[int, int]]:
    """Rings that cross themselves, lie outside, or are a line or a point, in a small picture."""
    hw = draw(sizes(30))
    coordinate = draw(
        st.sampled_from([st.integers(-8, 40), st.floats(-8, 40, width=32), st.just(3.5)])
    )
    corners = st.lists(coordinate, min_size=6, max_size=24).map(
        lambda flat: [float(value) for value in flat[: len(flat) // 2 * 2]]
    )
    return draw(st.lists(corners, min_size=1, max_size=3)), hw


@thoroughly
@given(polygons())
def test_every_pixel_is_the_one_of_pycocotools(
    case: tuple[list[list[float]], tuple[int, int]],
) -> None:
    rings, hw = case
    theirs = rle_to_mask(coco_to_rle(peer.merge(peer.frPyObjects(rings, *hw))))
    np.testing.assert_array_equal(rle_to_mask(coco_polygons_to_rle(rings, hw)), theirs)


@quickly
@given(st.integers(0, 2**32 - 1))
def test_long_outlines_are_the_ones_of_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 90)[:-1]
    radius = 60 + 15 * rng.standard_normal(89)
    ring = np.stack([80 + radius * np.cos(angle), 60 + radius * np.sin(angle)], axis=1)
    rings = [np.round(ring, 2).ravel().tolist()]
    theirs = rle_to_mask(coco_to_rle(peer.merge(peer.frPyObjects(rings, 120, 160))))
    np.testing.assert_array_equal(rle_to_mask(coco_polygons_to_rle(rings, (120, 160))), theirs)


@pytest.mark.parametrize(
    ("rings", "told"),
    [
        ([], "list of polygons is empty"),
        ([[0, 0, 1, 1]], "Too few points. Polygon 0"),
        ([[0, 0, 1, 1, 2, 2], [0] * 7], r"Odd count of numbers. Polygon 1 has 7"),
        ([[0, 0, 1, float("nan"), 2, 2]], "Invalid number. Corners of polygon 0"),
        ([[0, 0, 1, 1e9, 2, 2]], "at most 1e[+]06 pixels"),
    ],
)
def test_rings_that_are_none_are_named(rings: list[list[float]], told: str) -> None:
    with pytest.raises(DataError, match=told):
        coco_polygons_to_rle(rings, (5, 5))


def test_corners_far_outside_cost_no_more_than_the_picture() -> None:
    far = [x for n in range(15) for x in (0, n % 7 * 1e5, 999_999, n % 5 * 1e5)]
    tracemalloc.start()
    rle = coco_polygons_to_rle([far], (20, 30))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rle.size == (20, 30)
    assert most < 10_000_000  # a walk of all its steps took 7 GB


@pytest.mark.parametrize("reach", [1.0, 40.0])
def test_clipped_walks_are_those_of_pycocotools(reach: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        height, width = rng.integers(1, 40, 2).tolist()
        ring = ((rng.random((7, 2)) - 0.5) * reach + 0.5) * (width, height)
        flat = ring.ravel().tolist()
        theirs = peer.frPyObjects([flat], height, width)[0]
        assert (
            rle_to_string(coco_polygons_to_rle([flat], (height, width))).encode()
            == (theirs["counts"])
        )


def test_a_polygon_that_goes_to_and_fro_for_ever_is_refused() -> None:
    zigzag = [x for n in range(30_000) for x in (n % 2, n % 2 * 14_000)]
    with pytest.raises(DataError, match=r"crosses the image in \d+ steps"):
        coco_polygons_to_rle([zigzag], (14_000, 14_000))
