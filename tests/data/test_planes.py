"""Stacks and channels: each plane that is read is the one that was written there."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from anymask.data.pixels import PictureView
from anymask.data.planes import PixelSize, load_plane, read_planes
from anymask.primitives.errors import AnymaskError

DEPTH, CHANNELS, HW = 3, 2, (10, 14)


def stack() -> np.ndarray:  # (Z, C, H, W)
    """Plane z, c is 40 z + 100 c everywhere."""
    planes = 40 * np.arange(DEPTH)[:, None] + 100 * np.arange(CHANNELS)
    return np.broadcast_to(planes[..., None, None], (DEPTH, CHANNELS, *HW)).astype(np.uint8).copy()


def level(path: Path, place: int = 0, channel: int | None = None) -> int:
    plane = load_plane(path, place, channel)
    assert plane.shape == (*HW, 3)
    (value,) = np.unique(plane)
    return int(value)


@pytest.fixture
def imagej(tmp_path: Path) -> Path:
    path = tmp_path / "imagej.tif"
    about = {"axes": "ZCYX", "unit": "micron"}
    tifffile.imwrite(path, stack(), imagej=True, metadata=about, resolution=(4.0, 4.0))
    return path


@pytest.fixture
def ome(tmp_path: Path) -> Path:
    path = tmp_path / "cells.ome.tif"
    about = {
        "axes": "CZYX", "PhysicalSizeX": 65.0, "PhysicalSizeXUnit": "nm",
        "Channel": {"Name": ["DAPI", "GFP"]},
    }  # fmt: skip
    tifffile.imwrite(path, stack().swapaxes(0, 1), ome=True, metadata=about)
    return path


@pytest.mark.parametrize(("kind", "places"), [("imagej", (0, 2, 4)), ("ome", (0, 1, 2))])
def test_masks_lie_on_places_and_channels_are_other_looks_at_them(
    kind: str, places: tuple[int, ...], request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(kind)
    planes = read_planes(path)
    assert planes.places == places
    assert [planes.name(place) for place in places] == ["Z 0", "Z 1", "Z 2"]
    for depth, place in enumerate(places):
        assert level(path, place) == level(path, place, 0) == 40 * depth
        assert level(path, place, 1) == 40 * depth + 100
    with pytest.raises(AnymaskError, match=r"wanted a channel of 0 to 1, got 2"):
        load_plane(path, 0, 2)
    with pytest.raises(AnymaskError, match=r"wanted a page that masks lie on, got 5; there are 3"):
        load_plane(path, 5)


def test_names_and_the_size_of_a_pixel_come_from_the_file(imagej: Path, ome: Path) -> None:
    assert read_planes(imagej).channels == ("Channel 1", "Channel 2")
    assert read_planes(imagej).pixel == PixelSize(0.25, "µm")
    assert read_planes(ome).channels == ("DAPI", "GFP")
    assert read_planes(ome).pixel == PixelSize(65.0, "nm")


def test_dots_per_inch_are_no_size_of_a_pixel(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", stack()[0, 0], resolution=(72, 72), resolutionunit=2)
    assert read_planes(tmp_path / "a.tif").pixel is None


def test_bands_are_channels_and_colours_stay_a_look_of_their_own(tmp_path: Path) -> None:
    five, colours = tmp_path / "five.tif", tmp_path / "colours.tif"
    bands = np.broadcast_to(50 * np.arange(5), (*HW, 5)).astype(np.uint8)
    tifffile.imwrite(five, bands, photometric="minisblack", planarconfig="contig")
    tifffile.imwrite(colours, bands[..., 1:4].copy(), photometric="rgb")
    assert read_planes(five).channels[4] == "Band 5"
    assert not read_planes(five).colours
    assert [level(five, 0, band) for band in range(5)] == [0, 50, 100, 150, 200]
    assert level(five) == 0  # nobody says which are red, green and blue: the first one
    assert load_plane(five, view=PictureView((3, 2, 1)))[0, 0].tolist() == [100, 50, 0]
    assert read_planes(colours).colours
    assert load_plane(colours)[0, 0].tolist() == [50, 100, 150]
    assert level(colours, 0, 2) == 150


def test_plain_files_have_one_plane_and_animations_their_frames(tmp_path: Path) -> None:
    frames = [Image.fromarray(plane) for plane in stack()[:, 0]]
    frames[0].save(tmp_path / "a.png")
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    plain, animated = read_planes(tmp_path / "a.png"), read_planes(tmp_path / "a.gif")
    assert (plain.places, plain.channels, plain.pixel) == ((0,), (), None)
    assert animated.places == (0, 1, 2)
    assert [level(tmp_path / "a.gif", place) for place in animated.places] == [0, 40, 80]


@pytest.mark.parametrize("xml", ["", "<OME", "<OME><Image/></OME>", "<!DOCTYPE x><OME/>"])
def test_odd_descriptions_are_passed_over(tmp_path: Path, xml: str) -> None:
    path = tmp_path / "odd.ome.tif"
    tifffile.imwrite(path, stack()[0, 0], description=xml or "<?xml?>", metadata=None)
    assert read_planes(path).pixel is None
    assert level(path) == 0
