"""SA-V: objects keep their numbers through the frames."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as peer

from anymask.base import DataError
from anymask.formats import AnnotatedImage, LossReport, SequencePlace, read_annotations, sav
from anymask.formats.registry import recognized
from anymask.masks import Mask, mask_to_rle, rle_to_mask
from tests.formats.annotated import written
from tests.masks.strategies import Pixels


def clip(*frames: dict[int, Pixels], hw: tuple[int, int] = (9, 12)) -> list[AnnotatedImage]:
    """One picture a frame, from object number -> mask."""
    return [
        AnnotatedImage(
            file_name=f"dogs/{4 * number:05d}.jpg",
            hw=hw,
            masks=tuple(Mask(mask_to_rle(mask), id=g) for g, mask in frame.items()),
        )
        for number, frame in enumerate(frames)
    ]


def square(side: int) -> Pixels:
    mask = np.zeros((9, 12), np.bool_)
    mask[:side, :side] = True
    return mask


def test_the_file_says_what_the_data_set_says(tmp_path: Path) -> None:
    images = clip({3: square(2)}, {}, {3: square(4), 8: square(9)}, {})
    assert not written(tmp_path, images, "sav")
    document = json.loads((tmp_path / "dogs_manual.json").read_text())
    assert (document["video_id"], document["video_height"], document["video_width"]) == (
        "dogs",
        9,
        12,
    )
    assert (document["video_frame_count"], document["masklet_num"]) == (13, 2)
    assert document["masklet_id"] == [3, 8]
    assert document["masklet_size_abs"] == [10, 81]
    assert document["masklet_visibility_changes"] == [3, 1]
    assert document["masklet_first_appeared_frame"] == [0, 2]
    assert document["masklet_size_bucket"] == ["small", "small"]
    areas = [[int(peer.area(row)) for row in frame] for frame in document["masklet"]]
    assert areas == [[4, 0], [0, 0], [16, 81], [0, 0]]
    found = sav.read(tmp_path, LossReport())
    assert found == images
    assert [one.place for one in found] == [SequencePlace("dogs", 4 * n) for n in range(4)]


def test_what_has_no_place_is_reported(tmp_path: Path) -> None:
    mask = Mask(mask_to_rle(square(2)), "dog")
    empty = Mask(mask_to_rle(square(0)))
    images = [AnnotatedImage(file_name="a.jpg", hw=(9, 12), masks=(mask, empty))]
    assert written(tmp_path / "a.json", images, "sav").counts() == {
        "labels": 1,
        "frames": 1,
        "ids": 1,
        "empty": 1,
    }
    (found,) = sav.read(tmp_path / "a.json", LossReport())
    assert (found.file_name, [mask.id for mask in found.masks]) == ("video/00000.jpg", [0])


def test_one_video_has_one_size_and_one_file(tmp_path: Path) -> None:
    other = AnnotatedImage(file_name="dogs/9.jpg", hw=(3, 3))
    with pytest.raises(DataError, match="The frames of 'dogs' have different sizes: "):
        written(tmp_path, [*clip({}), other], "sav")
    away = AnnotatedImage(file_name="cats/0.jpg", hw=(3, 3))
    with pytest.raises(DataError, match="The format holds one video, not 2"):
        written(tmp_path / "a.json", [*clip({}), away], "sav")


def test_the_pictures_of_val_and_test_are_read_and_may_overlap(tmp_path: Path) -> None:
    for name, side in {"003/00000": 2, "008/00000": 5, "003/00004": 0, "008/00004": 9}.items():
        path = tmp_path / "Annotations_6fps" / "dogs" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(square(side).astype(np.uint8) * 255).save(path)
    truth = clip({3: square(2), 8: square(5)}, {8: square(9)})
    assert recognized(tmp_path)[0] == "sav"
    found = sav.read(tmp_path, LossReport())
    assert found == truth
    assert [one.place for one in found] == [SequencePlace("dogs", 0), SequencePlace("dogs", 4)]
    path.rename(tmp_path / "Annotations_6fps" / "00000.png")
    with pytest.raises(
        DataError, match="00000.png: The path does not match <video>/<object number>/<frame>.png"
    ):
        sav.read(tmp_path, LossReport())


def test_the_lines_of_a_track_are_frames(tmp_path: Path) -> None:
    """Run-lengths of pycocotools; the second frame shows nothing."""
    path, rows = tmp_path / "dogs.jsonl", []
    for frame, side in ((0, 4), (2, 0), (4, 9)):
        rle = peer.encode(np.asfortranarray(square(side).astype(np.uint8)))
        row = {"object": 3, "score": 0.5, "segmentation": rle | {"counts": rle["counts"].decode()}}
        rows.append(json.dumps({"frame": frame, "seconds": 0.1 * frame, "objects": [row]}))
    path.write_text("\n".join([*rows, '{"frame": 6}', rows[0].replace("0.5", "NaN")]))
    assert recognized(path)[0] == "sav"
    found, report = read_annotations(path)
    assert [one.place for one in found] == [SequencePlace("dogs", n) for n in (0, 2, 4)]
    drawn = [[rle_to_mask(mask.rle) for mask in one.masks] for one in found]
    assert [len(masks) for masks in drawn] == [1, 0, np.array_equal(drawn[2][0], square(9))]
    assert (found[0].masks[0].id, found[0].masks[0].score, report.skipped) == (3, 0.5, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masklet": [[]]}, "frame 0: The frame has 0 masks, but"),
        ({"masklet": [[{"size": [9, 12]}]]}, "frame 0: object 3: Invalid COCO run-length record"),
        ({"masklet": [[None]]}, "frame 0: object 3: Invalid COCO run-length record"),
        ({"video_height": 2.5}, "a.json: `height` is not a whole number"),
        ({"masklet_id": None}, "a.json: a value has a wrong type"),
    ],
)
def test_a_broken_file_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    written(path, clip({3: square(2)}), "sav")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=f"a.json: .*{message.removeprefix('a.json: ')}"):
        sav.read(path, LossReport())
