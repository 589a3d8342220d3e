"""SEEM with the recipe's weights against the reference's numbers, and its prompts in one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from anymask.base import InputError
from anymask.find import BytePairs
from anymask_families.seem import Answer, Seem, SeemConfig, SeemPrompt, resized
from tests.conftest import SHARED
from tests.golden.parity import load_recipe

CASE = "seem_focalt_v0"
MASKS = 1e-2  # of the largest value: attention masks are thresholds (../shared/golden/README.md)


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    if not (SHARED / "golden" / f"{CASE}.npz").is_file():
        pytest.skip("needs ../shared/golden of SEEM")
    return dict(np.load(SHARED / "golden" / f"{CASE}.npz"))


@pytest.fixture(scope="module")
def seem(reference: dict[str, np.ndarray]) -> Seem:
    """The network; loading is strict, with the official names."""
    recipe = load_recipe(SHARED)
    with torch.device("meta"):
        made = Seem()
    weights = {
        name: torch.from_numpy(np.array(value))
        for name, value in recipe.fill(recipe.shapes(CASE)).items()
    }
    made.load_state_dict(weights, strict=True, assign=True)
    return made.eval().requires_grad_(False)


def near(ours: torch.Tensor, reference: np.ndarray, tolerance: float = MASKS) -> None:
    assert tuple(ours.shape) == reference.shape
    difference = np.abs(ours.numpy() - reference).max() / np.abs(reference).max()
    assert difference <= tolerance


def strip(hw: tuple[int, ...]) -> np.ndarray:
    h, w = hw
    drawn = np.zeros((h, w), bool)
    drawn[h // 2 : h // 2 + 6, w // 4 : w // 4 + 60] = True
    return drawn


def agrees(seem: Seem, answer: Answer, reference: dict[str, np.ndarray], name: str) -> None:
    near(answer.masks[::10, ::3, ::3], reference[f"{name}_masks_s3"])
    near(answer.mask_embeddings[::5], reference[f"{name}_maskembs"])
    classes = torch.from_numpy(reference["class_embeddings"])
    near(seem.class_logits(answer, classes), reference[f"{name}_logits"])


def test_all_prompts_are_the_references(seem: Seem, reference: dict[str, np.ndarray]) -> None:
    images = [
        resized(Image.open(SHARED / "images" / name), 256)
        for name in ("truck.jpg", "groceries.jpg")
    ]
    for image, size in zip(images, ("in_size", "ref_size"), strict=True):
        assert image.shape[1::-1] == tuple(reference[size])
    np.testing.assert_array_equal(images[0][::8, ::8].transpose(2, 0, 1), reference["pixels_s8"])
    scene, other = (seem.encode(image) for image in images)
    stroke = seem.stroke(scene, strip(images[0].shape[:2]))
    near(stroke.mean[None], reference["stroke_pspatials"], 1e-3)
    example = seem.stroke(other, strip(images[1].shape[:2]))
    near(example.mean[None], reference["example_pvisuals"], 1e-3)
    vocabulary = BytePairs.read(SHARED / "data" / "text")
    words = seem.words(vocabulary.encode(str(reference["text"])))
    near(words.tokens, reference["text_tokens"], 1e-3)
    near(words.sentence[None], reference["text_class"], 1e-3)
    agrees(seem, seem.predictor(scene, [], None), reference, "plain")
    agrees(seem, seem.predictor(scene, [stroke], None), reference, "stroke")
    agrees(seem, seem.predictor(scene, [example], None), reference, "example")
    spoken = seem.predictor(scene, [], words)
    agrees(seem, spoken, reference, "text")
    near(spoken.class_embeddings[::5], reference["text_captions"])


def test_prompts_are_combined() -> None:
    """Each part of a prompt has an effect, and no prompt is an error."""
    torch.manual_seed(0)
    tiny = Seem(
        SeemConfig(
            dim=16, depths=(1, 1, 1, 1), hidden=32, heads=4, mlp=32, encoder_layers=1,
            decoder_layers=3, queries=7, memories=2, text_layers=1, vocabulary=49408, context=9,
        )
    ).eval().requires_grad_(False)  # fmt: skip
    for parameter in tiny.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    image = np.random.default_rng(0).integers(0, 255, (70, 90, 3), np.uint8)
    scene = tiny.encode(image)
    assert scene.padded_hw == (96, 96)
    stroke = tiny.stroke(scene, strip((70, 90)))
    clicked = np.zeros((70, 90), bool)
    clicked[30, 40] = True
    corrected = tiny.stroke(scene, strip((70, 90)), background=clicked)
    assert [len(one) for one in corrected.tokens] == [len(stroke.tokens[0]) + 1] * 3
    torch.testing.assert_close(corrected.mean, stroke.mean)
    words = tiny.words([5, 6])
    parts: dict[str, Any] = {
        "stroke": stroke,
        "example": tiny.stroke(tiny.encode(image[::-1]), clicked),
        "words": words,
    }
    together = tiny.segment(scene, SeemPrompt(**parts))
    assert together.shape == (24, 24)
    for name in parts:
        fewer = {other: part for other, part in parts.items() if other != name}
        assert not torch.equal(tiny.segment(scene, SeemPrompt(**fewer)), together)
    with pytest.raises(InputError, match="No prompt"):
        tiny.segment(scene, SeemPrompt())
    with pytest.raises(InputError, match="stroke is empty"):
        tiny.stroke(scene, np.zeros((70, 90), bool))
    with pytest.raises(InputError, match="Expected 1 to 7 tokens"):
        tiny.words(range(8))
