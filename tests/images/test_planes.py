"""Stacks and channels: each plane that is read is the one that was written there."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from anymask.base import AnymaskError, ImageError, InputError
from anymask.images import ImageView, PixelSize, load_image, load_plane, read_planes

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
    with pytest.raises(AnymaskError, match=r"Channel 2 is out of range. Use 0 to 1"):
        load_plane(path, 0, 2)
    with pytest.raises(AnymaskError, match=r"Page 5 is not available"):
        load_plane(path, 5)


def test_names_and_the_size_of_a_pixel_come_from_the_file(imagej: Path, ome: Path) -> None:
    assert read_planes(imagej).channels == ("Channel 1", "Channel 2")
    assert read_planes(imagej).pixel == PixelSize(0.25, "µm")
    assert read_planes(ome).channels == ("DAPI", "GFP")
    assert read_planes(ome).pixel == PixelSize(65.0, "nm")


def test_bands_are_channels_and_colours_stay_a_look_of_their_own(tmp_path: Path) -> None:
    five, colors = tmp_path / "five.tif", tmp_path / "colours.tif"
    bands = np.broadcast_to(50 * np.arange(5), (*HW, 5)).astype(np.uint8)
    tifffile.imwrite(five, bands, photometric="minisblack", planarconfig="contig")
    tifffile.imwrite(colors, bands[..., 1:4].copy(), photometric="rgb")
    assert read_planes(five).channels[4] == "Band 5"
    assert not read_planes(five).colors
    assert [level(five, 0, band) for band in range(5)] == [0, 50, 100, 150, 200]
    assert level(five) == 0  # nobody says which are red, green and blue: the first one
    assert load_plane(five, view=ImageView((3, 2, 1)))[0, 0].tolist() == [100, 50, 0]
    assert read_planes(colors).colors
    assert load_plane(colors)[0, 0].tolist() == [50, 100, 150]
    assert level(colors, 0, 2) == 150


@pytest.mark.parametrize(("kind", "place"), [("imagej", 2), ("ome", 1)])
def test_channels_that_are_pages_become_red_green_and_blue(
    kind: str, place: int, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(kind)  # at Z 1: 40 and 140
    mixed = load_image(path, bands=(2, 0, 1), page=place)
    assert mixed.shape == (*HW, 3)
    assert np.unique(mixed.reshape(-1, 3), axis=0).tolist() == [[140, 0, 40]]
    view = ImageView.of((2, 1, 1), ranges=((100, 180), None, (20, 60)))
    assert load_plane(path, place, view=view)[0, 0].tolist() == [128, 40, 128]
    assert load_plane(path, place, 1, view)[0, 0].tolist() == [128] * 3  # alone, with its range
    assert level(path, place, 0) == 40
    assert load_image(path, bands=2, page=place)[0, 0].tolist() == [140] * 3
    with pytest.raises(
        ImageError, match=r"Band 3 does not exist: '.*' has 2 bands, numbered from 1"
    ):
        load_image(path, bands=(1, 2, 3), page=place)


def test_sixteen_bits_of_each_channel_are_laid_between_its_own_values(tmp_path: Path) -> None:
    planes = np.random.default_rng(4).integers(0, 5000, (3, *HW)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", planes, imagej=True, metadata={"axes": "CYX"})
    ranges = ((0, 5000), (1000, 2000), None)
    mixed = load_image(tmp_path / "deep.tif", bands=(3, 1, 2), ranges=ranges)
    truth = [(planes[2] / 5000.0), (planes[0] - 1000.0) / 1000, None]
    for place, share in enumerate(truth[:2]):
        np.testing.assert_allclose(mixed[..., place], np.clip(share, 0, 1) * 255, atol=0.51)
    np.testing.assert_array_equal(mixed[..., 2], load_image(planes[1])[..., 0])
    array = load_image(planes.transpose(1, 2, 0), bands=(3, 1, 2), ranges=ranges)
    np.testing.assert_array_equal(mixed, array)
    one = load_image(planes[0], ranges=(1000, 2000))
    np.testing.assert_array_equal(one[..., 0], mixed[..., 1])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"bands": (0, 0, 0)}, "such as .3, 2, 1. for red, green, blue .0 for black"),
        ({"bands": 0}, "Expected one or three whole numbers"),
        ({"ranges": (5, 5)}, "Expected one pair"),
        ({"ranges": ((1, 2), (3, 4))}, "for each of the 3 bands"),
        ({"ranges": ((1, 2), (3, 4), (5, np.inf))}, "Expected one pair"),
        ({"ranges": "wide"}, "Expected one pair"),
        ({"ranges": (1, 2), "stretch": (1, 2)}, "cannot be combined"),
    ],
)
def test_settings_that_make_no_composite_are_refused(settings: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        load_image(np.zeros((4, 5, 3), np.uint8), **settings)
    with pytest.raises(ImageError, match="the array has 1 band, but 3 ranges"):
        load_image(np.zeros((4, 5), np.uint8), ranges=((1, 2), (3, 4), (5, 6)))


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


def test_dots_per_inch_are_no_size_of_a_pixel(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", stack()[0, 0], resolution=(72, 72), resolutionunit=2)
    assert read_planes(tmp_path / "a.tif").pixel is None
