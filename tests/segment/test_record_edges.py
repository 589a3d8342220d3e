"""Everything's masks get the edges of answers to clicks, and stay the same objects."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import anymask
from anymask.base import UintImage
from anymask.images import load_image
from anymask.masks import Mask, mask_to_rle, rle_iou
from anymask.segment import EncodedImage, refine_record_edges
from tests.evaluation.small_sets import rectangle
from tests.segment.test_edges import only_edges


@pytest.fixture(scope="module")
def photo() -> UintImage:
    return load_image(anymask.sample("coffee"))


@pytest.fixture(scope="module")
def found(photo: UintImage) -> list[Mask]:
    return list(anymask.load().everything(photo, grid=6, refine_edges=False))


def test_each_mask_is_the_same_object_with_another_edge(
    photo: UintImage, found: list[Mask]
) -> None:
    refined = refine_record_edges(anymask.load().runtime, photo, found)
    overlap = np.diag(rle_iou([one.rle for one in refined], [one.rle for one in found]))
    assert (overlap > 0.7).all()
    assert (overlap < 1).any()
    assert [one.points for one in refined] == [one.points for one in found]
    assert [one.area for one in refined] == [int(one.mask.sum()) for one in refined]


def test_a_mask_s_edge_is_that_of_its_click(photo: UintImage, found: list[Mask]) -> None:
    model = anymask.load()
    record = max(found, key=lambda one: one.score)
    (refined,) = refine_record_edges(model.runtime, photo, [record])
    answer = model.segment(
        photo, points=record.points, multimask=True, ranking="own", refine_edges=True,
        max_hole_area="5%", min_island_area="5%",
    )  # fmt: skip
    assert refined.rle in answer.rles()


def test_masks_that_do_not_come_again_stay(photo: UintImage, found: list[Mask]) -> None:
    corner = rectangle(photo.shape[:2], (0, 0, 50, 50))
    elsewhere = replace(found[0], rle=mask_to_rle(corner))
    silent = Mask(found[0].rle)
    runtime = anymask.load().runtime
    assert refine_record_edges(runtime, photo, [elsewhere, silent]) == [elsewhere, silent]
    assert refine_record_edges(runtime, photo, []) == []


def test_everything_refines_what_it_shows(photo: UintImage, found: list[Mask]) -> None:
    """By itself in adaptive mode, with the photo or with what was seen of it."""
    model = anymask.load()
    expected = refine_record_edges(model.runtime, photo, found)
    assert expected != found
    assert list(model.everything(photo, grid=6)) == expected
    encoded = EncodedImage(model.encode(photo), photo)
    assert list(model.everything(encoded, grid=6)) == expected


def test_where_it_would_be_wrong_or_dear_everything_has_the_models_own_edges(
    photo: UintImage, found: list[Mask]
) -> None:
    """An embedding has no pixels; tiles were seen closer; exact mode is the paper's."""
    model = anymask.load()
    assert list(model.everything(model.encode(photo), grid=6)) == found
    for asked in ({"mode": "exact"}, {"tile": 256, "grid": 3}):
        given: dict[str, Any] = {"grid": 6, **asked}
        own = list(model.everything(photo, **given, refine_edges=False))
        assert own
        assert list(model.everything(photo, **given)) == own
    exact = model.everything(photo, grid=6, mode="exact", refine_edges=True)
    assert any(one.rle not in [record.rle for record in found] for one in exact)


def test_without_a_network_edges_stay_as_they_are(photo: UintImage, found: list[Mask]) -> None:
    model = anymask.Model(only_edges(anymask.load().runtime, None))
    assert list(model.everything(photo, grid=6, refine_edges=True)) == found
