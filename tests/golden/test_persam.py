"""PerSAM and PerSAM-F on MobileSAM with the recipe's weights against the reference code."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from anymask import models
from anymask.base import UintImage
from anymask.find import ExampleFinder, FindSettings
from anymask.find.persam import learn_target, personal_steps
from anymask.runtime import TorchRuntime
from anymask.segment import Model
from tests.golden.parity import assert_logits, assert_quality, load_recipe

RIM = 3e-4  # of the photo: pixels that may differ


@pytest.fixture(scope="module")
def model(shared: Path) -> Model:
    recipe = load_recipe(shared)
    module = models.build("mobile_sam")
    weights = recipe.fill(recipe.shapes("mobile_sam"))
    module.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
    return Model(TorchRuntime(module, device="cpu"))


def read(shared: Path, name: str) -> UintImage:
    return np.asarray(Image.open(shared / "images" / name).convert("RGB"))


@pytest.mark.parametrize(("method", "name"), [("persam", "persam"), ("persam_f", "persam_f")])
def test_the_answers_are_the_references(shared: Path, model: Model, method: str, name: str) -> None:
    with np.load(shared / "golden" / f"{name}_mobile.npz") as stored:
        reference = dict(stored)
    truck, groceries = read(shared, "truck.jpg"), read(shared, "groceries.jpg")
    drawn = Image.new("L", truck.shape[1::-1])
    ImageDraw.Draw(drawn).ellipse(reference["in_ellipse"].tolist(), fill=255)
    mask = np.asarray(drawn) > 0
    tuned = method == "persam_f"
    target = learn_target(model, [(truck, mask)], tuned, int(reference.get("steps", 1)))
    if tuned:
        assert target.weights is not None
        np.testing.assert_allclose(target.weights[1:], reference["mask_weights"][:, 0], atol=1e-6)
    for number, step in enumerate(personal_steps(model.runtime, model.encode(groceries), target)):
        call = f"call{3 + number}_"
        np.testing.assert_array_equal(step.prompt.points, reference[call + "point_coords"])
        assert_logits(step.logits[:, ::2, ::2], reference[call + "lowres_s2"])
        assert_quality(step.scores, reference[call + "scores"])
        if step.prompt.box is not None:
            np.testing.assert_array_equal(step.prompt.box, reference[call + "box"][0])
    if not tuned:  # whose thousand steps of a large photo take a minute
        finder = ExampleFinder(model, (truck, {"mask": mask}), None, FindSettings(method="persam"))
        (found,) = finder(groceries)
        shape = reference["final_1_shape"]
        expected = np.unpackbits(reference["final_1"])[: shape.prod()].reshape(shape) > 0
        assert (found.mask != expected).mean() < RIM
