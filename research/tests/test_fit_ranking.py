"""The recipe of the ranking finds what makes a mask the right one."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from anymask.masks.answer import FACTS, RankingWeights, chances, order_masks
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
    fact, count = FACTS.index(name), 400
    found = rng.normal(3, 2, (count, 4, len(FACTS)))
    right = found[..., fact].argmax(axis=1)
    answers = recipe.Answers(
        found, np.tile(np.eye(4), (count, 1, 1)), np.eye(4)[right],
        np.full(count, "coco_instances"), np.zeros(count),
    )  # fmt: skip
    weights = RankingWeights.of(recipe.learn(answers))
    picked = [order_masks(chances(one, weights), np.eye(4))[0] for one in found]
    assert np.mean(picked == right) > 0.95


def test_a_set_weighs_what_it_is_worth_whatever_its_size(recipe: ModuleType) -> None:
    names = np.array(["coco_instances"] * 2 + ["mushrooms_dense"] * 5)
    weights = recipe.weights_of(names)
    assert weights.mean() == pytest.approx(1)
    assert weights[:2].sum() / weights[2:].sum() == pytest.approx(
        recipe.NATURAL["coco_instances"] / recipe.OTHER
    )
