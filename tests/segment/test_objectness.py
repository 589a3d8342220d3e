"""Objectness: facts and chances by hand, and what is shown of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import anymask
from anymask.masks import Geometry, Mask, ModelSpec, mask_to_rle, rle_intersection, rle_iou
from anymask.models.rules import Family, open_family, shipped_tables
from anymask.segment import Grid, MaskFilter, default_min_objectness, grid_of, split_by_score
from anymask.segment.everything import search
from anymask.segment.everything.filter import (
    SHAPE_FEATURES,
    Objectness,
    ObjectnessWeights,
    best_of,
    filter_masks,
    without_unlikely,
)
from anymask.segment.everything.search import find_everything
from anymask.segment.settings import ADAPTIVE_NMS, CONTAINED, mask_filter_of
from tests.evaluation.small_sets import rectangle
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


def view() -> np.ndarray:
    """Two channels of 16 x 16: the column, and 1 in the upper half; 12 rows are photo."""
    seen = np.zeros((2, SIDE // 2, SIDE // 2), np.float32)
    seen[0] = np.arange(SIDE // 2)
    seen[1, :6] = 1
    seen[:, ROWS // 2 :] = 99  # beside the photo
    return seen


QUALITY = np.array([[0.7, 0.2], [0.1, 0.6], [0.1, 0.05]], np.float32)
CHOSEN = np.array([[True, False], [False, True], [True, False]])
LOOK = len(SHAPE_FEATURES) + 4  # the first fact of what the encoder saw


def mask_features() -> np.ndarray:
    return Objectness(PLACE, 0.0, view(), None).mask_features(planes(), QUALITY, CHOSEN)


def test_the_shape_of_a_square_on_the_border() -> None:
    found = dict(zip(SHAPE_FEATURES, mask_features()[0], strict=False))
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


def test_the_candidates_of_the_click() -> None:
    assert mask_features().shape == (3, LOOK + 3 * 2)
    np.testing.assert_allclose(mask_features()[:, 0], [0.7, 0.6, 0.1], rtol=1e-6)
    np.testing.assert_array_equal(mask_features()[:, 10:12], CHOSEN)
    np.testing.assert_array_equal(mask_features()[:, 12:14], QUALITY.astype(np.float64))


def test_what_the_encoder_saw_in_a_mask_around_it_and_in_the_photo() -> None:
    blob = mask_features()[1, LOOK:]  # rows 8..13, columns 10..21: cells 4..6 and 5..10 of the map
    inside = [7.5, 2 / 3]  # two of the three rows of cells lie in the upper half
    around = [7.5, (4 * 10 - 2 * 6) / (7 * 10 - 3 * 6)]  # rows 2..8, columns 3..12, less the blob
    np.testing.assert_allclose(blob, [*inside, *around, 7.5, 0.5], rtol=1e-3)


def test_an_empty_mask_has_finite_facts() -> None:
    assert np.isfinite(mask_features()[2]).all()


def test_chances_worked_out_by_hand() -> None:
    small = {"into": [[2.0]], "bias": [0.0], "out": [1.0], "level": 0.0}
    wide = {"into": [[0.5, 1], [-2, 0]], "bias": [0.1, 0.2], "out": [3, -1], "level": 0.25}
    table = {"networks": [wide, small], "least": 0.4}
    weights = ObjectnessWeights.of(table)
    assert (weights.mask_features, weights.least) == (2, 0.4)
    first = 3 * np.tanh(0.1 - 1.4 + 0.1) - np.tanh(0.2 + 0.2) + 0.25
    (chance,) = weights.probabilities(np.array([[0.2, 0.7]]))
    assert chance == pytest.approx(1 / (1 + np.exp(-(first + np.tanh(0.4)) / 2)))


def test_each_mask_is_judged_by_its_own_facts() -> None:
    table = {"networks": [{"into": [[1.0]], "bias": [0], "out": [1], "level": 0}], "least": 0}
    judge = Objectness(PLACE, 0.0, view(), ObjectnessWeights.of(table))
    expected = 1 / (1 + np.exp(-np.tanh([0.7, 0.6, 0.1])))
    np.testing.assert_allclose(judge.of_masks(planes(), QUALITY, CHOSEN), expected, rtol=1e-6)


TABLE = {
    "weights": "abc", "least": 0.2, "quality": 0.35, "stability": 0.1,
    "networks": [{"into": [[1.0]], "bias": [0], "out": [1], "level": 0}],
}  # fmt: skip


def test_a_model_that_judges_masks_searches_with_lower_thresholds_in_adaptive_mode() -> None:
    spec = ModelSpec(name="x", family="nano")
    tables = {**shipped_tables("nano"), "objectness": TABLE}
    judging, plain = (open_family(spec, tables, sha) for sha in ("abc", "def"))

    def least(family: Family, **given: str) -> tuple[float, float]:
        grid = grid_of(family, cast(Any, given))
        return grid.score, grid.stability

    assert least(judging) == (0.35, 0.1)
    assert least(judging, mode="exact") == least(plain) == (0.5, 0.3)
    assert least(judging, score=0.7) == (0.7, 0.1)


def test_the_shipped_model_judges_its_masks_and_shows_the_likely_ones() -> None:
    model = anymask.load("nano")
    image = anymask.sample("coffee")
    every = model.everything(image, min_objectness=0, grid=12, refine_edges=False)
    found = [record.objectness for record in every]
    assert all(one is not None and 0 < one < 1 for one in found)
    least = default_min_objectness(model.runtime.family)
    assert 0.05 < least < 0.5
    shown = model.everything(image, grid=12, refine_edges=False)
    assert 0 < len(shown) < len(every)
    assert all((one.objectness or 0) >= least for one in shown)


def test_masks_that_cannot_be_shown_are_not_cut_out() -> None:
    judge = Objectness(PLACE, 0.0, view(), None, least=0.5)
    assert judge.above_threshold(np.array([0.2, 0.15, 0.25])) == [0, 2]  # nearly the best so far
    assert judge.above_threshold(np.array([0.1, 0.4, 0.33])) == [1, 2]
    assert judge.above_threshold(np.array([0.9, 0.49, 0.5])) == [0, 2]
    assert judge.above_threshold(np.array([0.49, 0.51])) == [1]
    every = Objectness(PLACE, 0.0, view(), None)
    assert every.above_threshold(np.array([0.9, 0.0])) == [0, 1]


@pytest.mark.parametrize("least", [0.15, 0.999])
def test_what_is_left_out_early_changes_nothing(
    least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "default_min_objectness", lambda _: least)
    model, image = anymask.load("nano"), anymask.sample("coffee")
    settings: dict[str, Any] = {"grid": 12, "refine_edges": False}
    runtime, features = model.runtime, model.encode(image)
    every = find_everything(runtime, features, grid_of(runtime.family, {"grid": 12}))
    expected = mask_filter_of(Grid(), {}, least)
    shown = filter_masks(every, expected, relative=True)
    shown = shown or filter_masks(best_of(every), mask_filter_of(Grid(), {}))
    found = model.everything(image, **settings)
    assert 0 < len(found) < len(every)
    assert [one.to_sa1b() for one in found] == [one.to_sa1b() for one in shown]


def record(x: int, quality: float, objectness: float | None) -> Mask:
    return replace(
        Mask(mask_to_rle(rectangle((20, 40), (x, 5, x + 10, 15))), score=quality),
        objectness=objectness,
    )


LIKELY, COPY, BAD, UNJUDGED = (
    record(0, 0.6, 0.9), record(1, 0.8, 0.5), record(15, 0.9, 0.1), record(28, 0.7, None),
)  # fmt: skip


def test_what_is_hardly_an_object_goes_and_what_nobody_judged_stays() -> None:
    settings = MaskFilter(min_objectness=0.3, nms_iou=0.5)
    assert filter_masks([COPY, LIKELY, BAD, UNJUDGED], settings) == [LIKELY, UNJUDGED]
    every = filter_masks([COPY, LIKELY, BAD, UNJUDGED], MaskFilter(nms_iou=0.5))
    assert every == [LIKELY, BAD, UNJUDGED]


def inside(objectness: float | None) -> Mask:
    """A mask within LIKELY's."""
    return replace(
        Mask(mask_to_rle(rectangle((20, 40), (1, 6, 6, 12))), score=0.5), objectness=objectness
    )


@pytest.mark.parametrize(("objectness", "stays"), [(0.091, True), (0.089, False), (None, False)])
def test_a_contained_mask_stays_from_a_tenth_of_the_others_objectness(
    objectness: float | None, stays: bool
) -> None:
    contained = inside(objectness)
    expected = [LIKELY, contained] if stays else [LIKELY]
    assert filter_masks([LIKELY, contained], MaskFilter(max_containment=0.9)) == expected


def strip(place: int, objectness: float | None, share: float = 0.0) -> Mask:
    """A mask of 100 pixels, of which the given share lies in the strip of the next place."""
    mask = np.zeros((100, 30), np.bool_)
    first = 10 * place + round(10 * share)
    mask[first : first + 10, :10] = True
    return replace(Mask(mask_to_rle(mask), score=0.5), objectness=objectness)


def test_masks_are_shown_by_the_objectness_of_the_ten_best() -> None:
    far = [strip(n, 0.5) for n in range(8)] + [strip(8, 0.7), strip(9, 0.5)]
    least = 0.5 * 0.52**3  # the mean of the ten is 0.52
    beside = rectangle((100, 30), (20, 0, 30, 10))
    one = Mask(mask_to_rle(beside), score=0.5)
    above, below = (replace(one, objectness=least + step) for step in (1e-6, -1e-6))
    assert without_unlikely([*far, above]) == [*far, above]
    assert without_unlikely([*far, below]) == far
    unjudged = strip(0, None)
    assert without_unlikely([unjudged]) == [unjudged]
    assert without_unlikely([]) == []
    weak = strip(0, 0.05)
    assert without_unlikely([weak]) == [weak]  # 0.5 * 0.05 ** 3 is less


@pytest.mark.parametrize("step", [1e-4, -1e-4])
def test_a_mask_that_overlaps_a_better_one_needs_more_objectness(step: float) -> None:
    """Half of each strip lies in the other: their IoU is a third."""
    least = 0.5
    needed = least / np.exp(-((1 / 3) ** 2) / 0.4)  # 0.660
    better, worse, beside = strip(1, 0.9), strip(0, needed + step, 0.5), strip(5, 0.51)
    expected = [worse, better, beside] if step > 0 else [better, beside]
    assert without_unlikely([worse, better, beside], least) == expected
    assert filter_masks(
        [worse, better, beside], MaskFilter(min_objectness=least), relative=True
    ) == expected  # fmt: skip


def test_a_removed_mask_does_not_count_against_others() -> None:
    """The middle strip overlaps both others and goes, so the third one only meets the first."""
    first, middle, third = strip(0, 0.9), strip(0, 0.55, 0.5), strip(1, 0.51)
    assert without_unlikely([first, middle, third], 0.5) == [first, third]
    assert without_unlikely([middle, third], 0.5) == [middle]


def test_where_nothing_is_likely_the_likeliest_are_shown() -> None:
    assert best_of([replace(BAD, objectness=0.2), replace(LIKELY, objectness=0.05)]) == [
        replace(BAD, objectness=0.2)
    ]


def test_masks_are_parted_by_two_least_numbers_and_something_is_shown() -> None:
    every = [COPY, LIKELY, BAD, UNJUDGED]
    assert split_by_score(every, 0.65, 0.3) == ([COPY, UNJUDGED], [LIKELY, BAD])
    assert split_by_score([BAD], 0.65, 0.3) == ([BAD], [])


@pytest.mark.parametrize(("mode", "least"), [("adaptive", 0.35), ("exact", 0.0)])
def test_the_models_own_threshold_holds_in_adaptive_mode(mode: Any, least: float) -> None:
    assert mask_filter_of(Grid(mode=mode), {}, 0.35).min_objectness == least
    assert mask_filter_of(Grid(mode=mode), {"min_objectness": 0.7}, 0.35).min_objectness == 0.7


def test_records_keep_their_objectness_in_sa1b_files() -> None:
    for one in (LIKELY, UNJUDGED):
        assert Mask.from_sa1b(one.to_sa1b()).objectness == one.objectness
    assert "objectness" not in UNJUDGED.to_sa1b()


@pytest.fixture(scope="module")
def recipe() -> Iterator[Any]:
    path = Path(__file__).resolve().parents[2] / "research" / "fit_objectness.py"
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
            record = Mask(mask_to_rle(mask), score=1.0)
            records.append(replace(record, objectness=float(rng.random())))
    rles, areas = [one.rle for one in records], np.array([one.area for one in records], float)
    smaller = np.maximum(np.minimum(areas, areas[:, None]), 1)
    image = recipe.JudgedImage(
        "discs", *[np.zeros((24, 1))] * 2, *[np.zeros(24)] * 2, rle_iou(rles, rles),
        rle_intersection(rles, rles) / smaller, areas / 4800, 1,
    )  # fmt: skip
    ranks = np.array([one.rank for one in records])
    for least in (0.0, 0.3):
        expected = filter_masks(
            records,
            MaskFilter(min_objectness=least, nms_iou=ADAPTIVE_NMS, max_containment=CONTAINED),
        )
        shown = recipe.shown(image, ranks, least)
        assert [id(records[n]) for n in sorted(shown)] == [id(one) for one in expected]
        assert recipe.counted(image, ranks, least) == (0, len(expected))


def test_each_record_has_the_chance_of_its_own_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    model = anymask.load("nano")
    table = {**TABLE, "weights": model.runtime.weights_hash}  # tanh of the quality
    tables = {**shipped_tables("nano"), "objectness": table}
    family = open_family(model.spec, tables, model.runtime.weights_hash)
    monkeypatch.setattr(model.runtime, "family", family)
    found = model.everything(anymask.sample("coffee"), grid=8, refine_edges=False)
    assert len({one.score for one in found}) > 3
    for one in found:
        expected = 1 / (1 + np.exp(-np.tanh(one.score)))
        assert one.objectness == pytest.approx(expected, rel=1e-5)
