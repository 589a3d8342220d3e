"""Masks are written as what the name of their file says, by Python and by the commands alike."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import InputError, whole_file
from anymask.formats import Kind, LossReport, output_kind, write_masks, yolo
from anymask.images import MaskValues, load_mask
from anymask.masks import ImageInMemory, Mask, Masks, Prompt, image_format, mask_to_rle

IMAGE = np.random.default_rng(3).integers(1, 256, (40, 60, 3), np.uint8)
MASK = np.zeros((40, 60), bool)
MASK[5:30, 10:50] = True
MASK[10:20, 20:30] = False
FOUND = Masks(
    [Mask(mask_to_rle(MASK), score=0.9, stability=0.8)],
    source_image=ImageInMemory(IMAGE, "dog.jpg"),
)
PROMPT = Prompt.of(points=[(12, 8)], box=(5, 3, 55, 35))


def write(path: Path, kind: Kind, masks: Masks = FOUND) -> None:
    with whole_file(path) as file:
        write_masks(file, path.suffix, kind, masks, prompts=[PROMPT], one=True)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", "cutout"),
        ("a.PNG", "cutout"),
        ("a.overlay.png", "overlay"),
        ("a.mask.png", "mask"),
        ("a.json", "sa1b"),
        ("a.svg", "svg"),
        ("a.b.npy", "npy"),
        ("a.geojson", "geojson"),
        ("a.txt", "yolo"),
        ("a.xml", "cvat"),
        ("a.webp", "cutout"),
        ("a.tiff", "cutout"),
        ("a.jpg", "cutout"),
        ("a.cut.png", "cutout"),
        ("a.overlay.jpg", "overlay"),
        ("a.mask.bmp", "mask"),
        ("a.gif", "cutout"),
    ],
)
def test_the_name_says_what_is_written(name: str, kind: str) -> None:
    assert output_kind(Path("out") / name) == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", "overlay"),
        ("a.jpg", "overlay"),
        ("a.mask.png", "label-png"),
        ("a.mask.tif", "label-tif"),
        ("{n}.mask.jpg", "mask"),
        ("{n}.png", "cutout"),
        ("{label}.webp", "cutout"),
        ("{n}.overlay.png", "overlay"),
        ("a.cut.png", "cutout"),
        ("a.json", "sa1b"),
    ],
)
def test_the_things_of_a_picture_are_written_otherwise_than_one(name: str, kind: str) -> None:
    assert output_kind(Path(name), "overlay", many=True) == kind


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp"])
def test_numbers_need_a_format_that_holds_them(suffix: str) -> None:
    with pytest.raises(InputError, match="Use .mask.png or .mask.tif"):
        output_kind(Path(f"a.mask{suffix}"), many=True)


@pytest.mark.parametrize(("last", "kind"), [(2, np.uint16), (65535, np.uint16), (65536, np.uint32)])
@pytest.mark.parametrize("suffix", [".tif", ".tiff"])
def test_a_label_tiff_has_the_numbers_of_the_label_png(
    tmp_path: Path, suffix: str, last: int, kind: type
) -> None:
    tifffile = pytest.importorskip("tifffile", reason="needs the extra [science]")
    other = Mask(mask_to_rle(~MASK), id=last)
    both = Masks([replace(FOUND[0], id=1), other], source_image=FOUND.source_image)
    path = both.save(tmp_path / f"a.mask{suffix}")
    numbers = tifffile.imread(path)
    assert numbers.dtype == kind
    np.testing.assert_array_equal(numbers, np.where(MASK, 1, last))
    if last < 1 << 16:
        with Image.open(both.save(tmp_path / "a.mask.png")) as image:
            np.testing.assert_array_equal(np.asarray(image), numbers)


def test_each_thing_gets_a_file_where_the_name_has_a_place_for_it(tmp_path: Path) -> None:
    other = Mask(mask_to_rle(~MASK), "a/b")
    both = Masks([replace(FOUND[0], label="dog"), other], source_image=FOUND.source_image)
    both.save(tmp_path / "{label}{n}.png")
    both.save(tmp_path / "{n}.mask.png")
    names = ["1.mask.png", "2.mask.png", "a_b2.png", "dog1.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    with Image.open(tmp_path / "a_b2.png") as image:
        np.testing.assert_array_equal(np.asarray(image)[..., 3] > 0, ~MASK)
    both.save(tmp_path / "all.mask.png")
    with Image.open(tmp_path / "all.mask.png") as image:
        np.testing.assert_array_equal(np.asarray(image), np.where(MASK, 1, 2))
    with pytest.raises(InputError, match="cut-out of one object"):
        both.save(tmp_path / "all.cut.png")
    with pytest.raises(InputError, match="Two masks"):
        Masks([other, other], source_image=FOUND.source_image).save(tmp_path / "{label}.png")


def test_a_cut_out_without_transparency_lies_on_white(tmp_path: Path) -> None:
    write(tmp_path / "cut.bmp", "cutout")
    with Image.open(tmp_path / "cut.bmp") as image:
        pixels = np.asarray(image)
    np.testing.assert_array_equal(pixels[MASK], IMAGE[MASK])
    assert (pixels[~MASK] == 255).all()


@pytest.mark.parametrize("name", ["a.doc", "a", "png", "a.mp4"])
def test_other_endings_are_refused(name: str) -> None:
    with pytest.raises(
        InputError,
        match=r"ending in .png, .jpg, .webp.* in .json, .csv, .svg, .geojson, .xml, .txt, .npy",
    ):
        output_kind(Path(name))


@pytest.mark.parametrize("suffix", [".webp", ".tif", ".tiff", ".png"])
def test_a_cut_out_in_any_transparent_format_keeps_every_pixel(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"cut{suffix}", "cutout")
    with Image.open(tmp_path / f"cut{suffix}") as image:
        pixels = np.asarray(image.convert("RGBA"))
    np.testing.assert_array_equal(pixels[..., 3], MASK * 255)
    np.testing.assert_array_equal(pixels[MASK][:, :3], IMAGE[MASK])
    assert not pixels[~MASK].any()  # nothing hides where it is transparent


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".webp", ".gif", ".jp2", ".jpg", ".png"])
def test_a_mask_in_any_format_of_pillow_reads_back(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"m{suffix}", "mask")
    values: MaskValues = "binary" if suffix == ".jpg" else "auto"
    np.testing.assert_array_equal(load_mask(tmp_path / f"m{suffix}", values), MASK)


def test_what_a_format_cannot_hold_is_one_clear_error(tmp_path: Path) -> None:
    wide = np.zeros((1, 70_000), bool)
    with pytest.raises(InputError, match="70000 x 1 pixels cannot be saved as .jpg.* .png"):
        write(tmp_path / "wide.jpg", "mask", Masks([Mask(mask_to_rle(wide))]))
    assert list(tmp_path.iterdir()) == []


def test_yolo_lines_are_those_of_the_format_and_read_back(tmp_path: Path) -> None:
    with_part = MASK.copy()
    with_part[34:38, 2:9] = True
    again, none = Mask(mask_to_rle(with_part)), Mask(mask_to_rle(MASK & False))
    labels = tmp_path / "labels" / "dog.txt"
    found = FOUND + Masks([none, again])
    write(labels, "yolo", found)
    assert labels.read_text() == found.to_yolo()
    assert [line.split()[0] for line in labels.read_text().splitlines()] == ["0", "0"]
    Image.fromarray(IMAGE).save(tmp_path / "dog.png")
    (image,) = yolo.read(tmp_path, LossReport(), tmp_path)
    assert [mask.rle for mask in image.masks] == [FOUND[0].rle, again.rle]
    write(tmp_path / "empty.txt", "yolo", Masks([none]))
    assert (tmp_path / "empty.txt").read_bytes() == b""


WRITABLE = sorted(
    suffix for suffix in Image.registered_extensions() if image_format(suffix) is not None
)


@pytest.mark.filterwarnings("ignore:IM image format is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", ["mask", "overlay"])
def test_every_suffix_that_pillow_writes_is_an_output(tmp_path: Path, kind: Kind) -> None:
    assert {".jp2", ".tga", ".pcx", ".qoi", ".xbm", ".msp", ".palm", ".pdf"} <= {*WRITABLE}
    assert image_format(".h5") is None  # Pillow only passes these on
    for suffix in WRITABLE:
        if kind == "overlay" and suffix in (".msp", ".xbm"):  # black and white alone
            with pytest.raises(InputError, match=f"cannot be saved as {suffix}.* Use .png"):
                write(tmp_path / f"a{suffix}", kind)
            continue
        write(tmp_path / f"a{suffix}", kind)
        assert (tmp_path / f"a{suffix}").stat().st_size > 40
