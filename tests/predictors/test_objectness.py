"""Objectness: facts and chances by hand, and what is shown of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anymask.predictors.arrangement import (
    ADAPTIVE_NMS,
    CONTAINED,
    Arrangement,
    arrange,
    arrangement_of,
    best_of,
    parted,
)
from anymask.predictors.grid import Grid
from anymask.predictors.objectness import SHAPE, Objectness, ObjectnessWeights
from anymask.primitives.records import MaskRecord, record_from_rle
from anymask.primitives.rle import mask_to_rle, rle_intersection, rle_iou
from anymask.primitives.spec import Geometry
from tests.scripts import loaded_script

SIDE, ROWS, COLUMNS = 32, 24, 32
PLACE = Geometry((96, 128), (48, 64), 64)  # a cell is two pixels of the model's square


def planes() -> np.ndarray:
    """A square on the left border with a crumb, a blob in the middle, nothing."""
    logits = np.full((3, SIDE, SIDE), -4.0, np.float32)
    logits[0, 4:12, :8] = 4
    logits[0, 4, 1:7] = 0.5  # a doubt
    logits[0, 20, 20] = 4
    logits[1, 8:14, 10:22] = 2
    logits[:, ROWS:] = 9  # beside the photo
    return logits


def facts() -> np.ndarray:
    return Objectness(PLACE, 0.0, None).facts(planes(), np.array([0.7, 0.6, 0.1], np.float32))


def test_the_shape_of_a_square_on_the_border() -> None:
    found = dict(zip(SHAPE, facts()[0], strict=False))
    assert found["quality"] == pytest.approx(0.7)
    assert found["stability"] == pytest.approx((65 - 6) / 65)
    assert found["size"] == pytest.approx(np.log(65 / (ROWS * COLUMNS)))
    outline = 4 * 7 + 1  # of the square of 8 and of the crumb
    assert found["border"] == pytest.approx(8 / outline)
    assert found["sides"] == 1
    assert found["fill"] == pytest.approx(65 / (17 * 21))
    assert found["rough"] == pytest.approx(np.log(outline**2 / 65))
    assert found["whole"] == pytest.approx(64 / 65)
    assert found["thick"] == pytest.approx(4 / np.sqrt(65), rel=0.05)


def test_chances_worked_out_by_hand() -> None:
    table = {"direct": [0.5, -2], "level": 0.25, "least": 0.4}
    (chance,) = ObjectnessWeights.of(table).chances(np.array([[0.2, 0.7]]))
    assert chance == pytest.approx(1 / (1 + np.exp(-(0.1 - 1.4 + 0.25))))


def test_objectness_is_the_chance_times_the_quality() -> None:
    quality = np.array([0.7, 1.2, -0.1], np.float32)
    flat = ObjectnessWeights(np.zeros(len(SHAPE)), np.log(3), 0.0)  # a chance of .75, whatever
    judge = Objectness(PLACE, 0.0, flat)
    np.testing.assert_allclose(judge.of_masks(planes(), quality), [0.525, 0.75, 0], atol=1e-6)


def record(x: int, quality: float, objectness: float | None) -> MaskRecord:
    mask = np.zeros((20, 40), np.bool_)
    mask[5:15, x : x + 10] = True
    return replace(record_from_rle(mask_to_rle(mask), quality=quality), objectness=objectness)


LIKELY, COPY, BAD, UNJUDGED = (
    record(0, 0.6, 0.9), record(1, 0.8, 0.5), record(15, 0.9, 0.1), record(28, 0.7, None),
)  # fmt: skip


def test_what_is_hardly_an_object_goes_and_what_nobody_judged_stays() -> None:
    settings = Arrangement(min_objectness=0.3, mask_nms_thresh=0.5)
    assert arrange([COPY, LIKELY, BAD, UNJUDGED], settings) == [LIKELY, UNJUDGED]
    every = arrange([COPY, LIKELY, BAD, UNJUDGED], Arrangement(mask_nms_thresh=0.5))
    assert every == [LIKELY, BAD, UNJUDGED]


def test_where_nothing_is_likely_the_likeliest_are_shown() -> None:
    assert best_of([replace(BAD, objectness=0.2), replace(LIKELY, objectness=0.05)]) == [
        replace(BAD, objectness=0.2)
    ]


def test_masks_are_parted_by_two_least_numbers_and_something_is_shown() -> None:
    every = [COPY, LIKELY, BAD, UNJUDGED]
    assert parted(every, 0.65, 0.3) == ([COPY, UNJUDGED], [LIKELY, BAD])
    assert parted([BAD], 0.65, 0.3) == ([BAD], [])


@pytest.mark.parametrize(("mode", "least"), [("adaptive", 0.35), ("exact", 0.0)])
def test_the_models_own_threshold_holds_in_adaptive_mode(mode: Any, least: float) -> None:
    assert arrangement_of(Grid(mode=mode), {}, 0.35).min_objectness == least
    assert arrangement_of(Grid(mode=mode), {"min_objectness": 0.7}, 0.35).min_objectness == 0.7


def test_records_keep_their_objectness_in_sa1b_files() -> None:
    for one in (LIKELY, UNJUDGED):
        assert MaskRecord.from_sa1b(one.to_sa1b()).objectness == one.objectness
    assert "objectness" not in UNJUDGED.to_sa1b()


@pytest.fixture(scope="module")
def recipe() -> Iterator[Any]:
    path = Path(__file__).resolve().parents[2] / "recipes" / "fit_objectness.py"
    with loaded_script(path) as module:
        yield module


@pytest.mark.parametrize("seed", range(6))
def test_the_recipe_counts_the_masks_that_are_shown(recipe: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:60, :80]
    records = []
    for cx, cy, r in rng.uniform((0, 0, 4), (80, 60, 40), (8, 3)):
        whole = np.hypot(x - cx, y - cy) < r
        for mask in (whole, whole & (x < cx + r / 3), np.hypot(x - cx, y - cy) < r / 2):
            record = record_from_rle(mask_to_rle(mask), quality=1.0)
            records.append(replace(record, objectness=float(rng.random())))
    rles, areas = [one.rle for one in records], np.array([one.area for one in records], float)
    smaller = np.maximum(np.minimum(areas, areas[:, None]), 1)
    photo = recipe.JudgedPhoto(
        "discs", *[np.zeros((24, 1))] * 2, *[np.zeros(24)] * 2, rle_iou(rles, rles),
        rle_intersection(rles, rles) / smaller, areas / 4800, 1,
    )  # fmt: skip
    ranks = np.array([one.rank for one in records])
    for least in (0.0, 0.3):
        wanted = arrange(
            records,
            Arrangement(
                min_objectness=least, mask_nms_thresh=ADAPTIVE_NMS, contained_nms_thresh=CONTAINED
            ),
        )
        shown = recipe.shown(photo, ranks, least)
        assert [id(records[n]) for n in sorted(shown)] == [id(one) for one in wanted]
        assert recipe.counted(photo, ranks, least) == (0, len(wanted))
