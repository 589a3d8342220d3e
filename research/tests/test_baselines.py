"""Baselines answer as what they are."""

import cv2
import numpy as np
import pytest

from anymask.evaluation.protocols import BOX
from anymask.primitives.masks import iou
from anymask.primitives.prompts import Prompt
from research.paper import baselines as module
from research.paper.baselines import (
    FromFunction,
    filled_box,
    flood_clicks,
    grabcut_box,
    grabcut_clicks,
    list_baselines,
)
from tests.evaluation.small_sets import rectangle

HW = (60, 80)
OBJECT = rectangle(HW, (20, 15, 50, 45))


@pytest.fixture
def image() -> np.ndarray:
    """A noisy orange object on a noisy blue ground."""
    rng = np.random.default_rng(0)
    picture = np.where(OBJECT[..., None], (230, 120, 20), (30, 60, 160))
    return np.clip(picture + rng.normal(0, 6, (*HW, 3)), 0, 255).astype(np.uint8)


def test_the_filled_box_is_the_box_cut_at_the_border(image: np.ndarray) -> None:
    mask = filled_box(image, Prompt.of(box=(20, 15, 50, 45)))
    assert np.array_equal(mask, OBJECT)
    assert filled_box(image, Prompt.of(box=(-5, -5, 200, 200))).all()


@pytest.mark.parametrize("box", [(15, 10, 55, 50), (0, 0, 80, 60)])
def test_grabcut_finds_a_coloured_object_in_its_box(image: np.ndarray, box: tuple) -> None:
    assert iou(grabcut_box(image, Prompt.of(box=box)), OBJECT) > 0.95


def test_grabcut_from_a_click_finds_the_object(image: np.ndarray) -> None:
    assert iou(grabcut_clicks(image, Prompt.of(points=[(35, 30)])), OBJECT) > 0.9


def test_grabcut_of_one_pixel_answers_with_its_box() -> None:
    tiny = np.zeros((3, 3, 3), np.uint8)
    mask = grabcut_box(tiny, Prompt.of(box=(1, 1, 2, 2)))
    assert mask.shape == (3, 3)


def test_grabcut_gives_the_same_answer_every_time(image: np.ndarray) -> None:
    prompt = Prompt.of(box=(10, 10, 60, 55))
    first = grabcut_box(image, prompt)
    cv2.setRNGSeed(99)
    assert np.array_equal(first, grabcut_box(image, prompt))


def test_a_flood_stops_where_the_colour_changes(image: np.ndarray) -> None:
    flat = np.where(OBJECT[..., None], (230, 120, 20), (30, 60, 160)).astype(np.uint8)
    assert np.array_equal(flood_clicks(flat, Prompt.of(points=[(35, 30)])), OBJECT)


def test_a_negative_click_takes_its_flood_away() -> None:
    flat = np.where(OBJECT[..., None], (230, 120, 20), (30, 60, 160)).astype(np.uint8)
    both = Prompt.of(points=[(5, 5), (35, 30), (2, 2)], labels=[0, 1, 1])
    assert np.array_equal(flood_clicks(flat, both), OBJECT)


def test_floods_leave_the_photo_alone(image: np.ndarray) -> None:
    before = image.copy()
    flood_clicks(image, Prompt.of(points=[(35, 30)]))
    grabcut_box(image, Prompt.of(box=(15, 10, 55, 50)))
    assert np.array_equal(image, before)


def test_every_baseline_answers_each_prompt_with_one_mask_of_the_photos_size(
    image: np.ndarray,
) -> None:
    for method in (method for method in list_baselines().methods if method.spec.accepts):
        prompt = (
            Prompt.of(box=(10, 10, 60, 55))
            if "box" in method.spec.accepts
            else Prompt.of(points=[(35, 30)])
        )
        seen = method.embed(image)
        answers = method.segment(seen, prompts=[prompt, prompt], multimask=True)
        assert [answer.masks.shape for answer in answers] == [(1, *HW)] * 2
        assert answers[0].masks.dtype == np.bool_
        assert answers[0].logits is None


def test_without_scikit_image_superpixels_are_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    found = list_baselines()
    names = ("superpixel", "slic growth", "felzenszwalb", "slic")
    assert not {*names} & {method.spec.name for method in found.methods}
    reason = "scikit-image is not installed (pip install scikit-image)"
    assert found.skipped == tuple((name, reason) for name in names)


def test_the_superpixel_under_the_click_is_the_flat_object() -> None:
    flat = np.where(OBJECT[..., None], (230, 120, 20), (30, 60, 160)).astype(np.uint8)
    method = next(method for method in list_baselines().methods if method.spec.name == "superpixel")
    (answer,) = method.segment(
        method.embed(flat), prompts=[Prompt.of(points=[(35, 30)])], multimask=False
    )
    assert iou(answer.masks[0], OBJECT) > 0.7  # it blurs before it looks


def slic(image: np.ndarray, prompt: Prompt) -> np.ndarray:
    method = next(
        method for method in list_baselines().methods if method.spec.name == "slic growth"
    )
    (answer,) = method.segment(method.embed(image), prompts=[prompt], multimask=False)
    return answer.masks[0]


def test_slic_grows_over_the_object_and_stops_at_its_colour(image: np.ndarray) -> None:
    assert iou(slic(image, Prompt.of(points=[(35, 30)])), OBJECT) > 0.9


def test_a_negative_click_takes_what_grows_from_it() -> None:
    flat = np.where(OBJECT[..., None], (230, 120, 20), (30, 60, 160)).astype(np.uint8)
    both = Prompt.of(points=[(5, 5), (35, 30), (2, 2)], labels=[0, 1, 1])
    assert iou(slic(flat, both), OBJECT) > 0.9


def test_growth_stays_in_one_piece() -> None:
    """Two orange objects, one clicked."""
    picture = np.full((60, 80, 3), (30, 60, 160), np.uint8)
    picture[10:50, 5:30] = picture[10:50, 50:75] = (230, 120, 20)
    mask = slic(picture, Prompt.of(points=[(15, 30)]))
    assert iou(mask, rectangle((60, 80), (5, 10, 30, 50))) > 0.9
    assert not mask[:, 45:].any()


def test_any_function_can_be_measured() -> None:
    method = FromFunction("all", BOX, lambda image, prompt: np.ones(HW, np.bool_))
    assert method.spec.name == "all"
    assert method.embed("photo") == "photo"
    (answer,) = method.segment(None, prompts=[Prompt.of(box=(0, 0, 1, 1))], multimask=False)
    assert answer.masks.all()
