"""SVG: paths come back pixel for pixel; others' paths of straight lines are read."""

from pathlib import Path

import numpy as np
import pytest
import shapely

from anymask.base import DataError
from anymask.formats import AnnotatedImage, LossReport, svg
from anymask.formats.outlines import even_odd_to_rle
from anymask.masks import empty_rle, rle_to_mask


@pytest.mark.parametrize(
    "text",
    [
        "M1,1L5,1L5,4L1,4Z",
        "m1 1 4 0 0 3-4 0z",
        "M 1 1 H 5 V 4 H 1 Z",
        "m1,1h4v3h-4z",
        "M1 1L5 1 5 4.0 .1e1 4",
    ],
)
def test_every_spelling_of_a_rectangle_is_read(text: str) -> None:
    (ring,) = svg.path_to_rings(text)
    assert shapely.Polygon(ring).equals(shapely.box(1, 1, 5, 4))


def test_rings_after_a_closed_one_start_where_it_started() -> None:
    rings = svg.path_to_rings("m1 1h2v2h-2z m4 0h2v2h-2z")
    assert [ring[0].tolist() for ring in rings] == [[1, 1], [5, 1]]


def test_what_two_rings_cover_is_outside() -> None:
    rings = svg.path_to_rings("M-3,0H6V4H-3Z M1,1H3V3H1Z M7,0H8V1H7Z")
    truth = np.zeros((5, 8), np.bool_)
    truth[:4, :6] = True
    truth[1:3, 1:3] = False
    truth[0, 7] = True
    np.testing.assert_array_equal(rle_to_mask(even_odd_to_rle(rings, (5, 8))), truth)


@pytest.mark.parametrize("text", ["M-5,-5H-2V-1H-5Z", "M9,1H12V3H9Z", "M-5,9H20V12H-5Z"])
def test_rings_beside_the_picture_have_no_pixel(text: str) -> None:
    rle = even_odd_to_rle(svg.path_to_rings(text), (5, 8))
    assert rle == empty_rle((5, 8))


def read(folder: Path, inside: str, head: str = 'viewBox="0 0 8 5"') -> AnnotatedImage:
    text = f'<svg xmlns="http://www.w3.org/2000/svg" {head}>{inside}</svg>'
    (folder / "a.svg").write_text(text)
    (image,) = svg.read(folder / "a.svg", LossReport())
    return image


@pytest.mark.parametrize("head", ['viewBox="0 0 8 5"', 'width="8px" height="5"'])
def test_polygons_of_others_are_read(head: str, tmp_path: Path) -> None:
    image = read(tmp_path, '<g><polygon points="1,1 5,1 5,4 1,4"/></g>', head)
    assert (image.file_name, image.hw) == ("a", (5, 8))
    assert [mask.area for mask in image.masks] == [12]


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("", "The image size is missing. Expected a width and a height"),
        ('width="50%" height="3"', "The image size is missing"),
        ('viewBox="1 0 3 3"', "The viewBox must start at 0 0."),
        ('viewBox="0 0 3.5 3"', "`width` is not a whole number"),
    ],
)
def test_a_size_is_wanted(head: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"a.svg: {message}"):
        read(tmp_path, "", head)
    (tmp_path / "a.svg").write_text("<html/>")
    with pytest.raises(DataError, match="a.svg: The root element must be"):
        svg.read(tmp_path, LossReport())
