"""Sets of photos with masks, read from disk."""

import json
from pathlib import Path

import numpy as np
import pytest

from anymask.base import DataError
from anymask.formats import is_set, load_set
from anymask.masks import mask_to_rle, rle_area, rle_to_mask, rle_to_string
from tests.evaluation.small_sets import rectangle, write_set

BOXES = [[(2, 3, 20, 30), (40, 5, 60, 40)], [(0, 0, 64, 48)], []]


def edit_line(folder: Path, **changes: object) -> Path:
    """Change keys of the second line of masks.jsonl."""
    path = folder / "masks.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | changes)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_a_set_is_read_as_it_was_written(tmp_path: Path) -> None:
    info, samples = load_set(write_set(tmp_path / "boxes", BOXES))
    assert (info.name, info.domain, info.licence, info.ships) == (
        "boxes",
        "rectangles",
        "CC0",
        True,
    )
    assert [len(sample.masks) for sample in samples] == [2, 1, 0]
    assert samples[0].hw == (48, 64)
    assert np.array_equal(rle_to_mask(samples[0].rles[1]), rectangle((48, 64), BOXES[0][1]))
    assert [mask.label for mask in samples[0].objects] == [None, None]
    assert samples[0].ignore is None


def test_labels_annotators_and_ignored_pixels_are_read(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "boxes", BOXES)
    text = rle_to_string(mask_to_rle(rectangle((48, 64), (1, 1, 3, 3))))
    masks = [{"rle": text, "label": "cat", "annotator": 4}, {"rle": text}]
    _, samples = load_set(edit_line(folder, masks=masks, ignore_rle=text))
    assert [mask.label for mask in samples[1].objects] == ["cat", None]
    assert [mask.annotator for mask in samples[1].objects] == [4, None]
    assert samples[1].ignore is not None
    assert rle_area(samples[1].ignore) == 4


def test_a_set_without_a_description_takes_its_folders_name(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "boxes", BOXES)
    (folder / "set.json").unlink()
    info, _ = load_set(folder)
    assert (info.name, info.ships) == ("boxes", None)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("label", 3, "`label` must be text, but it is 3"),
        ("annotator", "x", "`annotator` must be a whole"),
    ],
)
def test_a_mask_with_a_strange_label_is_named(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    text = rle_to_string(mask_to_rle(np.zeros((48, 64), np.bool_)))
    folder = write_set(tmp_path / "boxes", BOXES)
    with pytest.raises(DataError, match=f"line 2: mask 0: {message}"):
        load_set(edit_line(folder, masks=[{"rle": text, key: value}]))


def test_a_folder_without_masks_is_no_set(tmp_path: Path) -> None:
    assert not is_set(tmp_path)
    with pytest.raises(DataError, match=r"it has no masks\.jsonl"):
        load_set(tmp_path)


def test_every_set_of_the_shared_data_is_read_with_the_areas_it_states(shared: Path) -> None:
    folder = shared / "data" / "eval" / "coco_val"
    info, samples = load_set(folder)
    rows = [json.loads(line) for line in (folder / "masks.jsonl").read_text().splitlines()]
    assert info.name == "coco_val"
    assert [[rle_area(rle) for rle in sample.rles] for sample in samples] == [
        [mask["area"] for mask in row["masks"]] for row in rows
    ]
