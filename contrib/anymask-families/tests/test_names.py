"""The models by name: official parameter names, specifications, rules, and entry points."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from anymask import models
from anymask.base import PLUGINS, ModelError, installed_plugins
from anymask.masks import Geometry, ModelPrompts, ModelSpec
from anymask.models.rules import open_family
from anymask.runtime import entry

NAMES = ("semantic_sam_swint", "sam_med3d_b", "xmem")
OWN = "anymask-families"


@pytest.mark.parametrize("name", NAMES)
def test_parameter_names_and_shapes_are_the_official_ones(name: str, shared: Path) -> None:
    stored = json.loads((shared / "golden" / f"{name}.shapes.json").read_text("utf-8"))
    with torch.device("meta"):
        model = models.build(name)
    ours = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert ours == {key.removeprefix("model."): shape for key, shape in stored.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_model_knows_its_own_spec_and_is_ready_to_use(name: str) -> None:
    with torch.device("meta"):
        model = models.build(name)
    assert model.spec == models.spec(name)
    assert model.spec.name == name
    assert not any(module.training for module in model.modules())


def test_the_models_are_listed_after_those_of_the_core() -> None:
    names = models.names()
    assert set(NAMES) <= set(names[-len(NAMES) :])
    assert "samed" not in names
    with pytest.raises(ModelError, match="Unknown model 'samed'"):
        models.build("samed")


def test_the_core_knows_every_name_that_is_declared() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8")
    declared = tomllib.loads(text)["project"]["entry-points"]
    for group in ("families", "trackers"):
        own = set(declared[f"anymask.{group}"])
        assert own == set(PLUGINS[OWN].names[group])
        assert own <= set(installed_plugins(group))
    assert [name for name in NAMES if entry(name).plugin == OWN] == list(NAMES)


def test_a_click_has_the_masks_of_all_levels() -> None:
    family = open_family(ModelSpec(name="x", image_side=64, mask_side=5, family="semantic_sam"))
    assert family.graded
    assert (family.grid.score, family.grid.stability) == (0.7, 0.9)
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((1, 6, 5, 5)).astype(np.float32)
    quality = rng.standard_normal((1, 6)).astype(np.float32)
    click = ModelPrompts(
        np.full((1, 1, 2), 8, np.float32), np.ones((1, 1), np.int64),
        np.zeros((1, 1, 5, 5), np.float32), np.zeros(1, np.float32),
    )  # fmt: skip
    place = Geometry((64, 64), (64, 64), 64)
    (answer,) = family.answer(lambda _: (logits, quality), click, place, "auto", "expected")
    planes, numbers, order = answer
    np.testing.assert_array_equal(order, np.argsort(-quality[0], kind="stable"))
    np.testing.assert_array_equal(planes, logits[0, order])
    np.testing.assert_array_equal(numbers, quality[0, order])
