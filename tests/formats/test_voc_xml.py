"""PASCAL VOC's XML with polygons, and the folders that labelme's converter writes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import DataError
from anymask.formats import LossReport, read, voc_xml
from anymask.formats.label_images import voc_palette


def points(*corners: tuple[float, float]) -> str:
    tags = (
        f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate(corners, start=1)
    )  # fmt: skip
    return f"<polygon>{''.join(tags)}</polygon>"


BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>"
# The pixels of columns 2 to 4 and rows 1 to 2, counted from 0; VOC counts from 1.
PIXELS = points((3, 2), (5, 2), (5, 3), (3, 3))
OUTLINE = points((2.0, 1.0), (5.0, 1.0), (5.0, 3.0), (2.0, 2.99))


def written(path: Path, *objects: str, name: str = "a.jpg", size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shapes = "".join(f"<object><name>cat</name>{BOX}{shape}</object>" for shape in objects)
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    path.write_text(f"<annotation><filename>{name}</filename>{sides}{shapes}</annotation>")


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6)).save(path)
    return path


@pytest.mark.parametrize(
    ("notes", "place", "name"),
    [
        ("Annotations/a.xml", "JPEGImages/a.jpg", "a.jpg"),  # VOC, supervision
        ("train/a.xml", "train/a.jpg", "train/a.jpg"),  # Roboflow
        ("train/a.xml", "train/a.PNG", "train/a.PNG"),  # called otherwise in the file
    ],
)
@pytest.mark.parametrize("shape", [PIXELS, OUTLINE])
def test_polygons_are_read_where_tools_put_them(
    shape: str, notes: str, place: str, name: str, tmp_path: Path
) -> None:
    written(tmp_path / notes, shape)
    theirs = photo(tmp_path / place)
    stream = read(tmp_path)
    (image,) = stream
    assert (stream.format, image.file_name, stream.image_path(image)) == ("voc", name, theirs)
    truth = np.zeros((6, 8), np.bool_)
    truth[1:3, 2:5] = True
    np.testing.assert_array_equal(image.masks[0].mask, truth)
    assert image.masks[0].label == "cat"


def test_a_size_of_nothing_is_the_picture_s(tmp_path: Path) -> None:
    """labelImg has written 0 for pictures that it could not measure."""
    written(tmp_path / "a.xml", PIXELS, size=(0, 0))
    with pytest.raises(DataError, match="a.xml: The image size is missing. Pass the folder"):
        voc_xml.read(tmp_path, LossReport())
    photo(tmp_path / "a.jpg")
    (image,) = voc_xml.read(tmp_path, LossReport())
    assert image.hw == (6, 8)


@pytest.mark.parametrize("end", ["", "PNG"])
def test_folders_of_labelme_s_converter_are_read(end: str, tmp_path: Path) -> None:
    """labelme2voc.py: pictures without lists, names in class_names.txt; older ones end in PNG."""
    objects = np.array([[0, 1, 2], [0, 1, 2]], np.uint8)
    for folder, values in (("SegmentationObject", objects), ("SegmentationClass", objects * 2)):
        source_image = Image.fromarray(values)
        source_image.putpalette(voc_palette().tobytes())
        (tmp_path / f"{folder}{end}").mkdir()
        source_image.save(tmp_path / f"{folder}{end}" / "a.png")
    names = ["_background_", "ant", "bee", "cat", "dog"]
    (tmp_path / "class_names.txt").write_text("\n".join(names))
    theirs = photo(tmp_path / "JPEGImages" / "a.jpg")
    photo(tmp_path / "SegmentationClassVisualization" / "a.jpg")
    stream = read(tmp_path)
    (image,) = stream
    assert (image.file_name, [mask.label for mask in image.masks]) == ("a.jpg", ["bee", "dog"])
    assert stream.image_path(image) == theirs
