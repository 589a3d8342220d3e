"""The gate in front of a decoder, and what passes it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anymask.base import PromptError
from anymask.masks import ALL_KINDS, ModelSpec, Prompt, geometry
from anymask.models.rules import check_prompt, group_prompts, mask_on_image
from tests.evaluation.small_sets import rectangle

SAM = ModelSpec(name="sam", image_side=64, mask_side=16, accepts=ALL_KINDS)
SIX = ModelSpec(
    name="six",
    image_side=64,
    mask_side=16,
    fit="square",
    accepts=frozenset({"point", "box"}),
    pad_point=False,
    fixed_points=6,
)
IMAGE_HW = (48, 96)
BOX = (10, 20, 30, 40)
MASK = np.ones((3, 5), bool)


def batches(spec: ModelSpec, *prompts: Prompt, most: int = 9) -> list:
    return list(group_prompts(prompts, geometry(IMAGE_HW, spec), spec, most))


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        (Prompt.of(points=[(1, 1)], labels=[0]), "six does not support negative points"),
        (Prompt.of(points=[(1, 1)], mask=MASK), "six does not support mask prompts"),
        (Prompt(words="leaf"), "does not support words. It supports positive points"),
        (
            Prompt.of(points=[(1, 1)] * 7),
            r"six supports at most 6 points \(a box counts as two\), but 7",
        ),
        (Prompt.of(points=[(1, 1)] * 5, box=BOX), "six supports at most 6 points .* but 7"),
    ],
)
def test_what_a_model_was_not_made_for_is_refused(prompt: Prompt, told: str) -> None:
    with pytest.raises(PromptError, match=told):
        check_prompt(prompt, IMAGE_HW, SIX)


@pytest.mark.parametrize(
    "prompt",
    [
        *({"points": [(5, 5), at]} for at in [(-0.5, 3), (96, 3), (3, 48), (3, -1), (1e9, 1e9)]),
        *({"box": at} for at in [(-9, 0, -1, 5), (96, 0, 99, 5), (0, 48, 5, 60), (0, -9, 5, 0)]),
    ],
)
def test_a_click_or_a_box_off_the_photo_is_refused(prompt: dict[str, Any]) -> None:
    with pytest.raises(PromptError, match="0 <= x < 96 and 0 <= y < 48|of 96 x 48 pixels"):
        check_prompt(Prompt.of(**prompt), IMAGE_HW, SAM)


@pytest.mark.parametrize("point", [(0, 0), (95.9, 47.9), (95, 47)])
def test_the_last_pixel_may_be_clicked(point: tuple[float, float]) -> None:
    check_prompt(Prompt.of(points=[point]), IMAGE_HW, SAM)


def test_a_box_is_cut_at_the_border() -> None:
    checked = check_prompt(Prompt.of(box=(-5, -7, 100, 20)), IMAGE_HW, SAM)
    assert checked.box.tolist() == [0, 0, 96, 20]


TWO = replace(SAM, name="two", pad_box=True)
CORNERS = (0, 0, 96, 48)


@pytest.mark.parametrize(
    ("spec", "prompt", "labels", "coords"),
    [
        (SAM, Prompt.of(points=[(30, 15), (3, 6)], labels=[1, 0]), [1, 0, -1],
         [[20, 10], [2, 4], [0, 0]]),
        (SAM, Prompt.of(points=[(3, 6)], box=CORNERS), [1, 2, 3], [[2, 4], [0, 0], [64, 32]]),
        (SAM, Prompt.of(mask=MASK), [-1], []),
        (SIX, Prompt.of(points=[(3, 6)], box=CORNERS), [1, 2, 3, -1, -1, -1],
         [[2, 8], [0, 0], [64, 64]]),
        (TWO, Prompt.of(box=BOX), [2, 3, -1], []),
        (TWO, Prompt.of(points=[(1, 2)], box=BOX), [1, 2, 3, -1], []),
        (TWO, Prompt.of(points=[(1, 2)]), [1, -1], []),
        (TWO, Prompt.of(mask=MASK), [-1], []),
    ],
)  # fmt: skip
def test_clicks_come_first_then_corners_then_points_that_are_none(
    spec: ModelSpec, prompt: Prompt, labels: list[int], coords: list[list[int]]
) -> None:
    ((places, batch),) = batches(spec, prompt)
    assert (places, batch.labels.tolist()) == ([0], [labels])
    np.testing.assert_allclose(batch.coords[0, : len(coords)], np.reshape(coords, (-1, 2)))
    assert (batch.coords.dtype, batch.labels.dtype) == (np.float32, np.int64)
    assert batch.has_mask.tolist() == [prompt.mask is not None]


def test_prompts_are_grouped_by_length_and_every_place_is_answered_once() -> None:
    prompts = [
        Prompt.of(points=[(1, 1)]),
        Prompt.of(box=BOX),
        Prompt.of(points=[(1, 1)] * 3),
        Prompt.of(points=[(2, 2)], mask=MASK),
        Prompt.of(points=[(3, 3)]),
    ]
    found = batches(SAM, *prompts, most=2)
    assert sorted(place for places, _ in found for place in places) == list(range(5))
    for places, batch in found:
        assert batch.labels.shape == batch.coords.shape[:2]
        assert len(places) == len(batch.labels) == len(batch.masks) == len(batch.has_mask) <= 2
        for row, place in enumerate(places):
            assert batch.has_mask[row] == (prompts[place].mask is not None)
            assert batch.masks[row].any() == (prompts[place].mask is not None)


def test_a_mask_is_laid_over_the_photo_whatever_its_size() -> None:
    place = geometry(IMAGE_HW, SAM)
    left = rectangle((3, 4), (0, 0, 2, 3))
    for mask in (left, left.astype(np.uint8) * 9, left * 0.7, np.where(left, 3.0, -3.0)):
        laid = mask_on_image(np.asarray(mask), place, 16, 0.0)
        assert laid.shape == IMAGE_HW
        assert laid[:, :48].all()
        assert not laid[:, 48:].any()


def test_logits_of_the_model_are_laid_as_the_model_means_them() -> None:
    place = geometry(IMAGE_HW, SAM)
    logits = np.full((16, 16), -5, np.float32)
    logits[:8] = 5  # the lower half is padding
    assert mask_on_image(logits, place, 16, 0.0)[:46].all()
