"""CLIP against the published code's numbers (../shared/golden)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig

import anymask
from anymask.find.byte_pairs import BytePairs
from anymask.find.clip import read_clip, to_pixels
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


def assert_near(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= WITHIN * np.abs(expected).max()


@pytest.fixture(scope="module")
def tokenizer(shared: Path) -> BytePairs:
    return BytePairs.read(shared / "data" / "text")


@pytest.mark.slow
def test_vectors_are_the_references(shared: Path, tokenizer: BytePairs, tmp_path: Path) -> None:
    theirs = their_names(shared, made_weights(shared))
    shapes = json.loads((shared / "golden" / f"{NAME}_hf.shapes.json").read_text("utf-8"))
    assert {name: list(value.shape) for name, value in theirs.items()} == shapes
    CLIPConfig().save_pretrained(tmp_path)  # by default, that of ViT-B/32
    weights = {name: value.contiguous() for name, value in theirs.items()}
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    model = read_clip(tmp_path)
    reference: Any = np.load(shared / "golden" / f"{NAME}.npz")
    image = anymask.load_image(shared / "images" / "truck.jpg")
    pixels = to_pixels(image, model.config.vision_config.image_size)
    np.testing.assert_allclose(pixels[None, :, ::4, ::4], reference["pixels_s4"], atol=1e-6)
    texts = [str(one) for one in reference["texts"]]
    with torch.inference_mode():
        images = model.get_image_features(torch.from_numpy(pixels)[None]).pooler_output.numpy()
        tokens = torch.from_numpy(tokenizer.tokens(texts, 77))
        found = model.get_text_features(tokens).pooler_output.numpy()
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
