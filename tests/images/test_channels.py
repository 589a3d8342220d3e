"""All channels of a picture, however a file holds them: what is read is what was written."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from anymask.base import ImageError, InputError
from anymask.images import (
    ImageFile,
    ImageView,
    display_image,
    load_channels,
    load_image,
    load_mixed,
    read_channels,
    read_value_ranges,
)
from anymask.masks import ChannelMix

HW = (9, 12)
STACK = np.random.default_rng(2).integers(0, 60_000, (5, *HW)).astype(np.uint16)  # (C, H, W)
EXPECTED = np.moveaxis(STACK, 0, -1)


def write(path: Path, kind: str) -> Path:
    """The stack as one of the ways in which TIFF files hold channels."""
    if kind == "pages":
        tifffile.imwrite(path, STACK, photometric="minisblack")
    elif kind == "bands":
        tifffile.imwrite(path, EXPECTED, photometric="minisblack", planarconfig="contig")
    elif kind == "planes":
        tifffile.imwrite(path, STACK, photometric="minisblack", planarconfig="separate")
    else:
        tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "CYX"})
    return path


@pytest.mark.parametrize("kind", ["pages", "bands", "planes", "imagej"])
def test_channels_of_a_tiff_are_its_bands_or_its_pages(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "stack.tif", kind)
    found = load_channels(path, count=5)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, EXPECTED)
    np.testing.assert_array_equal(load_channels(str(path), count=5), EXPECTED)


def test_a_place_of_a_stack_has_its_own_channels(tmp_path: Path) -> None:
    deep = np.random.default_rng(4).integers(0, 9999, (3, 2, *HW)).astype(np.uint16)  # (Z, C, H, W)
    tifffile.imwrite(tmp_path / "z.tif", deep, imagej=True, metadata={"axes": "ZCYX"})
    for depth, place in enumerate((0, 2, 4)):
        found = load_channels(tmp_path / "z.tif", place, count=2)
        np.testing.assert_array_equal(found, np.moveaxis(deep[depth], 0, -1))
    with pytest.raises(InputError, match="Page 1 is not available"):
        load_channels(tmp_path / "z.tif", 1, count=2)


def test_pages_that_are_not_as_many_as_wanted_are_places(tmp_path: Path) -> None:
    path = write(tmp_path / "stack.tif", "pages")
    np.testing.assert_array_equal(load_channels(path, 3, count=1), EXPECTED[..., 3:4])
    assert load_channels(path, count=4).shape == (*HW, 1)


def test_pictures_of_other_kinds_keep_their_numbers(tmp_path: Path) -> None:
    gray = EXPECTED[..., 0]
    cv2.imwrite(str(tmp_path / "grey.png"), gray)
    np.testing.assert_array_equal(load_channels(tmp_path / "grey.png")[..., 0], gray)
    cv2.imwrite(str(tmp_path / "deep.png"), EXPECTED[..., 2::-1])
    np.testing.assert_array_equal(load_channels(tmp_path / "deep.png"), EXPECTED[..., :3])
    eight = (EXPECTED[..., :4] >> 8).astype(np.uint8)
    Image.fromarray(eight).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(load_channels(tmp_path / "rgba.png"), eight)
    np.testing.assert_array_equal(load_channels(EXPECTED), EXPECTED)


def test_a_model_gets_its_channels_and_people_see_the_mix(tmp_path: Path) -> None:
    path = write(tmp_path / "stack.tif", "pages")
    mix = ChannelMix.initial([(0.0, 60_000.0)] * 5, (1, 2, 3), "uint16")
    given = read_channels(ImageFile(path), mix)
    np.testing.assert_array_equal(given, EXPECTED)
    np.testing.assert_array_equal(display_image(given, mix), load_mixed(path, mix))
    np.testing.assert_array_equal(load_mixed(path, mix), load_mixed(EXPECTED, mix))
    with pytest.raises(
        InputError, match="uses all 5 channels.*Remove the options bands, stretch and"
    ):
        read_channels(ImageFile(path, view=ImageView(bands=(1, 2, 3))), mix)
    tifffile.imwrite(
        tmp_path / "stack4.tif", EXPECTED[..., :4], photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(InputError, match=r"stack4\.tif' has 4 channels, .* with 5"):
        read_channels(ImageFile(tmp_path / "stack4.tif"), mix)


def test_pages_of_several_sizes_are_no_channels(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "odd.tif") as file:
        file.write(STACK[0], photometric="minisblack")
        file.write(STACK[0, :5], photometric="minisblack")
    with pytest.raises(ImageError, match="differ in size"):
        load_channels(tmp_path / "odd.tif", count=2)


def test_the_values_of_channels_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "stack.tif", "imagej")
    found = read_value_ranges(path)
    assert [one.name for one in found] == [f"Channel {n}" for n in range(1, 6)]
    for one, plane in zip(found, STACK, strict=True):
        assert (one.least, one.most) == (plane.min(), plane.max())
        assert (one.low, one.high) == tuple(np.percentile(plane, (0.1, 99.9)))
        alone = load_image(path, bands=one_of_three(found.index(one)), ranges=(one.low, one.high))
        unasked = load_image(path, bands=one_of_three(found.index(one)), ranges=(None,) * 3)
        np.testing.assert_array_equal(alone, unasked)


def test_a_channel_of_noise_alone_is_black_in_a_composite(tmp_path: Path) -> None:
    """The noise is normal: 1 in 741 values lies 3 standard deviations above the mean."""
    draw = np.random.default_rng(0)
    stack = np.stack([np.tile(np.arange(200.0), (200, 1)), *draw.normal(500, 10, (2, 200, 200))])
    stack[2, 50:53, 50:53] = 600  # one dim spot is seen
    tifffile.imwrite(tmp_path / "a.tif", stack.astype(np.uint16), imagej=True)
    shown = load_image(tmp_path / "a.tif", bands=(1, 2, 3), ranges=(None,) * 3)
    np.testing.assert_allclose(shown[..., 0], stack[0] * 255 / 199, atol=1)
    assert (shown[..., 1:] > 0).mean() < 0.003
    assert shown[51, 51, 2] == 255
    _, noise, _ = read_value_ranges(tmp_path / "a.tif")
    assert noise.low == pytest.approx(530, abs=1)


def one_of_three(channel: int) -> tuple[int, int, int]:
    return (channel + 1, 0, 0)


def test_a_grey_picture_has_values_where_it_has_more_than_8_bits(tmp_path: Path) -> None:
    deep = STACK[0]
    Image.fromarray(deep).save(tmp_path / "deep.png")
    tifffile.imwrite(tmp_path / "deep.tif", deep)
    tifffile.imwrite(tmp_path / "float.tif", deep.astype(np.float32))
    for name in ("deep.png", "deep.tif", "float.tif"):
        (found,) = read_value_ranges(tmp_path / name)
        assert (found.name, found.least, found.most) == ("Grey", deep.min(), deep.max())
    Image.fromarray(deep.astype(np.uint8)).save(tmp_path / "flat.png")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "colour.png")
    (tmp_path / "cut.tif").write_bytes((tmp_path / "deep.tif").read_bytes()[:100])
    assert (
        read_value_ranges(tmp_path / "flat.png") == read_value_ranges(tmp_path / "colour.png") == []
    )
    with pytest.raises(ImageError):
        read_value_ranges(tmp_path / "cut.tif")
