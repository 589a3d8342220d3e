"""Exports of Roboflow, with their README files, as folders and as archives: every split is read."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.formats import read
from anymask.masks import rle_to_mask

SPLITS = {
    "train": ["a_jpg.rf.0123.jpg", "same_jpg.rf.1.jpg"],
    "valid": ["b_jpg.rf.45.jpg", "same_jpg.rf.1.jpg"],
    "test": ["c_jpg.rf.67.jpg"],
}
NAMES = sorted(f"{split}/{name}" for split, names in SPLITS.items() for name in names)
MASK = np.zeros((30, 40), np.bool_)
MASK[5:15, 5:15] = True


def image(path: Path) -> None:
    """An image whose color tells its split."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shade = 60 * [*SPLITS].index(next(part for part in path.parts if part in SPLITS))
    Image.new("RGB", (40, 30), (shade, 0, 0)).save(path, quality=100)


def coco(root: Path) -> None:
    """COCO: a JSON in the folder of each split."""
    for split, names in SPLITS.items():
        for name in names:
            image(root / split / name)
        outline = [[5, 5, 15, 5, 15, 15, 5, 15]]
        document = {
            "info": {"year": "2026", "description": "Exported from roboflow.com"},
            "licenses": [{"id": 1, "url": "", "name": "CC BY 4.0"}],
            "categories": [
                {"id": 0, "name": "animals", "supercategory": "none"},
                {"id": 1, "name": "cat", "supercategory": "animals"},
            ],
            "images": [
                {"id": number, "license": 1, "file_name": name, "height": 30, "width": 40}
                for number, name in enumerate(names)
            ],
            "annotations": [
                {
                    "id": number, "image_id": number, "category_id": 1, "bbox": [5, 5, 10, 10],
                    "area": 100, "segmentation": outline, "iscrowd": 0,
                }
                for number in range(len(names))
            ],
        }  # fmt: skip
        (root / split / "_annotations.coco.json").write_text(json.dumps(document))


def yolo(root: Path) -> None:
    """YOLO: images/ and labels/ of each split."""
    line = "0 0.125 0.1666667 0.375 0.1666667 0.375 0.5 0.125 0.5"
    for split, names in SPLITS.items():
        (root / split / "labels").mkdir(parents=True)
        for name in names:
            image(root / split / "images" / name)
            (root / split / "labels" / name).with_suffix(".txt").write_text(line)
    about = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 1\n"
    more = "names: ['cat']\n\nroboflow:\n  workspace: w\n  project: p\n  license: CC BY 4.0\n"
    (root / "data.yaml").write_text(about + more)


def voc(root: Path) -> None:
    """PASCAL VOC: an XML beside each image."""
    corners = "".join(
        f"<x{number}>{x}</x{number}><y{number}>{y}</y{number}>"
        for number, (x, y) in enumerate([(6, 6), (15, 6), (15, 15), (6, 15)], start=1)
    )
    for split, names in SPLITS.items():
        for name in names:
            image(root / split / name)
            size = "<size><width>40</width><height>30</height><depth>3</depth></size>"
            xml = f"<object><name>cat</name><polygon>{corners}</polygon></object>"
            text = f"<annotation><filename>{name}</filename>{size}{xml}</annotation>"
            (root / split / name).with_suffix(".xml").write_text(text)


@pytest.mark.parametrize("write", [coco, yolo, voc])
@pytest.mark.parametrize("packed", [False, True])
def test_every_split_is_read(tmp_path: Path, write: Callable[[Path], None], packed: bool) -> None:
    source = tmp_path / "export"
    write(source)
    (source / "README.dataset.txt").write_text("# cats\nProvided by a Roboflow user\n")
    (source / "README.roboflow.txt").write_text("\ncats - v1\n====\n\n0 0.5 0.5 0.1 0.1\n")
    if packed:
        archive = tmp_path / "cats.v1i.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(source.rglob("*")):
                file.write(path, path.relative_to(source).as_posix())
        source = archive
    dataset = read(source)
    images = list(dataset)
    assert sorted(one.file_name for one in images) == NAMES
    assert dataset.lost.skipped == 0
    for split, names in SPLITS.items():
        of_split = [one.file_name for one in read(source, split=split)]
        assert sorted(Path(name).name for name in of_split) == sorted(names)
    for one in images:
        (mask,) = one.masks
        assert mask.label == "cat"
        assert np.array_equal(rle_to_mask(mask.rle), MASK)
    anymask.convert(source, tmp_path / "out", "yolo", copy_images=True)
    for split, names in SPLITS.items():
        for name in names:
            assert (tmp_path / f"out/labels/{split}/{Path(name).stem}.txt").is_file()
            with Image.open(tmp_path / f"out/images/{split}/{name}") as found:
                red = int(np.asarray(found)[0, 0, 0])
            assert abs(red - 60 * [*SPLITS].index(split)) < 3
