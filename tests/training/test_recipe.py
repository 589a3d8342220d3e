"""Recipes say what is wrong with them."""

from pathlib import Path

import pytest

from anymask.base import ConfigError
from anymask.training.recipe import find_recipe, read_recipe, recipe_of, shipped_recipes

STAGE = {"steps": 2, "side": 64, "images": 2, "masks": 2}


@pytest.mark.parametrize("name", shipped_recipes())
def test_the_recipes_in_the_package_are_valid_and_need_nothing_of_a_working_folder(
    name: str,
) -> None:
    recipe = read_recipe(find_recipe(name))
    if name != "sam":
        assert recipe.model == "nano"
        assert recipe.init == "shipped"
    assert recipe.backbone == ""


def test_the_papers_schedule_is_that_of_the_paper() -> None:
    recipe = read_recipe(find_recipe("sam"))
    assert (recipe.steps, recipe.falls, recipe.warmup) == (90_000, (60_000, 86_666), 250)
    assert (recipe.rate, recipe.layer_decay, recipe.weight_decay) == (8e-4, 0.8, 0.1)
    assert (recipe.stages[0].images, recipe.stages[0].masks) == (256, 64)
    assert (recipe.rounds, recipe.drop_path) == (11, 0.4)
    assert recipe.images_before(90_000) == 256 * 90_000


def test_a_recipe_is_found_by_its_name_or_its_path_or_the_names_are_told(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("")
    assert find_recipe(str(mine)) == mine
    with pytest.raises(ConfigError, match="Unknown recipe 'nanno'.*: nano, sam"):
        find_recipe("nanno")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({}, "no \\[\\[stage\\]\\]"),
        ({"stage": [STAGE], "ratte": 1}, "Unknown key 'ratte'.*Known keys: .*rate"),
        ({"stage": [{**STAGE, "side": 50}]}, "Invalid side 50"),
        ({"stage": [{**STAGE, "images": 3}]}, r"images \(3\) must be divisible by workers"),
        ({"stage": [{"steps": 1}]}, "Missing side in r.toml, stage 1"),
        ({"stage": [{**STAGE, "steps": 0}]}, "steps must be a whole number of at least 1, got 0"),
        (
            {"stage": [STAGE], "learn": "some"},
            'learn must be "all", .*"no-prompt" or "memory", got \'some\'',
        ),
        ({"stage": [STAGE], "synthetic": 2}, "synthetic must be a number from 0 to 1, got 2"),
        ({"stage": [STAGE], "boxes": -1}, "boxes must be a number from 0 to 1, got -1"),
        ({"stage": [STAGE], "task": "some"}, 'task must be "masks" or "distil", got \'some\''),
        ({"stage": [STAGE], "accumulate": 2}, "workers \\(2\\) times accumulate \\(2\\)"),
        ({"stage": [STAGE], "views": -1}, "views must be a whole number of at least 0"),
        ({"stage": [STAGE], "lora_rank": 0}, "lora_rank must be a whole number of at least 1"),
        ({"stage": [STAGE], "keep": -1}, "keep must be a whole number of at least 0, got -1"),
        ({"stage": [STAGE | {"sides": [64, 100]}]}, "Invalid side 100"),
        ({"stage": [STAGE | {"sides": ["64"]}]}, "sides must be a list of whole numbers of at"),
        (
            {"stage": [STAGE], "layer_decay": 0.0},
            "layer_decay must be a number above 0 and at most 1, got 0.0",
        ),
        ({"stage": [STAGE], "rounds": 1}, "Invalid rounds 1. Use 0 or at least 2"),
        (
            {"stage": [STAGE], "drop_path": 1.0},
            "drop_path must be a number, 0 or more and less than 1",
        ),
        (
            {"stage": [STAGE], "drop_path": 0.1, "learn": "lora"},
            "Invalid drop_path in r.toml: .* requires learn = 'all'",
        ),
        ({"stage": [STAGE], "falls": [0.5]}, "falls must be a list of whole numbers of at least 0"),
        ({"stage": [{**STAGE, "cool": True}, STAGE]}, "cool = true last"),
        ({"stage": [STAGE], "workers": 0}, "workers must be a whole number of at least 1, got 0"),
        (
            {"stage": [STAGE], "workers": "1"},
            "workers must be a whole number of at least 1, got '1'",
        ),
        ({"stage": [STAGE], "synthetic": [1]}, "synthetic must be a number"),
        (
            {"stage": [{**STAGE, "steps": "3"}]},
            "steps must be a whole number of at least 1, got '3'",
        ),
        ({"stages": 1}, r"as a \[\[stage\]\] table"),
        ({"stage": [STAGE], "weights": {"a": []}}, "weights must be a table of numbers"),
        ({"stage": [STAGE], "seed": 10**23}, "seed is out of range, got 1000"),
    ],
)
def test_a_wrong_recipe_is_refused(raw: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        recipe_of(dict(raw), "r.toml")


def test_stages_follow_each_other() -> None:
    recipe = recipe_of({"stage": [STAGE, {**STAGE, "side": 96}]}, "r")
    assert recipe.steps == 4
    assert [recipe.stage_at(step)[0].side for step in range(4)] == [64, 64, 96, 96]
    with pytest.raises(ConfigError, match="Step 4 is out of range"):
        recipe.stage_at(4)


def test_sides_are_taken_in_turn_and_the_pictures_left_are_counted() -> None:
    rows = [{**STAGE, "sides": [64, 96, 64]}, {**STAGE, "steps": 3, "images": 4}]
    recipe = recipe_of({"stage": rows}, "r")
    assert [recipe.stages[0].side_at(step) for step in range(5)] == [64, 96, 64, 64, 96]
    assert [recipe.images_after(step) for step in range(6)] == [16, 14, 12, 8, 4, 0]
