"""SA-Co's layout: phrases with masks, negatives, phrases without exhaustive masks, videos."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.base import DataError
from anymask.cli.main import main
from anymask.formats import AnnotatedImage, read, read_annotations, write_annotations
from anymask.formats.registry import recognized
from anymask.masks import Mask, Masks, mask_to_rle, rle_to_coco

HW = (6, 8)


def square(x: int, y: int = 1) -> Mask:
    mask = np.zeros(HW, np.bool_)
    mask[y : y + 2, x : x + 2] = True
    return Mask(mask_to_rle(mask))


def pair(number: Any, phrase: Any, **more: Any) -> dict[str, Any]:
    """An entry as on the dataset card of SA-Co Gold."""
    return {
        "id": number, "file_name": "1/a.jpeg", "text_input": phrase, "height": 6, "width": 8,
        "queried_category": "Q1", "is_instance_exhaustive": 1, "is_pixel_exhaustive": 1,
    } | more  # fmt: skip


def record(number: int, image: Any, mask: Mask) -> dict[str, Any]:
    return {
        "id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "source": "manual",
        "area": 4 / 48, "bbox": [0.125, 1 / 6, 0.25, 1 / 3],
        "segmentation": rle_to_coco(mask.rle),
    }  # fmt: skip


def document(*pairs: dict[str, Any], annotations: Any = ()) -> dict[str, Any]:
    return {
        "info": {"description": "Gold"}, "licenses": [], "images": [*pairs],
        "annotations": [*annotations],
        "categories": [{"id": 1, "name": "object", "supercategory": "object"}],
    }  # fmt: skip


def dumped(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_pairs_of_an_image_are_joined(tmp_path: Path) -> None:
    pairs = [
        pair(10, "a red cup"), pair(11, "a mug"),
        pair(12, "the table", is_instance_exhaustive=0),
    ]  # fmt: skip
    rows = [record(1, 12, square(4)), record(2, 10, square(1)), record(3, 10, square(6))]
    path = dumped(tmp_path / "gold.json", document(*pairs, annotations=rows))
    assert recognized(path)[0] == "saco"
    (image,), report = read_annotations(path)
    assert not report.lines()
    assert image.file_name == "1/a.jpeg"
    assert [(mask.label, mask.area) for mask in image.masks] == [
        ("the table", 4), ("a red cup", 4), ("a red cup", 4),
    ]  # fmt: skip
    assert image.extra["absent_phrases"] == ["a mug"]
    assert image.extra["partial_phrases"] == ["the table"]
    assert image.extra["complete_phrases"] == ["a red cup"]


def test_ids_may_be_text(tmp_path: Path) -> None:
    content = document(pair("10", "cup"), annotations=[record(1, "10", square(1))])
    (image,), _ = read_annotations(dumped(tmp_path / "a.json", content))
    assert [mask.label for mask in image.masks] == ["cup"]


def test_negatives_come_back_through_coco(tmp_path: Path) -> None:
    image = AnnotatedImage(
        file_name="a.jpg", hw=HW,
        masks=Masks([Mask(square(1).rle, "cup"), Mask(square(4).rle, "lid")]),
        extra={
            "absent_phrases": ["mug", "bowl"], "partial_phrases": ["cup"],
            "complete_phrases": ["lid"],
        },
    )  # fmt: skip
    write_annotations([image], tmp_path / "one.json", "saco")
    found = json.loads((tmp_path / "one.json").read_text())
    assert [
        (row["id"], row["text_input"], row["is_instance_exhaustive"]) for row in found["images"]
    ] == [(1, "cup", 0), (2, "lid", 1), (3, "mug", 1), (4, "bowl", 1)]
    assert [row["image_id"] for row in found["annotations"]] == [1, 2]
    assert found["annotations"][0]["bbox"] == pytest.approx([0.125, 1 / 6, 0.25, 1 / 3])
    assert found["annotations"][0]["area"] == pytest.approx(4 / 48)
    for source, target, form in (("one", "two", "coco"), ("two", "three", "saco")):
        command = ["convert", f"{tmp_path}/{source}.json", f"{tmp_path}/{target}.json"]
        assert main([*command, "--to", form]) == 0
    (again,) = read(tmp_path / "three.json")
    assert again.extra == image.extra
    assert again.masks == image.masks


def test_masks_that_nobody_confirmed_are_not_exhaustive(tmp_path: Path) -> None:
    image = AnnotatedImage(file_name="a.jpg", hw=HW, masks=Masks([Mask(square(1).rle, "cup")]))
    write_annotations([image], tmp_path / "a.json", "saco")
    (row,) = json.loads((tmp_path / "a.json").read_text())["images"]
    assert (row["is_instance_exhaustive"], row["is_pixel_exhaustive"]) == (0, 0)


def test_an_image_without_any_phrase_comes_back(tmp_path: Path) -> None:
    images = [
        AnnotatedImage(file_name="a.jpg", hw=HW, extra={"absent_phrases": ["mug"]}),
        AnnotatedImage(file_name="b.jpg", hw=HW),
    ]
    write_annotations(images, tmp_path / "a.json", "saco")
    found, _ = read_annotations(tmp_path / "a.json")
    assert [dict(image.extra) for image in found] == [{"absent_phrases": ["mug"]}, {}]


@pytest.mark.parametrize(
    ("pairs", "rows", "told"),
    [
        ([pair(1, "cup"), pair(2, "cup")], [], "two entries for the image"),
        ([pair(1, "cup"), pair(1, "mug")], [], "Duplicate id 1"),
        ([pair(1, "cup"), pair(2, "mug", width=9)], [], "has the size"),
        ([pair(1, "cup"), pair(2, ["x"])], [], "text_input"),
        ([pair(1, "cup")], [record(1, 9, square(1))], "id 9 is missing"),
        ([pair(1, "cup")], ["x"], "annotation 1"),
        ([pair(1, "cup")], [record(1, None, square(1))], "image_id"),
        ([pair(1, "cup")], [record(1, "9" * 5000, square(1))], "image_id"),
    ],
)
def test_one_invalid_record_is_skipped_and_reported(
    pairs: list[Any], rows: list[Any], told: str, tmp_path: Path
) -> None:
    path = dumped(
        tmp_path / "a.json", document(*pairs, annotations=[record(9, 1, square(4)), *rows])
    )
    found = read(path)
    assert [image.file_name for image in found] == ["1/a.jpeg"]
    assert told in str([str(loss) for loss in found.lost.losses])


def test_a_record_of_an_invalid_entry_goes_to_no_other_image(tmp_path: Path) -> None:
    rows = [record(1, 5, square(1)), record(2, 1, square(4))]
    pairs = [pair(5, "cup", height=0), pair(1, "mug", file_name="b.jpg")]
    path = dumped(tmp_path / "a.json", document(*pairs, annotations=rows))
    (image,) = read(path)
    assert (image.file_name, [mask.label for mask in image.masks]) == ("b.jpg", ["mug"])


def videos() -> dict[str, Any]:
    """A file as on the dataset card of SA-Co VEval."""
    video = {
        "id": 3, "video_name": "v", "file_names": ["v/00000.jpg", "v/00004.jpg"],
        "height": 6, "width": 8, "length": 2,
    }  # fmt: skip
    track = {
        "id": 1, "video_id": 3, "category_id": 7, "noun_phrase": "a monkey", "iscrowd": 0,
        "segmentations": [rle_to_coco(square(1).rle), None],
    }  # fmt: skip
    pairs = [
        {"id": 0, "video_id": 3, "category_id": 7, "noun_phrase": "a monkey", "num_masklets": 1},
        {"id": 1, "video_id": 3, "category_id": 8, "noun_phrase": "a fan", "num_masklets": 0},
    ]
    return {"videos": [video], "annotations": [track], "categories": [], "video_np_pairs": pairs}


def test_videos_are_read_by_frames(tmp_path: Path) -> None:
    path = dumped(tmp_path / "veval.json", videos())
    assert recognized(path)[0] == "saco"
    images, _ = read_annotations(path)
    assert [image.file_name for image in images] == ["v/00000.jpg", "v/00004.jpg"]
    assert [[(mask.label, mask.id) for mask in image.masks] for image in images] == [
        [("a monkey", 1)], [],
    ]  # fmt: skip
    assert images[0].extra["absent_phrases"] == ["a fan"]


def test_a_stated_number_of_frames_is_bounded(tmp_path: Path) -> None:
    """The file of attack.md, 2: names of 1,000,000,000 frames took all memory."""
    content = videos()
    content["videos"] = [
        {"id": 3, "video_name": "v", "height": 6, "width": 8, "length": 10**9}, *content["videos"],
    ]  # fmt: skip
    found = read(dumped(tmp_path / "a.json", content))
    assert len(list(found)) == 2
    assert "at most 100000 frames. Given: 1000000000" in str(found.lost.losses[0])


def test_a_track_of_another_length_is_reported(tmp_path: Path) -> None:
    content = videos()
    (track,) = content["annotations"]
    longer = [*track["segmentations"], None]
    content["annotations"].append({**track, "id": 2, "segmentations": longer})
    found = read(dumped(tmp_path / "a.json", content))
    assert [len(image.masks) for image in found] == [1, 0]
    assert "one mask or null for each of 2 frames" in str([str(one) for one in found.lost.losses])


def test_a_file_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="images"):
        list(read(dumped(tmp_path / "a.json", {"video_np_pairs": 3}), "saco", on_bad="error"))
