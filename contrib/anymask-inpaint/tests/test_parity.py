"""LaMa against the reference's own outputs (advimman/lama), with the recipe's weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anymask_inpaint.lama import Lama, LamaConfig, pad_to_step
from tests.golden.parity import load_recipe

pytestmark = pytest.mark.slow

WITHIN = 1e-3  # of the largest value


def opened(name: str, shared: Path) -> Lama:
    shapes = json.loads((shared / "golden" / f"{name}.shapes.json").read_text())
    model = Lama(LamaConfig.of(shapes)).eval()
    weights = {key: torch.from_numpy(one) for key, one in load_recipe(shared).fill(shapes).items()}
    model.load_state_dict(weights, strict=True)
    return model


def inputs(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    with Image.open(shared / "images" / "truck.jpg") as pixels:
        image = np.asarray(pixels.convert("RGB").resize((243, 161), Image.Resampling.BILINEAR))
    hole = np.zeros((161, 243), np.float32)
    hole[40:110, 60:150] = 1
    return image, hole


@pytest.mark.parametrize("name", ["lama_mini", "big_lama"])
def test_every_layer_answers_as_the_reference_does(name: str, shared: Path) -> None:
    expected, model = np.load(shared / "golden" / f"{name}.npz"), opened(name, shared)
    seen: dict[str, torch.Tensor] = {}

    def note(number: int) -> object:
        def keep(_: object, __: object, parts: tuple[torch.Tensor, torch.Tensor | None]) -> None:
            for letter, part in zip("lg", parts, strict=True):
                if part is not None:
                    seen[f"layer{number}_{letter}"] = part[:, ::8, ::3, ::3]

        return keep

    for number in (1, 4, 5):
        model.generator.model[number].register_forward_hook(note(number))  # type: ignore[operator, union-attr, index]
    image, hole = inputs(shared)
    pixels = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]
    masked = torch.from_numpy(hole)[None, None]
    with torch.inference_mode():
        predicted = model(pad_to_step(pixels), pad_to_step(masked))
    seen["predicted"] = predicted[..., ::2, ::2]
    whole = masked * predicted[..., :161, :243] + (1 - masked) * pixels
    seen["inpainted_s2"] = whole[..., ::2, ::2]
    assert set(seen) == set(expected.files)
    for key in expected.files:
        assert seen[key].shape == expected[key].shape, key
        off = np.abs(seen[key].numpy() - expected[key]).max() / np.abs(expected[key]).max()
        assert off <= WITHIN, (key, off)
