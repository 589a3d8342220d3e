"""Automatic masks of pictures whose objects are known, and the settings one by one."""

from typing import Any

import pytest

from anymask.base import InputError, PromptError
from anymask.masks import EncoderOutput, ModelPrompts, rle_area, rle_to_coco
from anymask.segment import Grid, Model, grid_of
from anymask.segment.settings import MAX_AT_ONCE
from tests.segment.fakes import ColorRuntime, Modest, discs, iou, with_spec

EASY = {"mode": "exact", "score": 0.3, "stability": 0.3, "grid": 10}

IMAGE, MASKS = discs((90, 120), [(30, 45, 20), (90, 45, 22)])


def test_every_object_is_found_once() -> None:
    records = Model(ColorRuntime()).everything(IMAGE, **EASY)
    for truth in MASKS:
        assert sum(iou(record.mask, truth) > 0.7 for record in records) == 1


def test_the_best_quality_comes_first() -> None:
    records = Model(ColorRuntime()).everything(IMAGE, **EASY)
    quality = [record.score for record in records]
    assert quality == sorted(quality, reverse=True)
    assert all(record.area == rle_area(record.rle) for record in records)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_the_batch_size_changes_nothing(batch: int) -> None:
    model = Model(ColorRuntime())
    truth = [record.to_sa1b() for record in model.everything(IMAGE, **EASY)]
    found = model.everything(IMAGE, **EASY, points_per_batch=batch)
    assert [record.to_sa1b() for record in found] == truth


def test_the_batch_follows_the_memory_that_is_allowed() -> None:
    assert Grid().batch(10_000_000) == 50
    assert Grid(memory_limit=35).batch(10_000_000) == 3
    assert Grid(memory_limit=1).batch(10_000_000) == 1
    assert Grid().batch(1) == MAX_AT_ONCE
    assert Grid(points_per_batch=7, memory_limit=1).batch(10_000_000) == 7
    runtime = ColorRuntime()
    Model(runtime).everything(IMAGE, **EASY, memory_limit=3)
    assert 1 < max(count for count, _ in runtime.calls) < 64


def test_no_overlap_at_all_may_be_asked_for() -> None:
    records = Model(ColorRuntime()).everything(IMAGE, **EASY, box_nms_thresh=0)
    assert len(records) == 1


@pytest.mark.parametrize("threshold", ["score", "stability"])
def test_a_threshold_of_zero_keeps_everything(threshold: str) -> None:
    grid = EASY | {"box_nms_thresh": 1.0}
    some = Model(ColorRuntime()).everything(IMAGE, **(grid | {threshold: 0.9}))
    every = Model(ColorRuntime()).everything(IMAGE, **(grid | {threshold: 0}))
    assert len(every) > len(some)


@pytest.mark.parametrize("tile", [None, 64])
def test_thresholds_of_zero_keep_no_empty_mask(tile: int | None) -> None:
    """Token 1 is empty for half of the clicks: it has no pixel, so it is no mask."""

    class Faint(ColorRuntime):
        def decode(self, features: EncoderOutput, prompts: ModelPrompts) -> tuple[Any, Any]:
            logits, quality = super().decode(features, prompts)
            logits[::2, 1] = -6
            return logits, quality

    settings = EASY | {"score": 0, "stability": 0, "box_nms_thresh": 1.0, "crop_nms_thresh": 1.0}
    found = Model(Faint()).everything(IMAGE, tile=tile, **settings)
    assert len(found) > 2
    assert all(one.area for one in found)


def test_small_regions_are_removed_on_request() -> None:
    image = IMAGE.copy()
    image[43:47, 20:24] = 255
    model = Model(ColorRuntime())
    holed = model.everything(image, **EASY)
    filled = model.everything(image, **EASY, min_mask_region_area=60)

    def holes(records: list) -> int:
        near = [r for r in records if iou(r.mask, MASKS[0]) > 0.6]
        return sum(not r.mask[44, 21] for r in near)

    assert holes(holed) == 1
    assert holes(filled) == 0


def test_one_pixel_has_at_most_itself() -> None:
    records = Model(ColorRuntime()).everything(IMAGE[:1, :1], **EASY)
    assert [rle_to_coco(record.rle)["size"] for record in records] == [[1, 1]] * len(records)


CROPPED = EASY | {"crop_n_layers": 1, "grid": 6}


def test_crops_find_what_the_whole_photo_hides() -> None:
    image, masks = discs((200, 300), [(57, 40, 5), (200, 120, 40)])
    model = Model(ColorRuntime())
    whole = model.everything(image, **EASY | {"grid": 8})
    cropped = model.everything(image, **CROPPED | {"grid": 8})

    def best(records: list) -> float:
        return max(iou(record.mask, masks[0]) for record in records)

    assert best(cropped) > best(whole)


def test_the_grid_thins_out_in_the_crops() -> None:
    told: list[tuple[int, int]] = []
    grid = CROPPED | {"crop_n_points_downscale_factor": 2, "crop_n_layers": 2}
    Model(ColorRuntime()).everything(
        IMAGE, **grid, progress=lambda done, all_: told.append((done, all_))
    )
    clicks = 36 + 4 * 9 + 16 * 1
    assert told[-1] == (clicks, clicks)


def test_nothing_found_is_an_empty_list() -> None:
    assert Model(ColorRuntime()).everything(IMAGE, score=1) == []
    assert Model(ColorRuntime()).everything(IMAGE, score=1, crop_n_layers=1) == []


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        ({"grid": 0}, "grid must be .* at least 1 and at most 1024, got 0"),
        ({"grid": 1.5}, "grid must be a whole number .* got 1.5"),
        ({"grid": 10**9}, "grid must be .* at most 1024, got 1000"),
        ({"mode": "fast"}, 'mode must be "adaptive", "exact" or "instances", got \'fast\''),
        (
            {"decoder_precision": "fp8"},
            'decoder_precision must be "auto", "model" or "mixed", got \'fp8\'',
        ),
        ({"memory_limit": 0}, "memory_limit must be a number of megabytes above 0, got 0"),
        ({"points_per_batch": -1}, "points_per_batch must be a whole number .* got -1"),
        ({"crop_n_layers": -1}, "crop_n_layers must be a whole number .* at most 6, got -1"),
        ({"crop_overlap_ratio": 1}, "crop_overlap_ratio must be a number, .* less than 1, got 1"),
        ({"min_mask_region_area": float("inf")}, "must be a whole number of at least 0"),
        ({"score": -0.1}, "score must be a number, 0 or more and .* got -0.1.$"),
        ({"score": 7}, "less than 2, got 7; for 7 % write 0.07"),
        ({"box_nms_thresh": 1.5}, "box_nms_thresh must be a number from 0 to 1, got 1.5.$"),
        ({"crop_nms_thresh": 7}, "from 0 to 1, got 7; for 7 % write 0.07"),
        ({"stability": 95}, "from 0 to 1, got 95; for 95 % write 0.95"),
        ({"box_nms_thresh": "x"}, "box_nms_thresh must be a number from 0 to 1, got 'x'"),
        ({"stability": float("nan")}, "stability must be a number"),
    ],
)
def test_settings_that_make_no_sense_are_refused(grid: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Model(ColorRuntime()).everything(IMAGE, **grid)


def test_a_model_without_clicks_is_refused() -> None:
    runtime = with_spec(ColorRuntime(), accepts=frozenset({"box"}))
    with pytest.raises(PromptError, match="requires point prompts, which fake does not support"):
        Model(runtime).everything(IMAGE)


def test_six_fixed_points_are_filled_up() -> None:
    runtime = with_spec(ColorRuntime(), fixed_points=6, pad_point=False)
    Model(runtime).everything(IMAGE, **EASY)
    assert {shape[1] for shape in runtime.calls} == {6}


# Where nothing passes.


def test_where_nothing_reaches_the_models_own_thresholds_the_best_are_shown() -> None:
    model = Model(Modest())
    found = model.everything(IMAGE, grid=8)
    assert found
    best = max(record.score for record in found)
    assert best < grid_of(model.runtime.family, {}).score
    assert all(record.score >= 0.8 * best for record in found)
    assert not model.everything(IMAGE, grid=8, score=0.88)
    assert not model.everything(IMAGE, grid=8, mode="exact")
