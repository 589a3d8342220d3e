"""Pictures of many bands, types and pages: what tifffile, OpenCV and Pillow wrote comes back."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from anymask.base import ImageError, InputError
from anymask.images import load_image
from tests.masks.strategies import quickly

RNG = np.random.default_rng(11)
HW = (20, 30)


def tiff(array: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def png(array: NDArray[Any]) -> bytes:
    """By OpenCV, which writes 16 bits; it wants blue first."""
    order = {2: None, 3: [2, 1, 0], 4: [2, 1, 0, 3]}
    turned = array if array.ndim == 2 else array[..., order[array.shape[2]]]
    return cv2.imencode(".png", turned)[1].tobytes()


def bands(count: int, dtype: Any = np.uint16) -> NDArray[Any]:
    return RNG.integers(0, 4000, (*HW, count)).astype(dtype)


# The file gives what its array gives.


@quickly
@given(
    st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.int32, np.float32, np.float64]),
    st.integers(4, 7),
    st.sampled_from(["contig", "separate"]),
    st.sampled_from([None, "zlib"]),
    st.sampled_from(["<", ">"]),
    st.data(),
)
def test_bands_of_any_type_and_storage_are_those_of_the_array(
    dtype: Any, count: int, planes: str, packed: str | None, order: str, data: st.DataObject
) -> None:
    array = np.random.default_rng(data.draw(st.integers(0, 99))).integers(-90, 9000, (7, 9, count))
    array = array.astype(dtype)
    stored = np.moveaxis(array, -1, 0) if planes == "separate" else array
    file = tiff(
        stored, photometric="minisblack", planarconfig=planes, compression=packed, byteorder=order
    )
    chosen = data.draw(st.permutations(range(1, count + 1)))[: data.draw(st.sampled_from([1, 3]))]
    truth = array[..., [band - 1 for band in chosen]]
    np.testing.assert_array_equal(load_image(file, bands=chosen), load_image(truth))
    np.testing.assert_array_equal(load_image(array, bands=chosen), load_image(truth))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "?"]
)
def test_grey_of_any_type_is_that_of_the_array(dtype: str, order: str) -> None:
    array = (np.arange(600).reshape(HW) * 11_000_000).astype(np.int64).astype(np.uint64)
    array = array.astype(dtype) if dtype != "f2" else (array % 900).astype("f2")
    file = tiff(array, photometric="minisblack", byteorder=order)
    np.testing.assert_array_equal(load_image(file), load_image(array))


@pytest.mark.parametrize("write", [tiff, png])
@pytest.mark.parametrize("count", [3, 4])
def test_sixteen_bit_colours_keep_their_bits(write: Callable[..., bytes], count: int) -> None:
    array = bands(count)
    if count == 4:
        array[..., 3] = RNG.integers(0, 65536, HW)
    file = tiff(array, photometric="rgb", extrasamples=[2][: count - 3]) if write is tiff else None
    np.testing.assert_array_equal(load_image(file or png(array)), load_image(array))


def test_a_page_of_deep_colours_is_its_own(tmp_path: Path) -> None:
    pages = [bands(3) for _ in range(3)]
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path) as writer:
        for one in pages:
            writer.write(one, photometric="rgb")
    for number, one in enumerate(pages):
        np.testing.assert_array_equal(load_image(path, page=number), load_image(one))
        found = load_image(path, page=number, bands=2)
        np.testing.assert_array_equal(found, load_image(one[..., 1]))


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP"])
def test_a_page_or_frame_is_chosen(kind: str) -> None:
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    frames = [Image.new("RGB", (12, 8), color) for color in colors]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    for page, color in enumerate(colors):
        seen = load_image(buffer.getvalue(), page=page)[4, 6].astype(int)
        assert np.abs(seen - color).max() <= 4
    with pytest.raises(
        ImageError, match=r"Page 3 is out of range: the image \(.* bytes\) has 3 pages, numbered"
    ):
        load_image(buffer.getvalue(), page=3)


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_a_fourth_sample_counts_as_alpha_only_when_its_tag_says_so(extra: int) -> None:
    array = bands(4, np.float32)
    array[..., 3] = np.linspace(0, 1, array[..., 3].size).reshape(HW)
    array[..., :3] /= 4000
    seen = array if extra else array[..., :3]
    file = tiff(array, photometric="rgb", extrasamples=[extra])
    np.testing.assert_array_equal(load_image(file), load_image(seen))


def test_white_may_be_zero_and_colours_may_be_inks() -> None:
    gray = bands(1)[..., 0]
    with_alpha = np.dstack([gray, np.full(HW, 65535, np.uint16)])
    file = tiff(with_alpha, photometric="miniswhite", extrasamples=[2], planarconfig="contig")
    assert np.abs(load_image(file) + load_image(gray).astype(int) - 255).max() <= 1
    ink = np.zeros((*HW, 4), np.uint16)
    ink[..., 1] = 65535  # all magenta
    np.testing.assert_array_equal(
        load_image(tiff(ink, photometric="separated"))[0, 0], (255, 0, 255)
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_whose_white_is_zero_is_shown_the_right_way_round(dtype: Any, order: str) -> None:
    most = np.iinfo(dtype).max
    stored = np.array([[0, most // 5], [most // 5 * 4, most]], dtype)
    file = tiff(stored, photometric="miniswhite", byteorder=order)
    np.testing.assert_array_equal(load_image(file)[..., 0], [[255, 204], [51, 0]])
    np.testing.assert_array_equal(load_image(tiff(stored, photometric="minisblack"))[0, 0], 0)
    if order == "<":  # Pillow does not know the other one of 16 bits
        with Image.open(io.BytesIO(file)) as image:
            np.testing.assert_array_equal(load_image(image)[..., 0], [[255, 204], [51, 0]])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_tiff_is_undone(orientation: int) -> None:
    array = bands(5)
    tags = [(274, "H", 1, orientation, False)]
    file = tiff(array, photometric="minisblack", planarconfig="contig", extratags=tags)
    eight = tiff(array[..., :1].astype(np.uint8), photometric="minisblack", extratags=tags)
    turned = load_image(file, bands=1)
    assert turned.shape == load_image(eight).shape
    corner = load_image(array[..., :1])[0, 0]
    at = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1)}
    np.testing.assert_array_equal(turned[at.get(orientation, (-1, 0))], corner)


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "P", "1", "LA", "CMYK", "L"])
def test_bands_of_a_common_picture(mode: str) -> None:
    image = Image.fromarray(RNG.integers(0, 256, (*HW, 3), np.uint8)).convert(mode)
    shown = image if mode in ("RGB", "RGBA", "L", "LA") else image.convert("RGB")
    layer = np.asarray(shown).reshape(*HW, -1)[..., -1]
    last = 1 if mode in ("1", "L") else len(shown.getbands())
    found = load_image(image, bands=last)
    np.testing.assert_array_equal(found, np.dstack([layer] * 3))


# Stretching.


def test_a_stretch_is_done_band_by_band() -> None:
    ramp = np.linspace(0, 1000, 10_000).reshape(100, 100)
    array = np.dstack([ramp, 50 + ramp / 100, ramp * 7])
    image = load_image(array, stretch=(2, 98)).astype(int)
    truth = np.clip((ramp - 20) / 960 * 255, 0, 255)
    for band in range(3):
        assert np.abs(image[..., band] - truth).max() <= 1


def test_a_stretch_leaves_out_what_is_not_finite() -> None:
    array = np.linspace(0, 1000, 10_000).reshape(100, 100)
    whole = load_image(array, stretch=(0, 100))
    array[3, 3], array[4, 4], array[5, 5] = np.nan, np.inf, -np.inf
    image = load_image(array, stretch=(0, 100))
    assert [int(image[n, n, 0]) for n in (3, 4, 5)] == [0, 255, 0]
    assert np.abs(image[50:].astype(int) - whole[50:]).max() <= 1
    with pytest.raises(ImageError, match="or set value ranges: --stretch 2,98"):
        load_image(array)
    with pytest.raises(ImageError, match="A band of the array has no finite pixel value"):
        load_image(np.full((4, 4), np.nan), stretch=(2, 98))


@quickly
@given(st.integers(0, 999), st.integers(0, 40), st.integers(60, 100))
def test_a_stretch_of_bytes_is_numpy_s(seed: int, low: int, high: int) -> None:
    array = np.random.default_rng(seed).integers(30, 200, (*HW, 3)).astype(np.uint8)
    image = load_image(array, stretch=(low, high)).astype(int)
    for band in range(3):
        ends = np.percentile(array[..., band], (low, high))
        truth = np.interp(array[..., band], ends, (0, 255))
        assert np.abs(image[..., band] - truth).max() <= 1


# What cannot be read.


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"bands": (3, 2)},
            r"Invalid bands \(3, 2\). Expected one or three whole numbers, counted from 1",
        ),
        ({"bands": 0}, "Invalid bands 0.*counted from 1"),
        ({"bands": (1, 2, 2.5)}, r"bands \(1, 2, 2\.5\)"),
        ({"page": -1}, "Invalid page -1. Use a whole number of at least 0"),
        (
            {"stretch": (98, 2)},
            r"Invalid stretch \(98, 2\). Expected two percentiles from 0 to 100",
        ),
        ({"stretch": (2, 101)}, r"stretch \(2, 101\)"),
        ({"stretch": (2,)}, r"stretch \(2,\)"),
        ({"bands": 6}, "Band 6 does not exist: the array has 5 bands, numbered from 1"),
        ({"page": 1}, "Page 1 is out of range: the array has 1 page, numbered from 0"),
        ({}, r"has shape \(20, 30, 5\). Choose 3 of its bands: bands=\(3, 2, 1\)"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        load_image(bands(5), **settings)


def test_a_volume_and_a_bomb_are_refused() -> None:
    layers = np.stack([bands(1, np.float16)[..., 0]] * 20)
    volume = tiff(layers, volumetric=True, tile=(16, 16, 16), photometric="minisblack")
    with pytest.raises(ImageError, match=r"in one piece, but at most"):
        load_image(volume)
    size = tiff(bands(5), photometric="minisblack", planarconfig="contig")
    with tifffile.TiffFile(io.BytesIO(size)) as document:
        place = document.pages[0].tags["ImageLength"].valueoffset
    huge = bytearray(size)
    huge[place : place + 4] = (2_000_000_000).to_bytes(4, "little")
    with pytest.raises(ImageError, match="but the limit is 200 megapixels"):
        load_image(bytes(huge), bands=1)


@pytest.mark.parametrize("count", [3, 5])
def test_a_truncated_file_is_refused(count: int) -> None:
    colors = "rgb" if count == 3 else "minisblack"
    whole = tiff(bands(count), photometric=colors, planarconfig="contig", compression="zlib")
    with pytest.raises(ImageError, match="damaged|truncated|none"):
        load_image(whole[: len(whole) - 600], bands=1 if count == 5 else None)
    deep = png(bands(3))
    with pytest.raises(ImageError, match="is corrupted or truncated"):
        load_image(deep[: len(deep) // 2])


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_tiff_without_a_page_is_damaged(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImageError, match=r"the image \(54 bytes\) is corrupted.*Copy it"):
        load_image(b"II*\0" + b"x" * 50)
    assert capfd.readouterr().err == ""
