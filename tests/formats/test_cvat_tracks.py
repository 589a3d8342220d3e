"""CVAT for video 1.1: a mask in each frame of a track, as CVAT shows it.

Frames are 20 x 10; masks are worked out by hand.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anymask.base import DataError
from anymask.formats import mask_to_cvat, read_annotations
from anymask.masks import mask_to_rle, rle_box_xyxy, rle_to_mask


def video(folder: Path, *tracks: str, size: int | str = 7, more: str = "") -> Path:
    """An export of a task of so many frames."""
    frame = "<original_size><width>20</width><height>10</height></original_size>"
    count = f"<size>{size}</size>" if size != "" else ""
    labels = "<labels><label><name>car</name></label><label><name>dog</name></label></labels>"
    task = f"<task><id>3</id><name>drive</name>{count}<mode>interpolation</mode>{labels}{frame}"
    text = f"<meta>{task}<source>drive.mp4</source></task>{more}</meta>{''.join(tracks)}"
    path = folder / "annotations.xml"
    path.write_text(f"<annotations><version>1.1</version>{text}</annotations>")
    return path


def track(label: str, *elements: str, number: int = 0, task: str = "") -> str:
    """A track of elements."""
    return f'<track id="{number}" label="{label}"{task}>{"".join(elements)}</track>'


def box(frame: int, x: float, outside: int = 0, keyframe: int = 1) -> str:
    """A box of 4 x 3 pixels at (x, 2)."""
    about = f'frame="{frame}" outside="{outside}" occluded="0" keyframe="{keyframe}"'
    return f'<box {about} xtl="{x}" ytl="2" xbr="{x + 4}" ybr="5" z_order="0"/>'


def lefts(path: Path) -> list[list[int]]:
    """The first column of each mask of each frame."""
    images, _ = read_annotations(path)
    return [[int(rle_box_xyxy(mask.rle)[0]) for mask in image.masks] for image in images]


def test_boxes_move_in_a_straight_line_until_they_are_outside(tmp_path: Path) -> None:
    path = video(tmp_path, track("car", box(0, 2), box(4, 10), box(5, 10, outside=1)))
    assert lefts(path) == [[2], [4], [6], [8], [10], [], []]
    images, _ = read_annotations(path)
    truth = np.zeros((10, 20), np.bool_)
    truth[2:5, 6:10] = True
    assert np.array_equal(rle_to_mask(images[2].masks[0].rle), truth)
    assert [image.file_name for image in images][:2] == ["frame_000000.png", "frame_000001.png"]
    place = images[3].place
    assert place is not None
    assert (place.sequence, place.index) == ("drive.mp4", 3)
    assert images[0].masks[0].label == "car"


def test_frames_that_are_listed_are_taken_as_they_are(tmp_path: Path) -> None:
    elements = [box(frame, 2 + frame, keyframe=frame % 2) for frame in range(5)]
    path = video(tmp_path, track("car", *elements, box(5, 6, outside=1), box(6, 1)))
    assert lefts(path) == [[2], [3], [4], [5], [6], [], [1]]


def test_a_track_goes_on_to_the_end_of_its_task(tmp_path: Path) -> None:
    assert lefts(video(tmp_path, track("car", box(4, 2)))) == [[], [], [], [], [2], [2], [2]]
    assert lefts(video(tmp_path, track("car", box(4, 2)), size="")) == [[2]]


def test_objects_keep_their_number_through_the_frames(tmp_path: Path) -> None:
    tracks = [track("car", box(0, 2)), track("dog", box(2, 8), number=1)]
    images, report = read_annotations(video(tmp_path, *tracks))
    assert [[mask.id for mask in image.masks] for image in images] == [[1]] * 2 + [[1, 2]] * 5
    assert [*report.classes] == ["car", "dog"]


def test_tracks_of_one_label_and_group_are_one_object(tmp_path: Path) -> None:
    few = [track(label, box(0, x), task=' group_id="9"') for label, x in (("car", 2), ("car", 8))]
    images, _ = read_annotations(video(tmp_path, *few, track("dog", box(0, 2)), size=1))
    (image,) = images
    assert [(mask.label, mask.id, mask.area) for mask in image.masks] == [
        ("car", 1, 24), ("dog", 3, 12),
    ]  # fmt: skip


def polygon(frame: int, *points: tuple[float, float]) -> str:
    """A polygon of a track."""
    text = ";".join(f"{x},{y}" for x, y in points)
    return f'<polygon frame="{frame}" outside="0" keyframe="1" points="{text}"/>'


def test_polygons_of_as_many_points_move(tmp_path: Path) -> None:
    first = [(2, 1), (6, 1), (6, 4), (2, 4)]
    last = [(10, 5), (14, 5), (14, 8), (10, 8)]
    images, _ = read_annotations(
        video(tmp_path, track("car", polygon(0, *first), polygon(4, *last)), size=5)
    )
    boxes = [list(map(int, rle_box_xyxy(image.masks[0].rle))) for image in images]
    assert boxes == [
        [2, 1, 5, 3], [4, 2, 7, 4], [6, 3, 9, 5], [8, 4, 11, 6], [10, 5, 13, 7],
    ]  # fmt: skip


def test_other_polygons_and_masks_stay_until_the_next(tmp_path: Path) -> None:
    first = [(2, 1), (6, 1), (6, 4), (2, 4)]
    path = video(tmp_path, track("car", polygon(0, *first), polygon(3, *first[:3])), size=4)
    images, report = read_annotations(path)
    areas = [int(rle_to_mask(image.masks[0].rle).sum()) for image in images]
    assert areas[:3] == [12, 12, 12]
    assert areas[3] < 12
    assert any("are not interpolated" in note for note in report.notes)
    stamp = np.zeros((10, 20), np.bool_)
    stamp[3:5, 2:6] = stamp[5, 3] = True
    *runs, x0, y0, x1, y1 = mask_to_cvat(mask_to_rle(stamp))
    about = f'left="{x0}" top="{y0}" width="{x1 - x0 + 1}" height="{y1 - y0 + 1}"'
    element = f'<mask frame="1" outside="0" rle="{", ".join(map(str, runs))}" {about}/>'
    images, _ = read_annotations(video(tmp_path, track("car", element), size=4))
    assert [len(image.masks) for image in images] == [0, 1, 1, 1]
    assert all(np.array_equal(rle_to_mask(one.masks[0].rle), stamp) for one in images[1:])


def test_ellipses_turn_and_move(tmp_path: Path) -> None:
    about = 'outside="0" keyframe="1"'
    first = f'<ellipse frame="0" {about} cx="6" cy="5" rx="4.4" ry="2.2" rotation="0"/>'
    last = f'<ellipse frame="2" {about} cx="12" cy="5" rx="4.4" ry="2.2" rotation="180"/>'
    images, _ = read_annotations(video(tmp_path, track("car", first, last), size=3))
    y, x = np.mgrid[:10, :20] + 0.5
    truth = ((x - 9) / 2.2) ** 2 + ((y - 5) / 4.4) ** 2 < 1  # turned by a quarter, half the way
    assert np.array_equal(rle_to_mask(images[1].masks[0].rle), truth)


def test_tasks_of_a_project_have_frames_of_their_own(tmp_path: Path) -> None:
    size = "<original_size><width>20</width><height>10</height></original_size>"
    second = f"<task><id>4</id><name>b</name><size>2</size>{size}</task>"
    tracks = [
        track("car", box(0, 2), task=' task_id="3"'),
        track("dog", box(1, 8), task=' task_id="4"'),
    ]
    images, _ = read_annotations(video(tmp_path, *tracks, size=2, more=second))
    told = [(image.place.sequence, len(image.masks)) for image in images if image.place]
    assert told == [("drive.mp4", 1), ("drive.mp4", 1), ("b", 0), ("b", 1)]


def test_frames_beside_the_file_are_found(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for frame in range(2):
        Image.new("RGB", (20, 10)).save(tmp_path / f"images/frame_{frame:06d}.PNG")
    path = video(tmp_path, track("car", box(0, 2)), size=2)
    images, _ = read_annotations(path)
    assert [image.file_name for image in images] == ["frame_000000.PNG", "frame_000001.PNG"]
    path.write_text(path.read_text().replace("original_size", "unsized"))
    assert read_annotations(path)[0] == images
    for frame in range(2):
        (tmp_path / f"images/frame_{frame:06d}.PNG").unlink()
    with pytest.raises(DataError, match="The size of the frames is.*--images DIR"):
        read_annotations(path)


def test_a_stated_number_of_frames_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at most 100000 frames. Given: 1000000000"):
        read_annotations(video(tmp_path, track("car", box(0, 2)), size=10**9))
    images, report = read_annotations(video(tmp_path, track("car", box(0, 2), box(10**9, 8))))
    assert ([len(image.masks) for image in images], report.skipped) == ([1] * 7, 1)


def test_broken_elements_are_skipped_alone(tmp_path: Path) -> None:
    broken = [
        box(1, 2).replace('frame="1"', 'frame="x"', 1), box(1, 2).replace('frame="1"', "", 1),
        box(2, 2).replace('xtl="2"', 'xtl="left"'), box(-1, 2),
    ]  # fmt: skip
    path = video(tmp_path, track("car", box(0, 2), *broken, box(3, 8), box(4, 8, outside=1)))
    images, report = read_annotations(path)
    assert [len(image.masks) for image in images] == [1, 0, 0, 1, 0, 0, 0]
    assert report.skipped == 5  # frame 1 lies between two elements, one of which is broken
