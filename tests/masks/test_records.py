"""Records keep what SA-1B and the reference write."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import pytest

from anymask.base import DataError, InputError
from anymask.masks import (
    Mask,
    ModelSpec,
    Prompt,
    geometry,
    mask_to_polygons,
    mask_to_rle,
    polygons_to_mask,
    rle_to_coco,
    stability_score,
)
from anymask.segment import Prediction
from tests.evaluation.small_sets import rectangle


def square() -> Mask:
    return Mask(
        mask_to_rle(rectangle((20, 30), (8, 5, 20, 10))), score=0.75, stability=0.5, label="tile"
    )


def test_a_record_of_a_mask_alone_works_the_rest_out() -> None:
    record = square()
    assert record.box == (8, 5, 19, 9)
    assert record.area == record.mask.sum() == 60
    assert record.crop_box == (0, 0, 30, 20)
    seen = ref(record.mask)
    assert seen() is None  # a long list of large masks would fill the memory


def test_the_outlines_of_a_record_lie_on_its_photo() -> None:
    mask = square().mask
    mask[6:8, 10:12] = False
    mask[15:19, 2:5] = True
    record = Mask(mask_to_rle(mask))
    exact = record.polygons(tolerance=0)
    np.testing.assert_array_equal(polygons_to_mask(exact, mask.shape), mask)
    for ours, theirs in zip(
        record.polygons(), mask_to_polygons(mask, 0.5, smooth=True), strict=True
    ):
        np.testing.assert_array_equal(ours.exterior, theirs.exterior)
        np.testing.assert_array_equal(
            np.concatenate([*ours.holes, []], axis=None),
            np.concatenate([*theirs.holes, []], axis=None),
        )
    assert [len(one.holes) for one in exact] == [1, 0]
    assert len(record.polygons(min_area=20)) == 1
    assert Mask(mask_to_rle(mask & False)).polygons() == []


def test_sa1b_names_and_boxes_are_the_reference_s() -> None:
    written = square().to_sa1b(7)
    assert written["id"] == 7
    assert written["bbox"] == [8, 5, 11, 4]
    assert written["crop_box"] == [0, 0, 30, 20]
    assert written["predicted_iou"] == 0.75
    assert written["label"] == "tile"
    assert "id" not in square().to_sa1b()
    assert json.loads(json.dumps(written)) == written


def test_a_segmentation_comes_in_all_three_of_the_reference_s_forms() -> None:
    mask = square().mask
    plain = square().to_sa1b(output_mode="uncompressed_rle")["segmentation"]
    assert plain == {"size": [20, 30], "counts": mask_to_rle(mask).counts.tolist()}
    np.testing.assert_array_equal(square().to_sa1b(output_mode="binary_mask")["segmentation"], mask)
    with pytest.raises(InputError, match="Unknown output_mode 'png'.*coco_rle"):
        square().to_sa1b(output_mode="png")


def test_reference_records_are_read_and_written_alike(shared: Path) -> None:
    cases = json.loads((shared / "golden" / "everything.json").read_text())["cases"]
    for case in cases.values():
        for record in case["records"]:
            if isinstance(record["segmentation"], dict):
                assert Mask.from_sa1b(record).to_sa1b() == record


def test_only_the_mask_must_be_there() -> None:
    rle = mask_to_rle(np.eye(4, dtype=np.bool_))
    record = Mask.from_sa1b({"segmentation": rle_to_coco(rle)})
    assert record == Mask(rle)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (square().to_sa1b() | {"segmentation": None}, "Invalid COCO run-length record"),
        (square().to_sa1b() | {"crop_box": [1, 2, 3]}, r"boxes are \[x, y, w, h\]"),
        (square().to_sa1b() | {"point_coords": [[1]]}, "Invalid value"),
        (square().to_sa1b() | {"point_coords": 5}, "Invalid value"),
        (square().to_sa1b() | {"stability_score": None}, "Invalid value"),
        *((record, '"segmentation" is missing') for record in ({}, None, [])),
    ],
)
def test_a_bad_record_says_what_is_wrong(record: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Mask.from_sa1b(record)


def test_candidates_become_records_with_their_clicks() -> None:
    place = geometry((60, 90), ModelSpec(name="tiny", image_side=64))
    logits = np.random.default_rng(0).standard_normal((3, 16, 16)).astype(np.float32) * 3
    quality = np.array([0.9, 0.5, -0.1], np.float32)
    answer = Prediction.of_logits(logits, quality, np.array([2, 0, 1]), place)
    records = replace(answer, prompt=Prompt.of(points=[(4, 5)]))
    for record, mask, number in zip(records, answer.masks, quality, strict=True):
        np.testing.assert_array_equal(record.mask, mask)
        assert record.score == pytest.approx(float(number))
        assert record.points == ((4.0, 5.0),)
    assert [record.stability for record in records] == stability_score(logits).tolist()
    assert answer[0].points == ()


def test_a_stability_that_nobody_worked_out_is_left_out() -> None:
    mask = np.eye(6, dtype=bool)
    silent = Mask(mask_to_rle(mask), score=0.5)
    assert silent.stability is None
    assert "stability_score" not in silent.to_sa1b()
    assert "stability_score" not in silent.to_coco()
    assert Mask.from_sa1b(silent.to_sa1b()) == silent
    shaky = replace(silent, stability=0.0)
    assert shaky.to_sa1b()["stability_score"] == 0.0
    assert Mask.from_sa1b(shaky.to_sa1b()) == shaky
