"""Measurements against scikit-image, shapely and figures that were worked out by hand."""

import csv
import dataclasses
import io
import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from shapely import Polygon
from skimage import draw
from skimage import measure as skimage_measure

from anymask.masks import mask_to_rle, measure
from anymask.masks.measure import Measurements

MASKS = arrays.arrays(
    np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.booleans()
)


class Named(NamedTuple):
    score: float
    label: str | None


def measured(mask: np.ndarray) -> Measurements:
    return measure.measure_mask(mask_to_rle(mask))


@given(MASKS)
def test_areas_places_and_axes_are_those_of_scikit_image(mask: np.ndarray) -> None:
    found = measured(mask)
    if not mask.any():
        assert found == Measurements()
        return
    (peer,) = skimage_measure.regionprops(mask.astype(np.uint8))
    assert found.area == peer.area == mask.sum()
    assert (found.y - 0.5, found.x - 0.5) == pytest.approx(peer.centroid)
    assert (found.y0, found.x0, found.y1 + 1, found.x1 + 1) == peer.bbox
    assert found.diameter == pytest.approx(peer.equivalent_diameter_area)
    for mine, theirs in (
        (found.length, peer.axis_major_length),
        (found.width, peer.axis_minor_length),
    ):
        assert mine**2 == pytest.approx(theirs**2 + 16 / 12, abs=1e-6)  # its pixels are points
    assert found.parts == skimage_measure.label(mask, connectivity=2).max()
    assert found.holes == found.parts - skimage_measure.euler_number(mask, connectivity=2)
    assert 0 < found.circularity <= 1
    assert 0 < found.solidity <= 1


@pytest.mark.parametrize("degrees", [-75, -45, -20, 0, 10, 45, 80])
def test_an_ellipse_has_its_axes_its_angle_and_its_perimeter(degrees: int) -> None:
    image = np.zeros((300, 300), bool)
    # of scikit-image: against the clock
    image[draw.ellipse(140, 160, 30, 100, rotation=-math.radians(degrees))] = True
    found = measured(image)
    assert (found.length, found.width) == pytest.approx((200, 60), rel=0.01)
    assert found.angle == pytest.approx(degrees, abs=0.5)
    assert (found.x, found.y) == pytest.approx((160.5, 140.5), abs=0.1)
    turn = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    exact = Polygon(np.stack([100 * np.cos(turn), 30 * np.sin(turn)], axis=1))
    assert found.perimeter == pytest.approx(exact.length, rel=0.015)
    assert found.solidity == pytest.approx(1, abs=0.03)


def test_a_frame_by_hand() -> None:
    image = np.zeros((20, 30), bool)
    image[2:12, 5:25] = True
    image[4:9, 10:20] = False
    found = measured(image)
    assert found.area == 150
    assert found.perimeter == pytest.approx(2 * (20 + 10) + 2 * (10 + 5))
    assert (found.x0, found.y0, found.x1, found.y1) == (5, 2, 24, 11)
    assert (found.parts, found.holes, found.solidity) == (1, 1, 0.75)
    assert found.circularity == pytest.approx(4 * math.pi * 150 / 90**2)
    assert found.diameter == pytest.approx(math.sqrt(4 * 150 / math.pi))
    # a rectangle less a rectangle: their squares' second moments over the area
    whole, hole = (20**3 * 10, 10**3 * 5)
    cx_whole, cx_hole = 15.0, 15.0
    across = (
        whole / 12 + 200 * (cx_whole - found.x) ** 2 - hole / 12 - 50 * (cx_hole - found.x) ** 2
    )
    assert found.length == pytest.approx(4 * math.sqrt(across / 150))
    assert found.angle == pytest.approx(0, abs=1e-9)


def test_a_table_is_read_back_by_python_s_csv() -> None:
    image = np.zeros((6, 8), bool)
    image[1:3, 2:6] = True
    rle = mask_to_rle(image)
    named = Named(0.87654321, 'a "cell", large')
    rows = list(
        csv.DictReader(io.StringIO(measure.to_csv([measure.table_row("a,b.tif", 1, rle, named)])))
    )
    assert [tuple(row) for row in rows] == [measure.TABLE_HEADER]
    (row,) = rows
    assert (row["image"], row["number"], row["label"]) == ("a,b.tif", "1", 'a "cell", large')
    assert row["score"] == "0.876543"
    for name, value in dataclasses.asdict(measured(image)).items():
        assert float(row[name]) == pytest.approx(value, rel=1e-5)
    assert measure.table_row("a", 2, rle, Named(0, None))[:4] == ["a", "2", "", "0"]
    assert measure.to_csv([]) == ",".join(measure.TABLE_HEADER) + "\n"
