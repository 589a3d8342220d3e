"""Where label pictures and their photos lie: never is a label picture its own photo."""

import json
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


PAIRS = [  # label picture, photo, the photo's name
    ("masks/a.png", "images/a.png", "a.png"),
    ("masks/a.png", "images/a.jpg", "a.jpg"),
    ("masks/a.png", "imgs/a.tif", "a.tif"),
    ("masks/train/a.png", "JPEGImages/train/a.jpg", "train/a.jpg"),
    ("masks/a_mask.png", "images/a.png", "a.png"),
    ("masks/a.tif", "images/a.tif", "a.tif"),  # StarDist
    ("masks/a.PNG", "images/a.JPG", "a.JPG"),
]
AMONG = [  # in one folder; some as Cellpose names them
    ("some/a.png", "some/a.jpg", "a.jpg"),
    ("some/a_cp_masks.png", "some/a.tif", "a.tif"),
    ("some/a_cp_masks.tif", "some/a.tif", "a.tif"),
    ("some/a_mask.png", "some/a.png", "a.png"),
]


@pytest.mark.parametrize(
    ("source", "form", "mask", "shown", "name"),
    [(source, None, *pair) for source in (".", "masks") for pair in PAIRS]
    + [("some", "label-png", *pair) for pair in AMONG],
)
def test_masks_beside_photos_are_of_these(
    source: str, form: str | None, mask: str, shown: str, name: str, tmp_path: Path
) -> None:
    label(tmp_path / mask)
    theirs = photo(tmp_path / shown)
    stream = read(tmp_path / source, form)
    (image,) = stream
    assert (stream.format, image.file_name, len(image.masks)) == ("label-png", name, 2)
    assert stream.image_path(image).samefile(theirs)
    assert stream.pixels(image).tolist() == [[[9, 8, 7]] * 2] * 2 or shown.lower().endswith(".jpg")


def test_a_label_picture_is_not_its_own_photo(tmp_path: Path) -> None:
    label(tmp_path / "some" / "a.png")
    stream = read(tmp_path / "some")
    (image,) = stream
    assert image.file_name == "a.png"
    with pytest.raises(
        DataError, match=r"The image to which the label image 'a.png'.*--images DIR"
    ):
        stream.image_path(image)


def test_previews_beside_records_are_no_label_images(tmp_path: Path) -> None:
    """As `anymask everything photos -o masks` writes them."""
    photo(tmp_path / "photos/a.jpg")
    label(tmp_path / "masks/a.png")
    about = {"image": {"file_name": "a.jpg", "height": 2, "width": 2}, "annotations": []}
    (tmp_path / "masks/a.json").write_text(json.dumps(about))
    assert read(tmp_path / "masks", images=tmp_path / "photos").format == "sa1b"
