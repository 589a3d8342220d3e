"""Reading pictures: every kind that users have, and every way in which one can be broken."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageOps

from anymask.base import ImageError
from anymask.images import decoding as pixels
from anymask.images import load_image, load_mask

RNG = np.random.default_rng(7)
IMAGE = RNG.integers(0, 256, (23, 31, 3), np.uint8)
ORIENTATION = 0x0112


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds nothing."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    data = b"IDAT" + zlib.compress(b"")
    rest = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    return b"\x89PNG\r\n\x1a\n" + chunk + rest


# The same pixels, whatever they come in.


@pytest.mark.parametrize("form", ["path", "text path", "bytes", "file object", "pillow", "array"])
def test_every_source_gives_the_same_pixels(form: str, tmp_path: Path) -> None:
    path = tmp_path / "Фото 1.png"
    data = encoded(Image.fromarray(IMAGE))
    path.write_bytes(data)
    source = {
        "path": path,
        "text path": str(path),
        "bytes": data,
        "file object": io.BytesIO(data),
        "pillow": Image.fromarray(IMAGE),
        "array": IMAGE,
    }[form]
    np.testing.assert_array_equal(load_image(source), IMAGE)


def test_a_pillow_image_stays_open() -> None:
    image = Image.open(io.BytesIO(encoded(Image.fromarray(IMAGE))))
    load_image(image)
    assert image.getpixel((0, 0)) == tuple(IMAGE[0, 0])


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "YCbCr", "HSV", "CMYK"])
def test_pillow_modes_become_what_pillow_makes_of_them(mode: str) -> None:
    image = Image.fromarray(IMAGE).convert(mode)
    np.testing.assert_array_equal(load_image(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "La", "RGBa"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    alpha = RNG.integers(0, 256, IMAGE.shape[:2], np.uint8)
    image = Image.fromarray(np.dstack([IMAGE, alpha]))
    for step in {"PA": ["P", "PA"], "La": ["LA", "La"]}.get(mode, [mode]):
        image = image.convert(step)
    seen = image.convert("LA") if mode == "La" else image
    seen = seen.convert("RGBA")
    white = Image.new("RGBA", seen.size, "white")
    truth = np.asarray(Image.alpha_composite(white, seen).convert("RGB")).astype(int)
    assert np.abs(load_image(image).astype(int) - truth).max() <= 1


def test_a_see_through_colour_of_a_palette_becomes_white() -> None:
    source_image = Image.new("P", (4, 2), 0)
    source_image.putpalette([10, 20, 30, 200, 0, 0])
    source_image.putpixel((1, 0), 1)
    image = load_image(encoded(source_image, transparency=0))
    assert tuple(image[0, 0]) == (255, 255, 255)
    assert tuple(image[0, 1]) == (200, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone_as_pillow_does_it(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(Image.fromarray(IMAGE), exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        truth = np.asarray(ImageOps.exif_transpose(image))
        np.testing.assert_array_equal(load_image(image), truth)
    np.testing.assert_array_equal(load_image(data), truth)


@pytest.mark.parametrize("value", [0, 9, 77])
def test_an_orientation_that_does_not_exist_is_ignored(value: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    data = encoded(Image.fromarray(IMAGE), exif=exif)
    np.testing.assert_array_equal(load_image(data), IMAGE)


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1), (1, 1, 3), (1, 7), (7, 1)])
def test_one_pixel_is_a_picture(shape: tuple[int, ...]) -> None:
    image = load_image(np.full(shape, 200, np.uint8))
    assert image.shape == (*shape[:2], 3)
    assert (image == 200).all()


# Numbers of other types.


@settings(deadline=None)
@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_grey_is_three_equal_channels(gray: np.ndarray) -> None:
    np.testing.assert_array_equal(load_image(gray), np.dstack([gray] * 3))
    np.testing.assert_array_equal(load_image(gray[..., None]), np.dstack([gray] * 3))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_from_0_to_1_mean_black_to_white(dtype: type) -> None:
    image = load_image((IMAGE / 255).astype(dtype))
    np.testing.assert_array_equal(image, IMAGE)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint32])
def test_wide_types_that_hold_eight_bits_stay_as_they_are(dtype: type) -> None:
    np.testing.assert_array_equal(load_image(IMAGE.astype(dtype)), IMAGE)


@pytest.mark.parametrize(
    ("low", "high"),
    [(-1, 1), (-0.3, 0.9), (0, 3), (-0.5, 20), (0, 0.001), (0, 4095 / 65535)],
    ids=["normalised", "index", "ratio", "change", "small", "12 of 16 bits"],
)
def test_floats_that_are_no_colours_are_stretched(low: float, high: float) -> None:
    ramp = np.linspace(0, 1, 10_000, dtype=np.float32).reshape(100, 100)
    image = load_image(ramp * np.float32(high - low) + np.float32(low))[..., 0]
    assert np.abs(image / 255 - ramp).max() < 0.005


@pytest.mark.parametrize("white", [1, 255])
def test_dim_colours_in_floats_stay_dim(white: int) -> None:
    dim = np.linspace(0, 0.2, 400, dtype=np.float32).reshape(20, 20)
    np.testing.assert_array_equal(load_image(dim * white)[..., 0], np.floor(dim * 255 + 0.5))
    clear = np.dstack([dim * white, np.full((20, 20), 0.1 * white, np.float32)])  # with its alpha
    assert load_image(clear).min() >= 229


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.float32])
def test_sixteen_bits_are_stretched_and_hot_pixels_do_not_count(dtype: type) -> None:
    ramp = np.linspace(1000, 5000, 40_000).reshape(200, 200).astype(dtype)
    ramp[3, 3], ramp[5, 5] = 32_000, 0
    image = load_image(ramp).astype(int)[..., 0]
    assert image[0, 1] == 0
    assert image[-1, -1] == 255
    assert abs(image[100, 0] - 128) <= 2
    assert (np.diff(image[50]) >= 0).all()


def test_channels_are_stretched_together() -> None:
    ramp = np.linspace(0, 4000, 900).reshape(30, 30)
    image = load_image(np.dstack([ramp, ramp / 2, ramp / 4]).astype(np.uint16)).astype(int)
    assert np.abs(image[25, 25] - image[25, 25, 0] / [1, 2, 4]).max() <= 2


@pytest.mark.parametrize("value", [*np.uint16([0, 1000, 65535]), 1e300, float(2**63), -1e300])
def test_a_picture_of_one_value_is_black_when_its_scale_is_unknown(value: float) -> None:
    assert not load_image(np.full((5, 5), value)).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_arrays_with_alpha_are_laid_on_white(dtype: type) -> None:
    full = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    gray = np.array([[[0, full], [0, 0]], [[full, full], [full, 0]]], dtype)
    image = load_image(gray)[..., 0]
    np.testing.assert_array_equal(image, [[0, 255], [255, 255]])
    np.testing.assert_array_equal(load_image(gray[..., [0, 0, 0, 1]])[..., 2], image)


def test_strips_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_image(encoded(Image.fromarray(IMAGE).convert("LA")))
    deep = load_image(IMAGE.astype(np.uint16) * 200)
    monkeypatch.setattr(pixels, "_STRIP_PIXELS", 50)
    np.testing.assert_array_equal(load_image(encoded(Image.fromarray(IMAGE).convert("LA"))), whole)
    np.testing.assert_array_equal(load_image(IMAGE.astype(np.uint16) * 200), deep)


# What cannot be read, and what the user is told.


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("nothing.jpg", r"File not found: 'nothing.jpg'"),
        (".", r"'.*' is a folder, but an image is required"),
        ("empty.jpg", r"'empty\.jpg' is empty \(0 bytes\). Copy or download"),
        (b"abc", r"the image \(3 bytes\) is not a supported"),
        (b"hello", "not a supported image, or its first bytes are corrupted .*b'hello'"),
        (io.BytesIO(b"abc"), "the file object is not a supported"),
    ],
)
def test_what_is_no_picture_is_called_what_it_is(
    source: object, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.jpg").touch()
    with pytest.raises(ImageError, match=told):
        load_image(source)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_a_truncated_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "half.img"
    data = encoded(Image.fromarray(RNG.integers(0, 256, (90, 90, 3), np.uint8)), kind)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(
        ImageError, match=r"'.*half\.img' is (corrupted or truncated|not a supported)"
    ):
        load_image(path)


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (20_001, 10_000)])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(width: int, height: int) -> None:
    with pytest.raises(
        ImageError, match=rf"{width} x {height} pixels, but the limit is 200 megapixels"
    ):
        load_image(png_header(width, height))


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((0, 5, 3), np.uint8), "at least 1 x 1 pixel, but the array has 5 x 0"),
        (np.zeros((5, 0), np.uint8), "at least 1 x 1 pixel, but the array has 0 x 5"),
        (np.zeros(5), r"has shape \(5,\). Pass an array with rows and columns"),
        (np.zeros((3, 9, 9)), r"has shape \(3, 9, 9\). Move the channels last: .*transpose"),
        (np.zeros((9, 9, 5)), r"has shape \(9, 9, 5\). Choose 3 of its bands"),
        (np.zeros((2, 9, 9, 3)), r"has shape \(2, 9, 9, 3\). Pass one image at a time"),
        (np.zeros((4, 4), complex), r"array of real numbers, not ndarray \(complex128\)"),
        (np.full((4, 4), np.nan), "the array contains NaN or infinity. Replace these values"),
        (np.array([[0, np.inf]]), "the array contains NaN or infinity. Replace these values"),
        (np.dstack([np.zeros((2, 2)), np.full((2, 2), np.nan)]), "contains NaN or infinity"),
        ([[1, 2], [3]], "Cannot convert list to an image"),
        (None, r"not NoneType \(object\). Convert it to a NumPy array"),
        ({"a": 1}, "not dict"),
        (np.array([["a"]]), "array of real numbers, not ndarray"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_arrays_that_are_no_picture_are_refused(array: object, told: str) -> None:
    with pytest.raises(ImageError, match=told):
        load_image(array)


# Masks and folders.


def test_an_array_file_is_a_mask_as_it_is(tmp_path: Path) -> None:
    logits = RNG.normal(size=(8, 8)).astype(np.float32)
    np.save(tmp_path / "logits.npy", logits)
    np.testing.assert_array_equal(load_mask(tmp_path / "logits.npy"), logits)
    (tmp_path / "bad.npy").write_bytes(b"no")
    np.save(tmp_path / "hostile.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for name in ("bad", "hostile"):
        with pytest.raises(ImageError, match=rf"'.*{name}\.npy' is not a readable array file"):
            load_mask(tmp_path / f"{name}.npy")


def test_a_cmyk_jpeg_keeps_its_colours() -> None:
    data = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95)
    image = load_image(data)
    assert image.shape == (8, 8, 3)
    assert (image[..., 0] > 240).all()
    assert (image[..., 1:] < 15).all()


def test_a_few_bright_pixels_on_black_are_seen() -> None:
    dark = np.zeros((100, 100), np.uint16)
    dark[4, 4] = 700
    assert load_image(dark)[4, 4, 0] == 255
