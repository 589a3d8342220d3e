"""Recipes say what is wrong with them."""

from pathlib import Path

import pytest

from anymask.primitives.errors import ConfigError
from anymask.training.recipe import read_recipe, recipe_of

STAGE = {"steps": 2, "side": 64, "images": 2, "masks": 2}


def test_the_shipped_recipe_is_valid(repository: Path) -> None:
    recipe = read_recipe(repository / "recipes" / "nano.toml")
    assert recipe.model == "nano"
    assert recipe.stages[-1].side == 512


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({}, "no \\[\\[stage\\]\\]"),
        ({"stage": [STAGE], "ratte": 1}, "unknown field 'ratte'; known: .*rate"),
        ({"stage": [{**STAGE, "side": 50}]}, "side must be a positive multiple of 32, got 50"),
        (
            {"stage": [{**STAGE, "images": 3}]},
            "images a step \\(3\\) must be a multiple of workers",
        ),
        ({"stage": [{"steps": 1}]}, "a stage needs steps, side, images and masks"),
        ({"stage": [{**STAGE, "steps": 0}]}, "steps, images and masks must be at least 1"),
        ({"stage": [STAGE], "learn": "some"}, "learn must be one of all, decoder, quality, got .some."),
        ({"stage": [STAGE], "synthetic": 2}, "synthetic is a part of 1, got 2"),
        ({"stage": [STAGE], "boxes": -1}, "boxes is a part of 1, got -1"),
        ({"stage": [{**STAGE, "cool": True}, STAGE]}, "stages that cool must come last"),
    ],
)
def test_a_wrong_recipe_is_refused(raw: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        recipe_of(dict(raw), "r.toml")


def test_an_absent_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml: no such recipe"):
        read_recipe(tmp_path / "no.toml")
    (tmp_path / "bad.toml").write_text("a = [")
    with pytest.raises(ConfigError, match=r"bad\.toml: not TOML"):
        read_recipe(tmp_path / "bad.toml")


def test_stages_follow_each_other() -> None:
    recipe = recipe_of({"stage": [STAGE, {**STAGE, "side": 96}]}, "r")
    assert recipe.steps == 4
    assert [recipe.stage_at(step)[0].side for step in range(4)] == [64, 64, 96, 96]
    with pytest.raises(ConfigError, match="step 4 is past it"):
        recipe.stage_at(4)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("workers = 1", "workers = 0", "workers must be at least 1, got 0"),
        ("workers = 1", 'workers = "1"', "workers must be int, got '1'"),
        ("workers = 1", "synthetic = [1]", "synthetic must be float"),
        ("steps = 3", 'steps = "3"', "steps must be int, got '3'"),
        ("workers = 1", "stages = 1", "stages must be tables"),
        ("workers = 1", "[weights]\na = []", "weights must be numbers by name"),
        ("workers = 1", "seed = 99999999999999999999999", "seed is out of range"),
    ],
)
def test_values_of_another_kind_are_refused(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    text = "[[stage]]\nsteps = 3\nside = 32\nimages = 2\nmasks = 1\n"
    whole = "workers = 1\n" + text
    if new.startswith("["):
        whole, old, new = text, "[[stage]]", f"{new}\n[[stage]]"
    if new.startswith("stages"):
        whole = old
    (tmp_path / "a.toml").write_text(whole.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        read_recipe(tmp_path / "a.toml")
