"""Sizes in annotations that are not those of the images: what is wrong, and the remedy."""

from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from anymask.base import DataError
from anymask.formats import AnnotatedImage, convert, read, write_annotations
from anymask.masks import Mask, mask_to_rle

SAID = (40, 60)  # height, width of the annotations
CASES = [
    ((60, 40), 1, "Width and height are swapped. Swap them"),
    ((60, 40), 6, "The image has an EXIF rotation. If the masks were drawn on the rotated"),
    ((60, 40), 5, "remove its EXIF orientation tag"),
    ((20, 30), 1, "The image was scaled by 0.5"),
    ((120, 180), 1, "The image was scaled by 3"),
    ((41, 90), 1, "Use the image on which the masks were"),
]


def annotated(folder: Path, form: str, names: tuple[str, ...] = ("a.jpg", "b.jpg")) -> Path:
    """A set of two images; the mask of each is a square."""
    pixels = np.zeros(SAID, np.bool_)
    pixels[5:20, 10:30] = True
    mask = Mask(mask_to_rle(pixels), label="cup")
    images = [AnnotatedImage(file_name=name, hw=SAID, masks=(mask,)) for name in names]
    target = folder / ("set.json" if form in ("coco", "label-studio") else "labels")
    write_annotations(images, target, form)
    return target


def shown(folder: Path, name: str, hw: tuple[int, int], turn: int = 1) -> None:
    """An image that viewers show with this size."""
    folder.mkdir(exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = turn
    size = hw if turn >= 5 else hw[::-1]
    Image.new("RGB", size, (9, 90, 200)).save(folder / name, exif=exif)


@pytest.mark.parametrize("form", ["coco", "labelme", "label-studio", "sa1b"])
@pytest.mark.parametrize(("hw", "turn", "told"), CASES)
def test_another_size_is_skipped_and_told_with_its_cause(
    tmp_path: Path, form: str, hw: tuple[int, int], turn: int, told: str
) -> None:
    source, images = annotated(tmp_path, form), tmp_path / "photos"
    shown(images, "a.jpg", hw, turn)
    shown(images, "b.jpg", SAID)
    lost = convert(source, tmp_path / "out.json", "coco", images=images)
    assert (lost.images, lost.masks) == (1, 1)
    (bad,) = [loss for loss in lost.losses if loss.place]
    assert "a.jpg" in bad.place
    assert told in bad.reason
    with pytest.raises(DataError, match="1 invalid record"):
        convert(source, tmp_path / "b.json", "coco", images=images, on_bad="error")


def test_label_files_of_huge_images_are_converted_without_their_pixels(tmp_path: Path) -> None:
    """Numbers are converted up to 2**31 pixels; masks are drawn in their boxes."""
    header = struct.pack(">II", 46340, 46340) + b"\x08\x00\x00\x00\x00"
    chunk = b"IHDR" + header
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + chunk + struct.pack(">I", crc32(chunk)) + b"\0\0\0\0IDAT"
    )
    corners = [40000, 45000, 40600, 45000, 40600, 45900, 40000, 45900]
    image = {"id": 1, "file_name": "a.png", "width": 46340, "height": 46340}
    row = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [corners]}
    document = {"images": [image], "annotations": [row], "categories": [{"id": 1, "name": "a"}]}
    source = tmp_path / "a.json"
    source.write_text(json.dumps(document))
    for form, name in (("yolo", "yolo"), ("cvat", "a.xml"), ("labelme", "l"), ("svg", "a.svg")):
        tracemalloc.start()
        convert(source, tmp_path / name, form)
        (found,) = read(tmp_path / name, form, tmp_path / "images")
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
        tracemalloc.stop()
        assert [mask.area for mask in found.masks] == [600 * 900]
    for form, name in (("label-png", "png"), ("label-studio", "s.json")):
        with pytest.raises(DataError, match="200000000 pixels"):
            convert(source, tmp_path / name, form)


def test_refused_images_leave_nothing_behind(tmp_path: Path) -> None:
    source, images = annotated(tmp_path, "coco"), tmp_path / "photos"
    shown(images, "a.jpg", (60, 40))
    shown(images, "b.jpg", (60, 40))
    with pytest.raises(DataError, match=r"a\.jpg.*Width and height are swapped"):
        convert(source, tmp_path / "yolo", "yolo", images=images, copy_images=True)
    assert not (tmp_path / "yolo").exists()
