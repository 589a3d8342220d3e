"""What Ultralytics' `save_txt` writes is read: every task, with confidences and tracks or without.

Lines have the layout and the digits (%g) of its documentation. Pictures are 20 x 10.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import anymask
from anymask.base import DataError
from anymask.formats import read, read_annotations
from anymask.formats.registry import recognized
from anymask.masks import rle_to_mask
from tests.conftest import CommandLine

SQUARE = "0.1 0.2 0.4 0.2 0.4 0.7 0.1 0.7"
SLANTED = "0.5 0.1 0.9 0.3 0.95 0.8 0.6 0.9 0.55 0.5"
BOX = "0.25 0.45 0.3 0.5"  # of the square
MASK = np.zeros((10, 20), np.bool_)
MASK[2:7, 2:8] = True


def predictions(folder: Path, **files: str) -> Path:
    """A folder as runs/segment/predict: labels/, and the drawn pictures beside it."""
    (folder / "labels").mkdir(parents=True)
    for name, text in files.items():
        (folder / f"labels/{name}.txt").write_text(text)
        Image.new("RGB", (20, 10)).save(folder / f"{name}.jpg")
    return folder


def first(folder: Path, **settings: bool) -> anymask.Mask:
    """The first mask of the first picture."""
    return next(iter(read(folder, **settings))).masks[0]


@pytest.mark.parametrize(
    ("ends", "score", "track"),
    [
        (("", ""), 0, None),
        ((" 0.91", " 0.5"), 0.91, None),
        ((" 1", " 0.5"), 1, None),  # sure
        ((" 3", " 1"), 0, 3),
        ((" 0.91 3", " 0.5 1"), 0.91, 3),
        ((" 0.91 1", " 0.5 2"), 0.91, 1),
    ],
)
def test_outlines_may_have_a_confidence_and_a_track(
    tmp_path: Path, ends: tuple[str, str], score: float, track: int | None
) -> None:
    text = f"0 {SQUARE}{ends[0]}\n2 {SLANTED}{ends[1]}\n"
    folder = predictions(tmp_path / "predict", a=text, empty="")
    assert recognized(folder)[0] == "yolo"
    images, report = read_annotations(folder)
    assert [(image.file_name, len(image.masks)) for image in images] == [
        ("a.jpg", 2),
        ("empty.jpg", 0),
    ]
    mask = images[0].masks[0]
    assert np.array_equal(rle_to_mask(mask.rle), MASK)
    assert (mask.label, mask.score, mask.id) == ("0", score, track)
    corners = np.array([float(number) for number in SLANTED.split()]).reshape(-1, 2) * (20, 10)
    truth = np.zeros((10, 20), np.uint8)
    for y, x in np.ndindex(10, 20):
        inside = cv2.pointPolygonTest(corners.astype(np.float32), (x + 0.5, y + 0.5), False)
        truth[y, x] = inside > 0
    assert np.array_equal(rle_to_mask(images[0].masks[1].rle), truth.astype(bool))
    assert not report.skipped


def test_frames_without_tracks_end_in_the_confidence_alone(tmp_path: Path) -> None:
    folder = predictions(tmp_path / "predict", a=f"0 {SQUARE} 0.9\n", b=f"0 {SQUARE} 0.8 7\n")
    (one, two), _ = read_annotations(folder)
    assert [(mask.score, mask.id) for mask in (*one.masks, *two.masks)] == [(0.9, None), (0.8, 7)]


@pytest.mark.parametrize("end", ["", " 0.91", " 3", " 0.91 3"])
def test_boxes_are_told_or_become_rectangles(tmp_path: Path, end: str, cli: CommandLine) -> None:
    folder = predictions(tmp_path / "predict", a=f"0 {BOX}{end}\n0 {BOX}{end}\n")
    assert np.array_equal(rle_to_mask(first(folder, boxes=True).rle), MASK)
    assert "To convert the boxes to masks: `anymask boxes" in cli.refused(
        ["convert", str(folder), str(tmp_path / "o.json")]
    )


@pytest.mark.parametrize("end", ["", " 0.91", " 3", " 0.91 3"])
def test_turned_boxes_are_outlines(tmp_path: Path, end: str) -> None:
    folder = predictions(tmp_path / "obb", a=f"0 {SQUARE}{end}\n0 {SQUARE}{end}\n")
    assert np.array_equal(rle_to_mask(first(folder).rle), MASK)


POSE = " ".join(f"{0.12 + 0.015 * number:g} {0.3 + 0.02 * number:g} 0.9" for number in range(17))


@pytest.mark.parametrize("end", ["", " 0.91", " 3", " 0.91 3"])
def test_poses_are_boxes_and_no_outlines(tmp_path: Path, end: str) -> None:
    folder = predictions(
        tmp_path / "pose", a=f"0 {BOX} {POSE}{end}\n", b=f"0 {SQUARE.split()[0]}\n"
    )
    (folder / "labels/b.txt").unlink()
    assert np.array_equal(rle_to_mask(first(folder, boxes=True).rle), MASK)
    with pytest.raises(DataError, match="To convert the boxes to"):
        read_annotations(folder)


def test_the_keypoints_of_a_set_are_told_by_its_yaml(tmp_path: Path) -> None:
    folder = predictions(tmp_path / "set", a=f"0 {BOX} 0.2 0.4 2 0.3 0.5 0\n0 {SQUARE}\n")
    (folder / "images").mkdir()
    (folder / "a.jpg").rename(folder / "images/a.jpg")
    (folder / "data.yaml").write_text("kpt_shape: [2, 3]\nnames: [person]\n")
    (image,), report = read_annotations(folder)
    assert np.array_equal(rle_to_mask(image.masks[0].rle), MASK)
    (loss,) = [loss for loss in report.losses if loss.kind == "shapes"]
    assert loss.reason == "a box with keypoints, without an outline"


def test_classes_of_a_picture_have_no_mask(tmp_path: Path) -> None:
    text = f"0.93 tabby cat\n0.05 n02123159\n0.01 a\n0 {SQUARE}\n1.00 dog\n"
    (image,), report = read_annotations(predictions(tmp_path / "predict", a=text))
    assert len(image.masks) == 1
    reasons = [loss.reason for loss in report.losses if loss.kind == "shapes"]
    assert reasons == ["a class of the whole image, without an outline"] * 4


def test_frames_of_a_video_are_named_by_their_number(tmp_path: Path) -> None:
    folder = predictions(tmp_path / "predict")
    writer = cv2.VideoWriter(str(folder / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (20, 10))
    for _ in range(3):
        writer.write(np.zeros((10, 20, 3), np.uint8))
    writer.release()
    for frame in (1, 3):
        (folder / f"labels/clip_{frame}.txt").write_text(f"0 {SQUARE} 0.9\n")
    images, _ = read_annotations(folder)
    assert [image.file_name for image in images] == ["clip/00000.jpg", "clip/00002.jpg"]
    assert [image.place.index for image in images if image.place] == [0, 2]
    assert np.array_equal(rle_to_mask(images[1].masks[0].rle), MASK)


def test_a_frame_that_lies_there_goes_before_the_video(tmp_path: Path) -> None:
    folder = predictions(tmp_path / "predict", clip_1=f"0 {SQUARE}\n")
    (image,), _ = read_annotations(folder)
    assert (image.file_name, image.place) == ("clip_1.jpg", None)


def test_the_folder_of_labels_itself_is_read(tmp_path: Path) -> None:
    folder = predictions(tmp_path / "predict", a=f"0 {SQUARE}\n")
    assert recognized(folder / "labels")[0] == "yolo"
    (image,), _ = read_annotations(folder / "labels")
    assert (image.file_name, len(image.masks)) == ("a.jpg", 1)


def test_one_odd_line_of_a_set_is_invalid(tmp_path: Path) -> None:
    folder = predictions(tmp_path / "set", a=f"0 {SQUARE}\n0 {SQUARE} 0.9\n0 {SQUARE} 4\n")
    (image,), report = read_annotations(folder)
    assert (len(image.masks), image.masks[0].score) == (1, 0)
    assert report.skipped == 2


@pytest.mark.parametrize(
    "lines",
    [
        ["0 0 0 1 0 1 1"],  # ends in a whole number that is no track
        ["0 0 0 1 0 1 1", "0 0 0 0.5 0 1 1"],
        [f"0 {SQUARE}", "0 0.5 0.5 0.9 0.5 0.9 0.9 0.5 1"],
    ],
)
def test_outlines_that_end_at_the_border_keep_their_corners(
    tmp_path: Path, lines: list[str]
) -> None:
    (image,), report = read_annotations(predictions(tmp_path / "set", a="\n".join(lines)))
    assert len(image.masks) == len(lines)
    assert {(mask.score, mask.id) for mask in image.masks} == {(0.0, None)}
    assert not report.skipped
