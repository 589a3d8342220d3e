"""The whole way from a photo to its masks, against the reference code's own predictor."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import anymask
from anymask.masks import Features
from anymask.segment import Model
from tests.golden.parity import load_recipe

NAME = "mobile_sam"
LOGITS, QUALITY, FEATURES = 1e-2, 1e-3, 1e-4  # golden/README.md


@pytest.fixture(scope="module")
def recipe(shared: Path) -> ModuleType:
    return load_recipe(shared)


@pytest.fixture(scope="module")
def model(recipe: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Model:
    weights = tmp_path_factory.mktemp("weights") / "mobile_sam.pt"
    arrays = recipe.fill(recipe.shapes(NAME))
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, weights)
    return anymask.load(NAME, weights=weights, device="cpu")


@pytest.fixture(scope="module")
def reference(recipe: ModuleType) -> dict[str, np.ndarray]:
    return dict(recipe.reference(NAME))


@pytest.fixture(scope="module")
def embedding(model: Model, shared: Path) -> Features:
    return model.encode(shared / "images" / "truck.jpg")


def prompt(reference: dict[str, np.ndarray], case: str) -> dict[str, np.ndarray]:
    names = {"points": "point_coords", "point_labels": "point_labels", "box": "box"}
    keys = {name: f"in_{case}_{key}" for name, key in names.items()}
    return {name: reference[key] for name, key in keys.items() if key in reference}


def test_the_embedding_agrees(embedding: Features, reference: dict[str, np.ndarray]) -> None:
    truth = reference["embedding_s8"][0]
    error = np.abs(embedding.features[:, ::8, ::8] - truth).max() / np.abs(truth).max()
    assert error <= FEATURES
    assert embedding.image_hw == (1200, 1800)


@pytest.mark.parametrize("case", ["point", "points", "box", "boxpoint"])
@pytest.mark.parametrize("multimask", [True, False])
def test_every_prompt_is_answered_as_the_reference_answers(
    case: str, multimask: bool, model: Model, embedding: Features, reference: dict[str, np.ndarray]
) -> None:
    answer = model.segment(embedding, multimask=multimask, **prompt(reference, case))
    key = f"{case}_{'multi' if multimask else 'single'}"
    quality = reference[f"{key}_scores"][answer.order]
    np.testing.assert_allclose(answer.scores, quality, atol=QUALITY)
    logits = reference[f"{key}_lowres_s2"][answer.order]
    np.testing.assert_allclose(answer.logits[:, ::2, ::2], logits, atol=LOGITS)
    large = reference[f"{key}_logits_s16"][answer.order]
    sure = np.abs(large) > LOGITS
    np.testing.assert_array_equal(answer.masks[:, ::16, ::16][sure], large[sure] > 0)


def test_logits_fed_back_are_answered_as_the_reference_answers(
    model: Model, embedding: Features, reference: dict[str, np.ndarray]
) -> None:
    first = model.segment(embedding, multimask=True, **prompt(reference, "point"))
    again = model.segment(
        embedding, mask=first.logits[0], multimask=False, **prompt(reference, "points")
    )
    np.testing.assert_allclose(again.scores, reference["refine_scores"], atol=QUALITY)
    np.testing.assert_allclose(
        again.logits[:, ::2, ::2], reference["refine_lowres_s2"], atol=LOGITS
    )
