"""`anymask boxes` as a user meets it: labels for detection in, masks out, by the bundled model."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from anymask.cli.main import main
from anymask.formats import read_annotations
from anymask.masks import iou, rle_to_mask

HW = (160, 200)
DISCS = {"a": [("cup", 60, 70, 30), ("plate", 150, 90, 35)], "b": [("cup", 100, 80, 45)]}


def disc(x: int, y: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    return (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 < radius**2


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photos of discs with the boxes around them as YOLO has them; one of them has no label."""
    monkeypatch.chdir(tmp_path)
    for folder in ("set/images", "set/labels"):
        Path(folder).mkdir(parents=True)
    for name, found in DISCS.items():
        image = Image.new("RGB", HW[::-1], (40, 90, 40))
        lines = []
        for label, x, y, radius in found:
            around = (x - radius, y - radius, x + radius, y + radius)
            ImageDraw.Draw(image).ellipse(around, (220, 200, 60))
            share = (x / HW[1], y / HW[0], 2 * radius / HW[1], 2 * radius / HW[0])
            number = ["cup", "plate"].index(label)
            lines.append(" ".join(map(str, (number, *share))))
        image.save(f"set/images/{name}.png")
        Path(f"set/labels/{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    Image.new("RGB", HW[::-1]).save("set/images/c.png")
    Path("set/labels/c.txt").write_text("", encoding="utf-8")
    Path("set/data.yaml").write_text("names: [cup, plate]\n", encoding="utf-8")
    return tmp_path


def out_of(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(["boxes", *words]) == code
    told = capsys.readouterr()
    return told.out + told.err


def coco(path: str, *rows: dict) -> None:
    """Labels with a box of a cup in each image."""
    images = [{"id": n, "height": HW[0], "width": HW[1]} | row for n, row in enumerate(rows)]
    found = [{"id": n, "image_id": n, "category_id": 1, "bbox": [30, 40, 60, 60]}
             for n in range(len(rows))]  # fmt: skip
    document = {"images": images, "annotations": found, "categories": [{"id": 1, "name": "cup"}]}
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(json.dumps(document), encoding="utf-8")


def check(folder: str) -> None:
    """Each disc is there, under its name, in the order of the labels."""
    images = {image.file_name: image for image in read_annotations(Path(folder))[0]}
    assert sorted(images) == ["a.png", "b.png"]
    for name, found in DISCS.items():
        masks = images[f"{name}.png"].objects
        assert [mask.label for mask in masks] == [label for label, *_ in found]
        for mask, (_, *circle) in zip(masks, found, strict=True):
            assert iou(rle_to_mask(mask.rle), disc(*circle)) > 0.9
            assert mask.score > 0


def test_every_box_becomes_a_mask_with_its_label(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = out_of(capsys, "set")
    assert "boxes: 3, images: 2" in told
    assert "2 done, 0 skipped (done before), 0 failed" in told
    assert "anymask convert set-masks OUT --to FORMAT" in told
    check("set-masks")
    with Image.open("set-masks/a.png") as image:
        assert image.size == HW[::-1]
    assert "0 done, 2 skipped (done before)" in out_of(capsys, "set/data.yaml")
    assert main(["convert", "set-masks", "again", "--to", "yolo", "--images", "set/images"]) == 0
    assert len(Path("again/labels/a.txt").read_text("utf-8").splitlines()[0].split()) > 7


def test_new_labels_are_done_anew_and_others_are_not(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out_of(capsys, "set", "-o", "masks")
    before = Path("masks/a.json").read_bytes()
    label = Path("set/labels/b.txt")
    label.write_text("1" + label.read_text("utf-8")[1:], encoding="utf-8")
    assert "1 done, 1 skipped (done before)" in out_of(capsys, "set", "-o", "masks")
    assert Path("masks/a.json").read_bytes() == before
    assert json.loads(Path("masks/b.json").read_text("utf-8"))["annotations"][0]["label"] == "plate"


def test_masks_beside_boxes_stay_as_they_are(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path("set/labels/b.txt")
    text.write_text(text.read_text("utf-8") + "\n1 0 0 0.2 0 0 0.2\n", encoding="utf-8")
    told = out_of(capsys, "set", "-o", "masks", "--no-overlay")
    assert "boxes: 3, images: 2" in told
    (mine,) = (one for one in read_annotations(Path("set"))[0] if one.file_name == "b.png")
    (found,) = (one for one in read_annotations(Path("masks"))[0] if one.file_name == "b.png")
    assert found.objects[1].rle == mine.objects[0].rle
    assert found.objects[1].label == "plate"


def test_a_photo_that_is_not_there_or_not_its_own_stops_no_other(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"file_name": f"{name}.png"} for name in ("a", "gone", "b")]
    coco("labels.json", *rows[:2], rows[2] | {"width": HW[1] + 1})
    told = out_of(capsys, "labels.json", "--images", "set/images", "-o", "masks", code=2)
    assert "boxes: 1, images: 1" in told
    assert (
        "image of 201 x 160 pixels, but the image file has 200 x 160): b.png. Use the image" in told
    )
    assert sorted(path.name for path in Path("masks").iterdir()) == ["a.json", "a.png"]
    coco("labels.json", *rows)
    told = out_of(capsys, "labels.json", "--images", "set/images", "-o", "masks", code=2)
    assert "1 done, 1 skipped (done before)" in told
    assert "1 image not found, first: labels.json: The image 'gone.png' is not in" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "File or folder not found: 'nothing'"),
        (["masks"], "Labels with boxes are required, but the yolo data has no boxes"),
        (["set/images"], "Labels with boxes are required"),
        (["set", "-o", "out.json"], "'out.json' is a file name. Pass a folder"),
        (["set", "--images", "away"], "away: The image folder does not exist"),
        (["set", "--from", "yol"], "Unknown format 'yol'"),
    ],
)
def test_what_has_no_boxes_is_refused(
    desk: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("masks/labels").mkdir(parents=True)
    Path("masks/images").symlink_to(desk / "set" / "images")
    Path("masks/labels/a.txt").write_text("0 0 0 0.2 0 0 0.2\n", encoding="utf-8")
    told = out_of(capsys, *words, code=2)
    assert message in told


def test_two_photos_of_one_name_are_refused(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "val"):
        coco(f"coco/{split}.json", {"file_name": "a.png"})
    told = out_of(capsys, "coco", "--images", "set/images", code=2)
    assert "Two images have the name 'a.png'. Pass the labels of one split at a time" in told
