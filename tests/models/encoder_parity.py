"""Recipe weights, the reference picture and the comparison, for the encoders' golden tests."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from PIL import Image

SIDE = 1024
EMBEDDING_TOLERANCE = 1e-4  # of the largest reference value, as ../shared/golden/README.md says
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)
PREFIX = "image_encoder."


def load_recipe(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("recipe", shared / "golden" / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    return recipe


def load_recipe_weights(encoder: torch.nn.Module, name: str, shared: Path) -> None:
    """Fill the encoder strictly with what the recipe gives for the checkpoint `name`."""
    recipe = load_recipe(shared)
    encoder.load_state_dict(
        {
            key.removeprefix(PREFIX): torch.from_numpy(np.ascontiguousarray(value))
            for key, value in recipe.fill(recipe.shapes(name)).items()
            if key.startswith(PREFIX)
        },
        strict=True,
    )


def padded_truck(shared: Path) -> torch.Tensor:
    """The truck as SAM sees it: longest side 1024, normalised, zeros right and below."""
    image = Image.open(shared / "images" / "truck.jpg").convert("RGB")
    scale = SIDE / max(image.size)
    width, height = (int(side * scale + 0.5) for side in image.size)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)
    padded = np.zeros((SIDE, SIDE, 3), np.float32)
    padded[:height, :width] = (pixels - MEAN) / STD
    return torch.from_numpy(padded.transpose(2, 0, 1)[None].copy())


def stretched_truck(shared: Path) -> torch.Tensor:
    """The truck as EfficientSAM sees it: stretched to a square, then normalised."""
    image = Image.open(shared / "images" / "truck.jpg").convert("RGB")
    pixels = torch.from_numpy(np.asarray(image, np.float32).copy()).permute(2, 0, 1)[None]
    square = torch.nn.functional.interpolate(pixels, (SIDE, SIDE), mode="bilinear")
    return (square - torch.from_numpy(MEAN)[:, None, None]) / torch.from_numpy(STD)[:, None, None]


def assert_reference_embedding(embedding: torch.Tensor, name: str, shared: Path) -> None:
    """The embedding agrees with golden/<name>.npz: on a grid, and per channel everywhere."""
    golden = load_recipe(shared).reference(name)
    ours, largest = embedding.numpy(), np.abs(golden["embedding_s8"]).max()
    assert np.abs(ours[:, :, ::8, ::8] - golden["embedding_s8"]).max() <= (
        EMBEDDING_TOLERANCE * largest
    )
    np.testing.assert_allclose(ours.mean((2, 3)), golden["embedding_mean"], atol=1e-3)
    np.testing.assert_allclose(ours.std((2, 3), ddof=1), golden["embedding_std"], atol=1e-3)


def randomise(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Give every weight and every batch norm statistic a value that matters; eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("num_batches_tracked"):
                continue
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif tensor.ndim <= 1:
                tensor.copy_(0.3 * noise + (1.0 if name.endswith("weight") else 0.0))
            elif tensor.ndim == 4 or name.endswith("weight"):
                tensor.copy_(noise / tensor[0].numel() ** 0.5)
            else:
                tensor.copy_(noise)
    return module.eval()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers, the same in every run."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def relative_error(ours: torch.Tensor, reference: torch.Tensor) -> float:
    """max|a - b| / max|b|."""
    ours, reference = ours.detach(), reference.detach()
    return float((ours - reference).abs().max() / reference.abs().max())
