"""Everything's masks get the edges of answers to clicks, and stay the same objects."""

import numpy as np
import pytest

import anymask
from anymask.data.images import load_image
from anymask.predictors.record_edges import refine_record_edges
from anymask.primitives.layout import with_rle
from anymask.primitives.records import MaskRecord, record_from_rle
from anymask.primitives.rle import mask_to_rle, rle_iou
from anymask.primitives.types import UintImage


@pytest.fixture(scope="module")
def photo() -> UintImage:
    return load_image(anymask.sample("coffee"))


@pytest.fixture(scope="module")
def found(photo: UintImage) -> list[MaskRecord]:
    return list(anymask.load().everything(photo, points_per_side=6))


def test_each_mask_is_the_same_object_with_another_edge(
    photo: UintImage, found: list[MaskRecord]
) -> None:
    refined = refine_record_edges(anymask.load().runtime, photo, found)
    overlap = np.diag(rle_iou([one.rle for one in refined], [one.rle for one in found]))
    assert (overlap > 0.7).all()
    assert (overlap < 1).any()
    assert [one.points for one in refined] == [one.points for one in found]
    assert [one.area for one in refined] == [int(one.mask.sum()) for one in refined]


def test_a_mask_s_edge_is_that_of_its_click(photo: UintImage, found: list[MaskRecord]) -> None:
    model = anymask.load()
    record = max(found, key=lambda one: one.quality)
    (refined,) = refine_record_edges(model.runtime, photo, [record])
    answer = model.segment(
        photo, points=record.points, multimask=True, refine_edges=True, max_hole_area="5%",
        min_island_area="5%",
    )  # fmt: skip
    assert refined.rle in answer.rles()


def test_masks_that_do_not_come_again_stay(photo: UintImage, found: list[MaskRecord]) -> None:
    corner = np.zeros(photo.shape[:2], np.bool_)
    corner[:50, :50] = True
    elsewhere = with_rle(found[0], mask_to_rle(corner))
    silent = record_from_rle(found[0].rle)
    runtime = anymask.load().runtime
    assert refine_record_edges(runtime, photo, [elsewhere, silent]) == [elsewhere, silent]
    assert refine_record_edges(runtime, photo, []) == []
