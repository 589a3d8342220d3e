"""CLIP against the published code's numbers (../shared/golden), by both sets of names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import anymask
from anymask.find.byte_pairs import BytePairs
from anymask.find.clip import read_clip, to_pixels
from anymask.models.clip import ClipConfig, ClipModel, official_names
from tests.golden.parity import load_recipe

NAME = "clip_vit_b32"
WITHIN = 1e-3  # of the largest value


def made_weights(shared: Path) -> dict[str, torch.Tensor]:
    recipe = load_recipe(shared)
    filled = recipe.fill(recipe.shapes(NAME))
    return {name: torch.from_numpy(np.asarray(value)) for name, value in filled.items()}


def their_names(shared: Path, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights by the names of transformers, by the table of the references."""
    table = json.loads((shared / "golden" / f"{NAME}.names_hf.json").read_text("utf-8"))
    found = {}
    for name, theirs in table.items():
        value = weights[name]
        if isinstance(theirs, list):
            found |= dict(zip(theirs, value.chunk(3), strict=True))
        else:
            found[theirs.removesuffix(".T")] = value.T if theirs.endswith(".T") else value
    return found


def assert_near(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= WITHIN * np.abs(wanted).max()


@pytest.fixture(scope="module")
def tokenizer(shared: Path) -> BytePairs:
    return BytePairs.read(shared / "data" / "text")


@pytest.mark.slow
def test_vectors_are_the_references(shared: Path, tokenizer: BytePairs, tmp_path: Path) -> None:
    weights = made_weights(shared)
    path = tmp_path / "ViT-B-32.pt"
    torch.save({name: value.half() for name, value in weights.items()}, path)
    assert {value.dtype for value in read_clip(path).state_dict().values()} == {torch.float32}
    reference: Any = np.load(shared / "golden" / f"{NAME}.npz")
    torch.save(weights, path)
    model = read_clip(path)
    photo = anymask.load_image(shared / "images" / "truck.jpg")
    pixels = to_pixels(photo, model.config.side)
    np.testing.assert_allclose(pixels[None, :, ::4, ::4], reference["pixels_s4"], atol=1e-6)
    texts = [str(one) for one in reference["texts"]]
    with torch.inference_mode():
        images = model.encode_image(torch.from_numpy(pixels)[None]).numpy()
        found = model.encode_text(torch.from_numpy(tokenizer.tokens(texts, 77))).numpy()
    assert_near(images, reference["image_features"])
    assert_near(found, reference["text_features"])
    alike = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in (images, found)]
    scale = model.logit_scale.exp().item()
    assert_near(scale * alike[0] @ alike[1].T, reference["logits_per_image"])


def test_tokens_are_the_references(shared: Path, tokenizer: BytePairs) -> None:
    reference = np.load(shared / "golden" / f"{NAME}.npz")
    tokens = tokenizer.tokens([str(one) for one in reference["texts"]], 77)
    length = tokens.shape[1]
    np.testing.assert_array_equal(tokens, reference["tokens"][:, :length])
    assert not reference["tokens"][:, length:].any()


def test_names_of_transformers_become_the_official_ones(shared: Path) -> None:
    weights = made_weights(shared)
    theirs = their_names(shared, weights)
    shapes = json.loads((shared / "golden" / f"{NAME}_hf.shapes.json").read_text("utf-8"))
    assert {name: list(value.shape) for name, value in theirs.items()} == shapes
    again = official_names(theirs)
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], value) for name, value in weights.items())


@pytest.mark.parametrize("name", [NAME, "clip_vit_b16", "clip_vit_l14"])
def test_each_size_follows_from_its_shapes(shared: Path, name: str) -> None:
    shapes = {key: tuple(shape) for key, shape in load_recipe(shared).shapes(name).items()}
    with torch.device("meta"):
        model = ClipModel(ClipConfig.of(shapes))
    assert {key: tuple(one.shape) for key, one in model.state_dict().items()} == shapes
