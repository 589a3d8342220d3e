"""The recipe of the ranking finds what makes a mask the right one."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import anymask
from anymask.base import BoolArray
from anymask.formats import AnnotatedImage
from anymask.masks import Mask, Masks, mask_to_rle
from anymask.masks.answer import CHOICE_FEATURES, RankingWeights, probabilities, rank_masks
from tests.scripts import loaded_script

RECIPE = Path(__file__).parents[2] / "research" / "fit_ranking.py"


@pytest.fixture
def recipe() -> Iterator[ModuleType]:
    with loaded_script(RECIPE) as module:
        module.STEPS, module.BATCH = 200, 300
        yield module


@pytest.mark.parametrize("name", ["depth", "third"])
def test_the_fact_that_counts_is_learned(recipe: ModuleType, name: str) -> None:
    rng = np.random.default_rng(0)
    fact, count = CHOICE_FEATURES.index(name), 400
    found = rng.normal(3, 2, (count, 4, len(CHOICE_FEATURES)))
    right = found[..., fact].argmax(axis=1)
    answers = recipe.Answers(
        found, np.tile(np.eye(4), (count, 1, 1)), np.eye(4)[right],
        np.full(count, "coco_instances"), np.zeros(count),
    )  # fmt: skip
    weights = RankingWeights.of(recipe.learn(answers))
    picked = [rank_masks(probabilities(one, weights), np.eye(4))[0] for one in found]
    assert np.mean(picked == right) > 0.95


def test_a_set_weighs_what_it_is_worth_whatever_its_size(recipe: ModuleType) -> None:
    names = np.array(["coco_instances"] * 2 + ["mushrooms_dense"] * 5)
    weights = recipe.weights_of(names)
    assert weights.mean() == pytest.approx(1)
    assert weights[:2].sum() / weights[2:].sum() == pytest.approx(
        recipe.NATURAL["coco_instances"] / recipe.OTHER
    )


def test_each_mask_of_a_photo_is_clicked(recipe: ModuleType) -> None:
    """Discs on gray: the best of the three answers is about the disc."""
    discs = [disc((96, 128), at, 20) for at in ((40, 30), (60, 95))]
    image = np.full((96, 128, 3), 90, np.uint8)
    for mask, color in zip(discs, ((200, 40, 40), (40, 60, 220)), strict=True):
        image[mask] = color
    masks = Masks([Mask(mask_to_rle(mask)) for mask in discs])
    sample = AnnotatedImage(file_name="discs.png", hw=(96, 128), masks=masks, source=image)
    model, rng = anymask.load("nano"), np.random.default_rng(0)
    plain, distorted = (list(recipe.ask(model, sample, 5, look, rng)) for look in (0, 1))
    assert (len(plain), len(distorted)) == (2, 2)
    for found, shared, ious in plain:
        assert found.shape == (len(ious), len(CHOICE_FEATURES))
        assert shared.shape == (len(ious), len(ious))
        assert ious.max() > 0.8


def disc(hw: tuple[int, int], center: tuple[int, int], radius: int) -> BoolArray:
    y, x = np.ogrid[: hw[0], : hw[1]]
    return (y - center[0]) ** 2 + (x - center[1]) ** 2 <= radius**2
