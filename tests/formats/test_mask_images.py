"""Sets of mask images from any tool: label folders, VOC, DAVIS, and masks as prompts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from anymask.base import DataError
from anymask.formats import convert, read, read_annotations
from anymask.formats.label_images import voc_palette
from anymask.masks import iou, rle_to_mask
from tests.conftest import CommandLine
from tests.images.test_mask_files import HW, NUMBERS, OBJECT, THREE, white


def photo(path: Path, size: tuple[int, int] = HW[::-1]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 40)).save(path)
    return path


def masks_of(image: object) -> list[np.ndarray]:
    return [rle_to_mask(mask.rle) for mask in image.masks]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "suffix", [".jpg", ".gif", ".bmp", ".webp", ".tif", ".png", ".avif", ".jp2", ".pgm", ".jfif"]
)
def test_masks_of_every_format_are_found_beside_their_photos(tmp_path: Path, suffix: str) -> None:
    photo(tmp_path / "images" / "a.jpg")
    (tmp_path / "masks").mkdir()
    form = "JPEG" if suffix == ".jfif" else None
    white().save(tmp_path / "masks" / f"a{suffix}", form)
    stream = read(tmp_path, mask_values="binary")
    (image,) = stream
    assert (stream.format, image.file_name) == ("label-png", "a.jpg")
    (found,) = masks_of(image)
    assert iou(found, OBJECT) > 0.98
    assert stream.image_path(image) == tmp_path / "images" / "a.jpg"


@pytest.mark.parametrize(
    "names",
    [
        ("a_0.png", "a_1.png", "a_2.png"),
        ("a_mask_1.tif", "a_mask_2.tif", "a_mask_3.tif"),
        ("a-object-1.bmp", "a-object-2.bmp", "a-object-10.bmp"),
        ("a (1).png", "a (2).png", "a (3).png"),
        ("a_0_mask.png", "a_1_mask.png", "a_2_mask.png"),
        ("a/0.png", "a/1.png", "a/x7f.png"),  # the data science bowl of 2018
    ],
)
def test_files_of_one_object_each_are_the_masks_of_their_photo(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    photo(tmp_path / "images" / "a.jpg")
    for name, mask in zip(names, THREE, strict=True):
        (tmp_path / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        white(mask).save(tmp_path / "masks" / name)
    (image,) = read(tmp_path)
    assert image.file_name == "a.jpg"
    assert [mask.id for mask in image.masks] == [1, 2, 3]
    for mask in masks_of(image):
        assert max(iou(mask, one) for one in THREE) == 1


def test_a_photo_of_that_name_goes_before_the_object_of_another(tmp_path: Path) -> None:
    for name in ("a", "a_1"):
        photo(tmp_path / "images" / f"{name}.jpg")
        (tmp_path / "masks").mkdir(exist_ok=True)
        white().save(tmp_path / "masks" / f"{name}.png")
    assert [image.file_name for image in read(tmp_path)] == ["a.jpg", "a_1.jpg"]


def test_an_unclear_mask_is_an_error_and_the_choice_mends_it(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg")
    (tmp_path / "masks").mkdir()
    soft = white().filter(ImageFilter.GaussianBlur(2))
    soft.save(tmp_path / "masks" / "a.png")
    with pytest.raises(DataError, match=r"a\.png: The image is ambiguous.*--mask-values labels"):
        convert(tmp_path, tmp_path / "out.json")
    convert(tmp_path, tmp_path / "out.json", mask_values="binary")
    (row,) = json.loads((tmp_path / "out.json").read_text("utf-8"))["annotations"]
    assert row["area"] == (np.asarray(soft) >= 128).sum()


def test_files_of_one_photo_have_one_size(tmp_path: Path) -> None:
    photo(tmp_path / "images" / "a.jpg")
    (tmp_path / "masks").mkdir()
    white().save(tmp_path / "masks" / "a_0.png")
    white().resize((40, 30), Image.Resampling.NEAREST).save(tmp_path / "masks" / "a_1.png")
    images, lost = read_annotations(tmp_path)
    assert [len(image.masks) for image in images] == [1]
    assert "The mask has 40 x 30 pixels, but another mask of 'a.jpg' has 160 x " in str(
        lost.losses[0]
    )
    with pytest.raises(DataError, match="1 invalid record"):
        list(read(tmp_path, on_bad="error"))


# VOC and DAVIS.


def voc_set(top: Path, labels: bool) -> None:
    """A set as CVAT may write it: both pictures in colour, classes by labelmap.txt or VOC."""
    names = {1: "aeroplane", 2: "bicycle", 3: "cat"}
    palette = voc_palette()
    numbers = {1: 1, 2: 2, 3: 8}  # of VOC's classes
    colors = {1: (9, 9, 200), 2: (200, 9, 9), 3: (9, 200, 9)} if labels else {}
    classes = np.zeros((*HW, 3), np.uint8)
    objects = np.zeros((*HW, 3), np.uint8)
    for number, mask in enumerate(THREE, start=1):
        classes[mask] = colors.get(number, palette[numbers[number]])
        objects[mask] = palette[number]
    for folder, drawn in (("SegmentationClass", classes), ("SegmentationObject", objects)):
        (top / folder).mkdir(parents=True)
        Image.fromarray(drawn).save(top / folder / "a.png")
    if labels:
        rows = [f"{names[n]}:{','.join(map(str, colors[n]))}::" for n in names]
        told = ["# label:color_rgb:parts:actions", "background:0,0,0::", *rows]
        (top / "labelmap.txt").write_text("\n".join(told))


CAT, DOG = (250, 50, 83), (52, 209, 183)


@pytest.mark.parametrize(
    ("picture", "listed", "text", "colored"),
    [
        (
            "SegmentationClass",
            "labelmap.txt",
            "bg:0,0,0::\ncat:250,50,83::\ndog:52,209,183::",
            True,
        ),
        ("SegmentationClassPNG", "class_names.txt", "_background_\ncat\ndog", False),
        ("valannot", "label_colors.txt", "250 50 83 cat\n52 209 183 dog\n0 0 0 Void", True),
        ("masks", "class_dict.csv", "name,r,g,b\ncat,250,50,83\ndog,52,209,183", True),
        ("masks", "masks/_classes.csv", "Pixel Value, Class\n0, bg\n1, cat\n2, dog", False),
    ],
)
def test_pictures_of_classes_have_the_names_of_the_list_beside_them(
    picture: str, listed: str, text: str, colored: bool, tmp_path: Path
) -> None:
    """The set of bugs.md, N2: 625 pixels of cats and 1,125 of dogs."""
    drawn = np.zeros((50, 80), np.uint8)
    drawn[5:30, 5:30], drawn[10:35, 35:80] = 1, 2
    values = np.array([(0, 0, 0), CAT, DOG], np.uint8)[drawn] if colored else drawn
    (tmp_path / picture).mkdir()
    Image.fromarray(values).save(tmp_path / picture / "a.png")
    photo(tmp_path / ("val" if picture == "valannot" else "images") / "a.jpg", (80, 50))
    (tmp_path / listed).write_text(text)
    (image,), report = read_annotations(tmp_path)
    assert [(mask.label, mask.area) for mask in image.masks] == [("cat", 625), ("dog", 1125)]
    assert (image.name, [*report.classes]) == ("a.jpg", ["cat", "dog"])


@pytest.mark.parametrize("labels", [False, True])
def test_voc_in_colour_is_voc(tmp_path: Path, labels: bool) -> None:
    voc_set(tmp_path, labels)
    (image,) = read(tmp_path, "voc")
    assert [mask.label for mask in image.masks] == ["aeroplane", "bicycle", "cat"]
    for found, truth in zip(masks_of(image), THREE, strict=True):
        np.testing.assert_array_equal(found, truth)


@pytest.mark.parametrize("kind", ["palette", "colour", "grey"])
def test_davis_in_colour_or_grey_is_davis(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "Annotations" / "480p" / "clip"
    folder.mkdir(parents=True)
    values = NUMBERS.astype(np.uint8)
    values[:4] = 255
    source_image = Image.fromarray(values)
    if kind == "palette":
        source_image.putpalette(voc_palette().tobytes())
    if kind == "colour":
        source_image = Image.fromarray(voc_palette()[values])
    source_image.save(folder / "00000.png")
    (image,) = read(tmp_path, "davis")
    assert {mask.id for mask in image.masks if not mask.crowd} == {1, 2, 3}
    assert [mask.label for mask in image.masks if mask.crowd] == ["void"]


def test_white_on_black_is_an_object_of_davis_and_not_void(tmp_path: Path) -> None:
    folder = tmp_path / "Annotations" / "clip"
    folder.mkdir(parents=True)
    white().save(folder / "00000.png")
    (image,) = read(tmp_path, "davis")
    assert [mask.crowd for mask in image.masks] == [False]
    np.testing.assert_array_equal(masks_of(image)[0], OBJECT)


# Masks as prompts.


def test_several_objects_are_joined_where_one_says_so(tmp_path: Path, cli: CommandLine) -> None:
    Image.fromarray(NUMBERS.astype(np.uint8)).save(tmp_path / "m.png")
    photo(tmp_path / "a.jpg")
    words = ["segment", str(tmp_path / "a.jpg"), "--mask", str(tmp_path / "m.png")]
    assert "3 objects, which differ" in cli.refused([*words, "-o", str(tmp_path / "a.mask.png")])
    from anymask.cli.prompts import read_prompts

    (prompt,) = read_prompts([("mask", str(tmp_path / "m.png")), ("values", "binary")])
    np.testing.assert_array_equal(np.asarray(prompt.mask) > 0, NUMBERS > 0)
    assert "Unknown value 'white' of --mask-values" in cli.refused(
        [*words, "--mask-values", "white", "-o", str(tmp_path / "a.png")]
    )
