"""Matching and counting as pycocotools does it."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.cocoeval import COCOeval

from anymask.evaluation.coco import AREA_RANGES, match_image
from anymask.evaluation.everything import average_recall
from anymask.masks import Rle, mask_to_rle
from tests.evaluation.small_sets import coco_evaluation, rectangle

HW = (150, 160)


def boxes(rng: np.random.Generator, count: int) -> list[Rle]:
    """Rectangles of all sizes; many overlap, some are the same."""
    corners = rng.integers(0, 5, (count, 2)) * 12
    sides = rng.choice([8, 20, 31, 33, 60, 100], (count, 2))
    return [
        mask_to_rle(rectangle(HW, (x, y, x + w, y + h)))
        for (x, y), (w, h) in zip(corners, sides, strict=True)
    ]


def photo(seed: int) -> tuple[list[Rle], np.ndarray, list[Rle], list[Rle]]:
    """Masks, scores with ties, truths, crowds."""
    rng = np.random.default_rng(seed)
    truths, crowds = boxes(rng, int(rng.integers(0, 7))), boxes(rng, int(rng.integers(0, 2)))
    masks = [*boxes(rng, int(rng.integers(0, 12))), *truths[::2]]
    return masks, rng.integers(0, 5, len(masks)) / 5, truths, crowds


def by_pycocotools(images: list[Any], most: list[int]) -> COCOeval:
    """Its evaluation, one class for all."""
    truths, found = [], []
    for image, (masks, scores, drawn, crowds) in enumerate(images, start=1):
        truths += [
            (image, 1, rle, crowd) for rles, crowd in ((drawn, 0), (crowds, 1)) for rle in rles
        ]
        found += [(image, 1, rle, float(score)) for rle, score in zip(masks, scores, strict=True)]
    evaluation = coco_evaluation(HW, len(images), ["object"], truths, found)
    evaluation.params.maxDets = most
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=4))
@settings(max_examples=40)
def test_recall_is_that_of_pycocotools(seeds: list[int]) -> None:
    images = [photo(seed) for seed in seeds]
    if not any(len(one[0]) for one in images):
        return
    evaluation = by_pycocotools(images, [2, 5, 100])
    recall = evaluation.eval["recall"]
    matches = [
        match_image(HW, masks, scores, truths, *crowds, most=100)
        for masks, scores, truths, crowds in images
    ]
    for place, size in enumerate(AREA_RANGES):
        found = [one[size] for one in matches]
        for column, most in enumerate([2, 5, 100]):
            expected = recall[:, 0, place, column]
            if not sum(one.truths for one in found):
                assert (expected == -1).all()
                assert np.isnan(average_recall(found, most))
            else:
                assert average_recall(found, most) == pytest.approx(expected.mean(), abs=1e-12)
