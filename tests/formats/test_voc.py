"""PASCAL VOC's pictures: class numbers and object numbers, as other readers expect them."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image

from anymask.formats import AnnotatedImage, read_annotations, write_annotations
from anymask.formats.voc import VOC_CLASSES, read_voc
from anymask.masks import Mask, mask_to_rle

LEFT, RIGHT = np.zeros((2, 8, 10), bool)
LEFT[1:4, 1:4], RIGHT[5:7, 6:9] = True, True
VOID = np.zeros((8, 10), bool)
VOID[0] = True


def picture(*labels: str) -> AnnotatedImage:
    masks = [Mask(mask_to_rle(m), label) for m, label in zip((LEFT, RIGHT), labels, strict=True)]
    masks.append(Mask(mask_to_rle(VOID), "void", crowd=True))
    return AnnotatedImage(file_name="street.jpg", hw=(8, 10), masks=tuple(masks))


def numbers(path: Path) -> np.ndarray:
    with Image.open(path) as found:
        assert found.mode == "P"
        return np.asarray(found)


def test_the_challenge_s_classes_have_the_challenge_s_numbers(tmp_path: Path) -> None:
    write_annotations([picture("dog", "person")], tmp_path / "voc", "voc")
    classes = numbers(tmp_path / "voc" / "SegmentationClass" / "street.png")
    objects = numbers(tmp_path / "voc" / "SegmentationObject" / "street.png")
    truth = LEFT * VOC_CLASSES.index("dog") + RIGHT * VOC_CLASSES.index("person") + VOID * 255
    np.testing.assert_array_equal(classes, truth)
    np.testing.assert_array_equal(objects, LEFT * 1 + RIGHT * 2 + VOID * 255)
    (tmp_path / "voc" / "JPEGImages").mkdir()
    Image.new("RGB", (10, 8)).save(tmp_path / "voc" / "JPEGImages" / "street.jpg")
    (image,) = read_voc(tmp_path / "voc", "val")  # the reader of the published set
    assert [mask.label for mask in image.masks] == ["dog", "person", "void"]


def test_own_classes_are_named_in_the_label_map(tmp_path: Path) -> None:
    write_annotations([picture("wheel: left", "bolt")], tmp_path / "voc", "voc")
    lines = (tmp_path / "voc" / "labelmap.txt").read_text().splitlines()
    assert lines[1:] == ["background:0,0,0::", "bolt:128,0,0::", "wheel: left:0,128,0::"]
    odd = [f"nut:{'9' * 5000},0,0::", "cog:::"]
    (tmp_path / "voc" / "labelmap.txt").write_text("\n".join([*lines, *odd]))
    classes = numbers(tmp_path / "voc" / "SegmentationClass" / "street.png")
    np.testing.assert_array_equal(classes, LEFT * 2 + RIGHT * 1 + VOID * 255)
    (image,), lost = read_annotations(tmp_path / "voc")
    assert [mask.label for mask in image.masks] == ["wheel: left", "bolt", "void"]
    assert not lost
    listed = tmp_path / "voc" / "ImageSets" / "Segmentation" / "val.txt"
    assert listed.read_text() == "street\n"


def test_photos_keep_their_names(tmp_path: Path) -> None:
    names = ["street.jpg", "val/street.png", "val/a b.tif", "two.png", "two.jpeg"]
    images = [replace(picture("wheel", "bolt"), file_name=name) for name in names]
    write_annotations(images, tmp_path / "voc", "voc")
    found, _ = read_annotations(tmp_path / "voc")
    assert {image.file_name for image in found} == set(names)
    details = sorted(path.name for path in (tmp_path / "voc" / "Annotations").rglob("*.xml"))
    assert details == ["a b.xml", "street.xml", "two.jpeg.xml", "two.png.xml"]
    root = ET.parse(tmp_path / "voc" / "Annotations" / "val" / "street.xml").getroot()
    assert [root.findtext(key) for key in ("filename", "size/height", "size/width")] == [
        "street.png", "8", "10",
    ]  # fmt: skip


def test_a_mask_called_background_is_told_to_lose_its_name(tmp_path: Path) -> None:
    lost = write_annotations([picture("background", "bolt")], tmp_path / "voc", "voc")
    (told,) = lost.losses
    assert (told.kind, told.image, told.mask) == ("labels", "labelmap.txt", None)
    assert told.reason == "'background' is the VOC name of the background; the mask has no class"
    (image,), _ = read_annotations(tmp_path / "voc")
    assert [mask.label for mask in image.masks] == [None, "bolt", "void"]
