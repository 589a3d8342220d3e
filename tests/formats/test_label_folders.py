"""Where label pictures and their photos lie: never is a label picture its own photo."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import DataError
from anymask.formats import read

NUMBERS = np.array([[0, 1], [2, 2]], np.uint8)


def label(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(NUMBERS).save(path)
    return path


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2), (9, 8, 7)).save(path)
    return path


@pytest.mark.parametrize("source", [".", "masks"])
@pytest.mark.parametrize(
    ("photos", "mask", "shown"),
    [
        ("images", "a.png", "a.png"),
        ("images", "a.png", "a.jpg"),
        ("imgs", "a.png", "a.tif"),
        ("JPEGImages", "train/a.png", "train/a.jpg"),
        ("images", "a_mask.png", "a.png"),
        ("images", "a.tif", "a.tif"),  # StarDist
        ("images", "a.PNG", "a.JPG"),
    ],
)
def test_masks_beside_photos_are_of_these(
    photos: str, mask: str, shown: str, source: str, tmp_path: Path
) -> None:
    label(tmp_path / "masks" / mask)
    theirs = photo(tmp_path / photos / shown)
    stream = read(tmp_path / source)
    (image,) = stream
    assert (stream.form, image.file_name, len(image.masks)) == ("label-png", shown, 2)
    assert stream.picture(image).samefile(theirs)
    assert stream.pixels(image).tolist() == [[[9, 8, 7]] * 2] * 2 or shown.lower().endswith(".jpg")


def test_photos_of_another_kind_lie_among_the_labels(tmp_path: Path) -> None:
    label(tmp_path / "some" / "a.png")
    theirs = photo(tmp_path / "some" / "a.jpg")
    stream = read(tmp_path / "some", "label-png")
    (image,) = stream
    assert stream.picture(image) == theirs


def test_a_label_picture_is_not_its_own_photo(tmp_path: Path) -> None:
    label(tmp_path / "some" / "a.png")
    stream = read(tmp_path / "some")
    (image,) = stream
    assert image.file_name == "a.png"
    with pytest.raises(
        DataError, match=r"The image to which the label image 'a.png'.*--images DIR"
    ):
        stream.picture(image)


def test_labels_of_yolo_and_annotations_of_davis_stay_theirs(tmp_path: Path) -> None:
    photo(tmp_path / "yolo" / "images" / "a.png")
    (tmp_path / "yolo" / "labels").mkdir()
    (tmp_path / "yolo" / "labels" / "a.txt").write_text("0 0 0 1 0 1 1\n")
    label(tmp_path / "davis" / "Annotations" / "clip" / "00000.png")
    photo(tmp_path / "davis" / "JPEGImages" / "clip" / "00000.jpg")
    forms = {name: read(tmp_path / name).form for name in ("yolo", "davis")}
    assert forms == {"yolo": "yolo", "davis": "davis"}


def test_labels_of_several_photos_are_read(tmp_path: Path) -> None:
    """`_cp_masks.png`, as Cellpose saves results for other programs."""
    for name in "ab":
        label(tmp_path / f"{name}_cp_masks.png")
        photo(tmp_path / f"{name}.tif")
    found = [
        (image.file_name, {mask.id: mask.area for mask in image.masks})
        for image in read(tmp_path, "label-png")
    ]
    assert found == [("a.tif", {1: 1, 2: 2}), ("b.tif", {1: 1, 2: 2})]


@pytest.mark.parametrize(
    ("mask", "shown"),
    [("a_cp_masks.png", "a.tif"), ("a_cp_masks.tif", "a.tif"), ("a_mask.png", "a.png")],
)
def test_labels_among_their_photos_are_told_by_their_names(
    mask: str, shown: str, tmp_path: Path
) -> None:
    """As Cellpose writes them; the photo is no label picture."""
    label(tmp_path / "some" / mask)
    theirs = photo(tmp_path / "some" / shown)
    stream = read(tmp_path / "some", "label-png")
    (image,) = stream
    assert (image.file_name, len(image.masks)) == (shown, 2)
    assert stream.picture(image) == theirs
