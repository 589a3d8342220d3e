"""The recipe of adaptive mode's weights: what it plays, labels and learns, on a made-up photo."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import anymask
from anymask.segment import Grid, grid_of
from tests.scripts import loaded_script

pytest.importorskip("torch")
PATH = Path(__file__).parents[2] / "research" / "fit_adaptive.py"


@pytest.fixture(scope="module")
def recipe() -> Iterator[ModuleType]:
    with loaded_script(PATH) as module:
        module.STEPS, module.ROUNDS = 60, 1
        yield module


@pytest.fixture(scope="module")
def settings() -> Grid:
    return grid_of(anymask.load("nano").runtime.family, {"grid": 8})


@pytest.fixture(scope="module")
def answered(recipe: ModuleType, settings: Grid) -> object:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 40, (120, 160, 3), dtype=np.uint8)
    for x, y in ((20, 20), (90, 30), (40, 80), (120, 90)):
        image[y : y + 24, x : x + 24] += np.uint8(180)
    return recipe.answer_all(anymask.load("nano"), image, settings)


def test_a_click_finds_the_mask_that_it_lies_on(answered: object) -> None:
    finds = answered.finds  # type: ignore[attr-defined]
    assert finds.shape[0] == 64
    assert finds.any(axis=0).all()  # every mask of exact mode was found by a click


def test_what_is_missing_shrinks_as_clicks_are_asked(
    recipe: ModuleType, answered: object, settings: Grid
) -> None:
    weights = recipe.shipped(anymask.load("nano"))
    states = list(recipe.play(answered, settings, weights))
    assert states
    lefts = [int(left.sum()) for _, left, _ in states]
    assert lefts == sorted(lefts, reverse=True)
    expected = [set(np.flatnonzero(finds).tolist()) for _, _, finds in states]
    assert all(later <= earlier for earlier, later in pairwise(expected))
    assert all(facts.shape == (64, 16) for facts, _, _ in states)


def test_learning_tells_clicks_apart_that_differ_in_one_fact(recipe: ModuleType) -> None:
    rng = np.random.default_rng(0)
    facts = rng.normal(size=(400, 16))
    labels = (facts[:, 3] > 0.2).astype(np.float64)
    start = recipe.TanhNetwork(rng.normal(0, 0.1, (16, 4)), np.zeros(4), rng.normal(0, 0.1, 4))
    recipe.STEPS = 300
    learned = recipe.learn([(facts, labels, np.ones(400))], start)
    score = np.tanh(facts @ learned.into + learned.bias) @ learned.out
    order = np.argsort(-score)
    assert labels[order[: int(labels.sum())]].mean() > 0.95


def test_the_table_has_the_shape_of_the_shipped_one(
    recipe: ModuleType, answered: object, settings: Grid
) -> None:
    start = recipe.shipped(anymask.load("nano"))
    table = recipe.table_of(recipe.fit([answered], settings, start))
    assert {name: np.shape(values) for name, values in table.items()} == {
        "into": (16, 4), "bias": (4,), "out": (4,),
    }  # fmt: skip
