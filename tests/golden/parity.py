"""How near to the reference code our numbers must be, as ../shared/golden/README.md says."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from tests.scripts import loaded_script

EMBEDDING = 1e-4  # largest difference over the largest reference value
LOGITS = 1e-2  # absolute
VIDEO_LOGITS = 5e-2  # absolute
QUALITY = 1e-3  # absolute


def load_recipe(shared: Path) -> ModuleType:
    """The module that makes the references' deterministic weights."""
    with loaded_script(shared / "golden" / "recipe.py") as recipe:
        return recipe


def made_weights(shared: Path, name: str, folder: Path) -> tuple[Any, Path, dict[str, np.ndarray]]:
    """The recipe, its weights as a file, and the reference's outputs."""
    recipe = load_recipe(shared)
    path = folder / f"{name}.pt"
    made = recipe.fill(recipe.shapes(name))
    torch.save({"model": {key: torch.from_numpy(value) for key, value in made.items()}}, path)
    return recipe, path, dict(recipe.reference(name))


def assert_embedding(ours: np.ndarray, reference: np.ndarray) -> None:
    assert ours.shape == reference.shape
    assert np.abs(ours - reference).max() <= EMBEDDING * np.abs(reference).max()


def assert_logits(ours: np.ndarray, reference: np.ndarray) -> None:
    """Equal within the tolerance, and the same mask wherever the reference is sure."""
    assert ours.shape == reference.shape
    assert np.abs(ours - reference).max() <= LOGITS
    sure = np.abs(reference) > LOGITS
    assert sure.any()
    np.testing.assert_array_equal(ours[sure] > 0, reference[sure] > 0)


def assert_quality(ours: np.ndarray, reference: np.ndarray) -> None:
    np.testing.assert_allclose(ours, reference, rtol=0, atol=QUALITY)


def assert_video_logits(ours: np.ndarray, reference: np.ndarray) -> None:
    """As `assert_logits`, with the tolerance of videos."""
    assert ours.shape == reference.shape
    assert np.abs(ours - reference).max() <= VIDEO_LOGITS
    sure = np.abs(reference) > VIDEO_LOGITS
    assert sure.any()
    np.testing.assert_array_equal(ours[sure] > 0, reference[sure] > 0)
