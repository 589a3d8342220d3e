"""A list of masks: what its methods keep, draw and write."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from anymask.primitives.errors import InputError
from anymask.primitives.record_list import MaskRecords
from anymask.primitives.records import MaskRecord, record_from_rle
from anymask.primitives.rle import mask_to_rle


def square(at: int, side: int, quality: float, label: str | None = None) -> MaskRecord:
    mask = np.zeros((20, 30), np.bool_)
    mask[at : at + side, at : at + side] = True
    return record_from_rle(mask_to_rle(mask), quality=quality, stability=quality, label=label)


LARGE, INNER, OTHER = square(0, 10, 0.5), square(2, 4, 0.9, "hole"), square(12, 6, 0.7)
SOME = MaskRecords([LARGE, INNER, OTHER])


def test_it_is_a_list_of_records() -> None:
    assert isinstance(SOME, list)
    assert SOME[1] is INNER
    assert SOME == [LARGE, INNER, OTHER]


def test_filter_keeps_what_reaches_everything_that_is_asked() -> None:
    assert SOME.filter(min_quality=0.6) == [INNER, OTHER]
    assert SOME.filter(min_area=17) == [LARGE, OTHER]
    assert SOME.filter(label="hole") == [INNER]
    assert SOME.filter(lambda record: record.area == 36, min_stability=0.1) == [OTHER]
    assert len(SOME) == 3


def test_nms_keeps_the_better_one_of_two_that_overlap() -> None:
    twin = square(0, 9, 0.6)  # IoU .81 with the large one
    assert MaskRecords([*SOME, twin]).nms(0.8) == [INNER, OTHER, twin]
    assert MaskRecords([*SOME, twin]).nms(0.82) == [INNER, OTHER, twin, LARGE]
    with pytest.raises(InputError, match="IoU from 0 to 1, got 7"):
        SOME.nms(7)


def test_tree_tells_which_mask_lies_in_which() -> None:
    assert [(record.parent, record.depth) for record in SOME.tree()] == [
        (None, 0),
        (0, 1),
        (None, 0),
    ]
    assert SOME[1].parent is None


def test_drawing_colours_the_masks_and_leaves_the_rest() -> None:
    photo = np.full((200, 300, 3), 100, np.uint8)
    masks = [np.zeros((200, 300), np.bool_) for _ in range(3)]
    for mask, (low, high) in zip(masks, [(0, 100), (30, 70), (120, 180)], strict=True):
        mask[low:high, low:high] = True
    drawn = MaskRecords(record_from_rle(mask_to_rle(mask)) for mask in masks).draw(photo)
    assert (photo == 100).all()
    assert (drawn[:, 200:] == 100).all()
    middles = [drawn[15, 15], drawn[50, 50], drawn[150, 150]]
    assert len({tuple(pixel) for pixel in middles}) == 3
    with pytest.raises(InputError, match="of the picture's size"):
        SOME.draw(np.zeros((4, 4, 3), np.uint8))


def test_saving_writes_records_that_read_back_and_pictures(tmp_path: Path) -> None:
    SOME.save(tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["image"] == {"width": 30, "height": 20}
    back = [MaskRecord.from_sa1b(record) for record in document["annotations"]]
    assert [record.area for record in back] == [100, 16, 36]
    photo = np.full((20, 30, 3), 100, np.uint8)
    SOME.save(tmp_path / "a.png", photo)
    assert (cv2.imread(str(tmp_path / "a.png"))[..., ::-1] == SOME.draw(photo)).all()
    with pytest.raises(InputError, match="give image=PHOTO"):
        SOME.save(tmp_path / "b.png")
    with pytest.raises(InputError, match="saved as .json, .png"):
        SOME.save(tmp_path / "b.xml")


def test_its_repr_is_one_line() -> None:
    assert repr(SOME) == ("<MaskRecords: 3 masks of 30x20, best quality 0.90, 23 % of the photo>")
    assert repr(MaskRecords()) == "<MaskRecords: none>"
