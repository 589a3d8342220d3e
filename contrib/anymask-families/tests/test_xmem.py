"""XMem with the recipe's weights against the reference code's probabilities for six frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anymask.runtime import load_official
from anymask_families.xmem import XMem
from anymask_families.xmem_memory import ObjectMemory, XMemSettings, XMemSteps
from tests.golden.parity import load_recipe

WITHIN = 1e-3  # absolute, of probabilities; of the largest value, of maps
PADDED = ((0, 0), (2, 3))  # 427 columns to 432
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
RECTANGLES = (slice(60, 150), slice(80, 200)), (slice(100, 220), slice(260, 380))


@pytest.fixture
def steps(shared: Path) -> XMemSteps:
    recipe, model = load_recipe(shared), XMem().eval().requires_grad_(False)
    weights = recipe.fill(recipe.shapes("xmem"))
    load_official(model, {key: torch.from_numpy(value) for key, value in weights.items()})
    with recipe.reference("xmem") as stored:
        told = json.loads(str(stored["settings"]))
    settings = XMemSettings(
        every=told["mem_every"], nearest=told["top_k"], most_frames=told["max_mid_term_frames"],
        kept_frames=told["min_mid_term_frames"], prototypes=told["num_prototypes"],
        most_cells=told["max_long_term_elements"],
    )  # fmt: skip
    return XMemSteps(model, settings)


def padded_frame(path: Path) -> np.ndarray:  # -> (3, 240, 432)
    with Image.open(path) as pixels:
        image = np.asarray(pixels.convert("RGB").resize((427, 240), Image.Resampling.BILINEAR))
    normal = ((image - MEAN) / STD).transpose(2, 0, 1)
    return np.ascontiguousarray(np.pad(normal, ((0, 0), *PADDED)), np.float32)


def test_two_objects_are_tracked_as_by_the_reference(steps: XMemSteps, shared: Path) -> None:
    expected = np.load(shared / "golden" / "xmem.npz")
    paths = sorted((shared / "images" / "bedroom").glob("*.jpg"))[:6]
    frames = [steps.encode_frame(padded_frame(path)) for path in paths]

    first = frames[0]
    found = {
        "key0": first.keys.unflatten(1, first.grid)[None, ::4, ::2, ::2],
        "shrinkage0": first.shrinkage.unflatten(1, first.grid)[None, :, ::2, ::2],
        "selection0": first.selection.unflatten(1, first.grid)[None, ::4, ::2, ::2],
        "f16_0": first.maps[0][:, ::16, ::3, ::3],
        "f8_0": first.maps[1][:, ::16, ::5, ::5],
        "f4_0": first.maps[2][:, ::16, ::9, ::9],
    }
    for name, value in found.items():
        off = np.abs(value.numpy() - expected[name]).max() / np.abs(expected[name]).max()
        assert off <= WITHIN, (name, off)

    memories: list[ObjectMemory] = []
    for where in RECTANGLES:
        mask = np.zeros((240, 427), np.float32)
        mask[where] = 1
        memories.append(steps.begin(first, 0, np.pad(mask, PADDED), None))
    for number, frame in enumerate(frames[1:], 1):
        answers = steps.step(frame, memories)
        probabilities = torch.stack([one.probability for one in answers])[:, ::4, 2:-3:4]
        off = np.abs(probabilities.numpy() - expected[f"prob_{number}_s4"][1:]).max()
        assert off <= WITHIN, (number, off)
        memories = [steps.remember(frame, number, one, add=True) for one in answers]
    for memory in memories:
        assert memory.long is not None
        assert len(memory.long) == steps.settings.prototypes
        assert memory.history == memories[0].history
