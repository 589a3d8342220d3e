"""Mask images of any kind: the objects that somebody drew, whatever the file made of them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw, ImageFilter

from anymask.base import AmbiguousMaskError, ImageError
from anymask.formats.label_images import voc_palette
from anymask.images import load_mask, read_mask_image
from anymask.masks import iou

HW = (120, 160)
COLORS = {
    (255, 0, 0): (10, 10, 60, 50),
    (0, 200, 0): (90, 20, 150, 60),
    (40, 40, 255): (20, 70, 110, 110),
}


def ellipses(*boxes: tuple[int, int, int, int], hw: tuple[int, int] = HW) -> list[np.ndarray]:
    found = []
    for box in boxes:
        image = Image.new("L", (hw[1], hw[0]))
        ImageDraw.Draw(image).ellipse(box, fill=1)
        found.append(np.asarray(image) > 0)
    return found


OBJECT = ellipses((30, 25, 120, 100))[0]
THREE = ellipses(*COLORS.values())
NUMBERS = sum(number * mask for number, mask in enumerate(THREE, start=1))
DRAWN = np.zeros((*HW, 3), np.uint8)
for _color, _mask in zip(COLORS, THREE, strict=True):
    DRAWN[_mask] = _color


def white(mask: np.ndarray = OBJECT) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint8) * 255)


def objects(path: Path, mask_values: str = "auto") -> list[np.ndarray]:
    values = read_mask_image(path, mask_values).values  # type: ignore[arg-type]
    return [values == value for value in np.unique(values) if value]


def assert_same(found: list[np.ndarray], truth: list[np.ndarray], least: float = 1) -> None:
    assert len(found) == len(truth)
    for mask in truth:
        assert max(iou(mask, one) for one in found) >= least


# One object, as files keep it.


@pytest.mark.parametrize(
    "kind",
    [np.bool_, np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64,
     np.float16, np.float32, np.float64],
)  # fmt: skip
@pytest.mark.parametrize("value", [1, 100])
def test_every_type_that_tifffile_writes(tmp_path: Path, kind: type, value: int) -> None:
    tifffile.imwrite(tmp_path / "a.tif", (OBJECT * value).astype(kind))
    assert_same(objects(tmp_path / "a.tif"), [OBJECT])


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.uint16, np.uint32])
def test_the_values_of_a_tiff_whose_white_is_zero_are_kept(tmp_path: Path, kind: type) -> None:
    """As ImageJ writes an inverted look-up table, and tifffile a mask of bool."""
    values = (NUMBERS > 0 if kind is np.bool_ else NUMBERS).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    found = read_mask_image(tmp_path / "a.tif").values
    np.testing.assert_array_equal(found, values)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), values)


def few_bits(values: np.ndarray, bits: int, white_is_zero: bool) -> bytes:
    """A TIFF of 2 or 4 bits a pixel, by hand: one strip, and the tags of TIFF 6.0 in order."""
    height, width = values.shape
    parts = values.reshape(height, -1, 8 // bits)
    packed = sum(parts[..., place] << (8 - bits * (place + 1)) for place in range(8 // bits))
    pixels = packed.astype(np.uint8).tobytes()
    tags = [
        (256, width), (257, height), (258, bits), (259, 1), (262, int(not white_is_zero)),
        (273, 8), (277, 1), (278, height), (279, len(pixels)),
    ]  # fmt: skip
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    begin = struct.pack("<2sHI", b"II", 42, 8 + len(pixels))
    return begin + pixels + struct.pack("<H", len(tags)) + rows + bytes(4)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_values_of_few_bits_are_kept(tmp_path: Path, bits: int, white_is_zero: bool) -> None:
    (tmp_path / "a.tif").write_bytes(few_bits(NUMBERS, bits, white_is_zero))
    np.testing.assert_array_equal(read_mask_image(tmp_path / "a.tif").values, NUMBERS)


@pytest.mark.parametrize(
    ("name", "mode", "more"),
    [
        ("a.png", "1", {}), ("a.png", "L", {}), ("a.png", "RGB", {}), ("a.png", "RGBA", {}),
        ("a.png", "P", {}), ("a.png", "LA", {}), ("a.bmp", "1", {}), ("a.bmp", "L", {}),
        ("a.bmp", "RGB", {}), ("a.gif", "L", {}), ("a.gif", "RGB", {}), ("a.gif", "1", {}),
        ("a.webp", "RGB", {"lossless": True}), ("a.tif", "1", {"compression": "group4"}),
        ("a.tif", "L", {"compression": "tiff_lzw"}), ("a.pgm", "L", {}), ("a.jp2", "L", {}),
    ],
)  # fmt: skip
def test_one_white_object_in_every_format_and_mode(
    tmp_path: Path, name: str, mode: str, more: dict[str, object]
) -> None:
    white().convert(mode).save(tmp_path / name, **more)
    found = read_mask_image(tmp_path / name)
    assert_same([found.values > 0], [OBJECT])
    np.testing.assert_array_equal(load_mask(tmp_path / name), OBJECT)


def refused(path: Path, *, truth: np.ndarray | None = None, least: float = 0.95) -> None:
    """Without an instruction nothing is guessed; as one object it is cut at half of white."""
    with pytest.raises(AmbiguousMaskError, match="--mask-values"):
        read_mask_image(path)
    if truth is not None:
        assert_same(objects(path, "binary"), [truth], least)


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.tif", "a.png"])
@pytest.mark.parametrize("quality", [30, 75, 100])
def test_a_lossy_file_is_read_as_one_object_only(tmp_path: Path, name: str, quality: int) -> None:
    """A PNG has its noise too, where somebody converted a JPEG."""
    image, more = white(), {"quality": quality}
    if name == "a.tif":
        more["compression"] = "jpeg"  # type: ignore[assignment]
    if name == "a.png":
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        image, more = Image.open(buffer), {}
    image.save(tmp_path / name, **more)
    refused(tmp_path / name, truth=OBJECT, least=0.98)


SOFT = {
    "blurred": white().filter(ImageFilter.GaussianBlur(2)),
    "much": white().filter(ImageFilter.GaussianBlur(6)),
    "scaled": white().resize((80, 60), Image.Resampling.BOX),
    "bilinear": white().resize((400, 300), Image.Resampling.BILINEAR),
    "bicubic": white().resize((240, 180), Image.Resampling.BICUBIC),
    "lanczos": white().resize((100, 75), Image.Resampling.LANCZOS),
    "three greys": white().resize((320, 240), Image.Resampling.NEAREST).resize(
        (160, 120), Image.Resampling.BOX, (1, 1, 319, 239)
    ),
}  # fmt: skip


@pytest.mark.parametrize("look", SOFT)
@pytest.mark.parametrize(
    ("name", "mode"), [("a.png", "L"), ("a.png", "RGB"), ("a.png", "P"), ("a.jpg", "L")]
)
def test_soft_edges_are_cut_at_half_of_white_on_request(
    tmp_path: Path, look: str, name: str, mode: str
) -> None:
    SOFT[look].convert(mode).save(tmp_path / name)
    size = SOFT[look].size
    refused(tmp_path / name, truth=np.asarray(white().resize(size, Image.Resampling.NEAREST)) > 0)


@pytest.mark.parametrize(
    ("kind", "scale"), [(np.uint16, 257), (np.float32, 1 / 255), (np.float64, 1), (np.int32, 1)]
)
def test_soft_edges_of_other_types_are_cut_too(tmp_path: Path, kind: type, scale: float) -> None:
    soft = np.asarray(SOFT["blurred"]).astype(np.float64) * scale
    tifffile.imwrite(tmp_path / "a.tif", soft.astype(kind), photometric="minisblack")
    refused(tmp_path / "a.tif", truth=np.asarray(SOFT["blurred"]) >= 127.5, least=0.999)


@pytest.mark.parametrize("ground", [(0, 0, 0), (255, 255, 255), (200, 30, 90)])
@pytest.mark.parametrize("soft", [False, True])
def test_what_can_be_seen_is_the_object(
    tmp_path: Path, ground: tuple[int, int, int], soft: bool
) -> None:
    alpha = SOFT["blurred"] if soft else white()
    image = Image.new("RGB", alpha.size, ground)
    image.putalpha(alpha)
    image.save(tmp_path / "a.png")
    assert_same(objects(tmp_path / "a.png"), [OBJECT], least=0.97)


def test_a_mask_is_upright_as_its_photo_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    white().save(tmp_path / "a.png", exif=exif)
    assert_same(objects(tmp_path / "a.png"), [np.rot90(OBJECT, -1)])


# Several objects.


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("scale", [1, 40])
def test_label_values_stay_labels(tmp_path: Path, kind: type, scale: int) -> None:
    tifffile.imwrite(tmp_path / "a.tif", (NUMBERS * scale).astype(kind))
    np.testing.assert_array_equal(read_mask_image(tmp_path / "a.tif").values, NUMBERS * scale)


def cells(count: int, radius: float, hw: tuple[int, int] = (300, 300)) -> np.ndarray:
    """Discs, or touching cells where the radius is 0; their numbers end at 255."""
    rng, (height, width) = np.random.default_rng(count), hw
    places = rng.integers(0, (height, width), (count, 2))
    rows, columns = np.mgrid[:height, :width]
    away = (rows[..., None] - places[:, 0]) ** 2 + (columns[..., None] - places[:, 1]) ** 2
    values = away.argmin(axis=2) + 256 - count
    return np.where(away.min(axis=2) <= (radius or 1e9) ** 2, values, 0).astype(np.uint8)


@pytest.mark.parametrize(("count", "radius"), [(5, 30), (60, 8), (250, 4), (250, 1), (255, 0)])
def test_many_objects_of_any_size_stay_what_they_are(
    tmp_path: Path, count: int, radius: float
) -> None:
    values = cells(count, radius)
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask_image(tmp_path / "a.png").values, values)


def test_classes_with_a_void_border_of_255_stay_classes(tmp_path: Path) -> None:
    values = cells(40, 0) % 5
    border = np.asarray(Image.fromarray(values).filter(ImageFilter.MaxFilter(3))) != np.asarray(
        Image.fromarray(values).filter(ImageFilter.MinFilter(3))
    )
    values[border] = 255
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask_image(tmp_path / "a.png").values, values)


def in_palette(order: list[tuple[int, int, int]]) -> Image.Image:
    """The three objects and their black ground, in a palette of this order."""
    values = np.zeros(HW, np.uint8)
    for place, color in enumerate(order):
        values[(color == DRAWN).all(axis=2)] = place
    image = Image.fromarray(values, "P")
    image.putpalette([part for color in order for part in color])
    return image


BLACK, RED, GREEN, BLUE = (0, 0, 0), *COLORS


@pytest.mark.parametrize(
    "order",
    [[BLACK, RED, GREEN, BLUE], [RED, BLACK, GREEN, BLUE], [GREEN, BLUE, RED, BLACK],
     [(9, 9, 9), BLACK, RED, BLUE, GREEN]],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.bmp", "a.tif"])
def test_black_is_no_object_wherever_it_stands_in_a_palette(
    tmp_path: Path, order: list[tuple[int, int, int]], name: str
) -> None:
    in_palette(order).save(tmp_path / name)
    assert_same(objects(tmp_path / name), THREE)


@pytest.mark.parametrize("palette", ["voc", "black", "ground", "grey"])
def test_the_indices_of_other_palettes_are_labels(tmp_path: Path, palette: str) -> None:
    image = Image.fromarray(NUMBERS.astype(np.uint8), "P")
    table = {
        "voc": voc_palette(), "black": np.zeros((256, 3), np.uint8),
        "ground": np.concatenate([[[120, 120, 120]], voc_palette()[1:]]).astype(np.uint8),
        "grey": np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1),
    }[palette]  # fmt: skip
    image.putpalette(table.tobytes())
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask_image(tmp_path / "a.png").values, NUMBERS)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.webp", "a.tif"])
def test_a_colour_is_an_object(tmp_path: Path, name: str) -> None:
    Image.fromarray(DRAWN).save(tmp_path / name, lossless=True)
    found = read_mask_image(tmp_path / name)
    assert found.colored
    assert set(np.unique(found.values)) == {0, 0xFF0000, 0x00C800, 0x2828FF}
    assert_same(objects(tmp_path / name), THREE)


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
@pytest.mark.parametrize(
    "values", [DRAWN, (NUMBERS * 80).astype(np.uint8), NUMBERS], ids=["colors", "grays", "numbers"]
)
def test_several_objects_do_not_survive_a_lossy_file(
    tmp_path: Path, name: str, values: np.ndarray
) -> None:
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / name, quality=90)
    refused(tmp_path / name)
    with pytest.raises(AmbiguousMaskError, match="lossy format has changed"):
        read_mask_image(tmp_path / name, "colors")


@pytest.mark.parametrize("way", ["BILINEAR", "BOX", "BICUBIC"])
def test_colours_with_soft_edges_are_ambiguous(tmp_path: Path, way: str) -> None:
    size = (320, 240) if way == "BILINEAR" else (80, 60)
    Image.fromarray(DRAWN).resize(size, Image.Resampling[way]).save(tmp_path / "a.png")
    refused(tmp_path / "a.png")


# What is not clear.


@pytest.mark.parametrize(
    "values",
    [np.asarray(SOFT["much"]) * 0.7, np.asarray(SOFT["blurred"]) / 3, OBJECT * 0.5 - 4],
    ids=["no white", "thirds", "negative"],
)
def test_an_unclear_mask_names_the_choice(tmp_path: Path, values: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values.astype(np.float32))
    with pytest.raises(AmbiguousMaskError, match="--mask-values labels, binary or colours"):
        read_mask_image(tmp_path / "a.tif")
    assert len(objects(tmp_path / "a.tif", "binary")) <= 1
    with pytest.raises(ImageError, match="fractions, which are no label values"):
        read_mask_image(tmp_path / "a.tif", "labels")


def test_logits_are_cut_at_zero(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.where(OBJECT, 3.5, -2.25).astype(np.float32))
    assert_same(objects(tmp_path / "a.tif", "binary"), [OBJECT])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_photo_is_no_mask(tmp_path: Path, name: str, mode: str) -> None:
    from anymask.images import sample

    Image.open(sample()).convert(mode).save(tmp_path / name)
    refused(tmp_path / name)


def test_the_choice_is_obeyed(tmp_path: Path) -> None:
    values = (NUMBERS * 100 % 256).astype(np.uint8)  # 100, 200, 44
    Image.fromarray(values).save(tmp_path / "grey.png")
    Image.fromarray(DRAWN).save(tmp_path / "colour.png")
    in_palette([RED, BLACK, GREEN, BLUE]).save(tmp_path / "palette.png")
    assert_same(objects(tmp_path / "grey.png", "labels"), THREE)
    assert_same(objects(tmp_path / "grey.png", "colors"), THREE)
    assert_same(objects(tmp_path / "grey.png", "binary"), [NUMBERS > 0])
    assert_same(objects(tmp_path / "colour.png", "colors"), THREE)
    assert_same(objects(tmp_path / "colour.png", "binary"), [NUMBERS > 0])
    with pytest.raises(ImageError, match="is a color image, which has no label values"):
        read_mask_image(tmp_path / "colour.png", "labels")
    indices = read_mask_image(tmp_path / "palette.png", "labels").values
    assert set(np.unique(indices)) == {0, 1, 2, 3}


def test_bytes_are_read_as_files_are() -> None:
    buffer = io.BytesIO()
    white().save(buffer, "PNG")
    np.testing.assert_array_equal(read_mask_image(buffer.getvalue()).values > 0, OBJECT)
    with pytest.raises(ImageError, match="the mask image is empty"):
        read_mask_image(b"")
