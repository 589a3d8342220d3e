"""Vectors as prompts, the text slot of SAM's paper: tokens behind the clicks, on torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import anymask
from anymask import Prompt
from anymask.base import PromptError
from anymask.segment import Model

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def module() -> Any:
    from anymask import models

    torch.manual_seed(5)
    return models.build("tiny")


@pytest.fixture(scope="module")
def model(module: Any) -> Model:
    """SAM's decoder, small, with random weights."""
    from anymask.runtime import TorchRuntime

    return Model(TorchRuntime(module, "random", device="cpu"))


IMAGE = anymask.load_image(anymask.sample("coffee"))[::4, ::4].copy()


def token_of(model: Model, module: Any, point: tuple[float, float]) -> np.ndarray:
    """The token of a positive click."""
    from anymask.masks import points_to_model

    places = points_to_model(np.float32([point]), model.encode(IMAGE).geometry)
    with torch.inference_mode():
        labels = torch.ones(1, 1, dtype=torch.int64)
        return module.prompt_encoder.embed_points(torch.from_numpy(places)[None], labels)[0].numpy()


def test_a_clicks_token_as_a_vector_means_the_click(model: Model, module: Any) -> None:
    vector = token_of(model, module, (70, 30))
    click, told, other, both = model.segment(
        IMAGE,
        prompts=[
            Prompt.of(points=[(70, 30)]),
            Prompt(embedding=vector[0]),
            Prompt(embedding=-vector),
            Prompt(points=np.float32([(20, 60)]), embedding=vector),
        ],
        multimask=True,
    )
    two = model.segment(IMAGE, points=[(20, 60), (70, 30)], multimask=True)
    np.testing.assert_allclose(told.logits, click.logits, atol=1e-4)
    np.testing.assert_allclose(both.logits, two.logits, atol=1e-4)
    assert np.abs(other.logits - click.logits).max() > 1e-2
    assert "embedding" in repr(Prompt(embedding=vector))


@pytest.mark.parametrize(
    ("vector", "word"),
    [(np.zeros((2, 2, 8)), "shape"), ([], "shape"), ([np.nan], "finite"), ("cup", "numbers")],
)
def test_what_is_no_vector_is_refused(vector: Any, word: str) -> None:
    with pytest.raises(PromptError, match=word):
        Prompt(embedding=vector)


def test_vectors_that_do_not_fit_are_refused(model: Model) -> None:
    with pytest.raises(PromptError, match="vectors of length .* 3 were passed"):
        model.segment(IMAGE, prompts=[Prompt(embedding=[1.0, 2.0, 3.0])])
    with pytest.raises(
        PromptError, match="does not support embeddings"
    ):  # graphs have no such input
        anymask.load().segment(IMAGE, prompts=[Prompt(embedding=[1.0] * 256)])
