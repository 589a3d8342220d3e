"""Semantic-SAM against the published code's numbers (../shared/golden), from a checkpoint file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import anymask
from anymask import models
from anymask.masks import image_to_model
from tests.golden.parity import load_recipe

NAME, SIDE = "semantic_sam_swint", 640  # the references' shorter side is 320
WITHIN = 1e-3  # of the largest value


def write_checkpoint(shared: Path, path: Path) -> None:
    """The recipe's weights by the published names; a tensor with several names has one value."""
    recipe = load_recipe(shared)
    names = recipe.shapes(NAME)
    module = models.build(NAME).state_dict()
    first: dict[int, str] = {}
    weights = {}
    for name, shape in names.items():
        own = module[name.removeprefix("model.")]
        known = first.setdefault(own.data_ptr(), name)
        computed = name.endswith("relative_position_index")
        weights[name] = own if computed else torch.from_numpy(recipe.tensor(known, shape))
    torch.save({"model": weights}, path)


def assert_near(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= WITHIN * np.abs(expected).max()


@pytest.fixture(scope="module")
def opened(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp(NAME) / "swint_only_sam_many2many.pth"
    write_checkpoint(shared, path)
    return anymask.load(f"{NAME}@{SIDE}", weights=path, device="cpu")


@pytest.mark.slow
def test_maps_masks_and_scores_are_the_references(opened: Any, shared: Path) -> None:
    reference = np.load(shared / "golden" / f"{NAME}.npz")
    photo = anymask.load_image(shared / "images" / "truck.jpg")
    with Image.open(shared / "images" / "truck.jpg") as image:
        small = np.asarray(image.convert("RGB").resize((480, 320), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(small.transpose(2, 0, 1)[:, ::8, ::8], reference["pixels_s8"])
    features = opened.encode(photo)
    pixels, *maps = [one.values[None] for one in features.maps]
    assert_near(pixels[:, ::4, ::8, ::8], reference["mask_features_s8"])
    for level, values in enumerate(maps):
        assert_near(values[:, ::8, ::4, ::4], reference[f"level{level}"])
    # The reference decodes both clicks in one call, where they attend to each other.
    module = opened.runtime._module
    with torch.inference_mode():
        encoded = module.encode(torch.from_numpy(image_to_model(photo, opened.spec))[None])
        size = reference["in_size"].astype(np.float32)
        points = torch.from_numpy(reference["in_points"][:, :2] * size)
        labels = torch.ones(1, 2, dtype=torch.int64)
        logits, quality = module.decode(encoded, points[None], labels, None, None)
        shown = logits[0, :, :80, :120][None]
        whole = F.interpolate(shown, (320, 480), mode="bilinear", align_corners=False)
    assert_near(quality.numpy().reshape(1, 2, 6), reference["ious"])
    assert_near(whole[0, :, ::6, ::6].numpy(), reference["masks_s6"])


@pytest.mark.slow
def test_a_click_returns_the_six_masks_of_the_network(opened: Any, shared: Path) -> None:
    features = opened.encode(shared / "images" / "truck.jpg")
    height, width = features.image_hw
    answer = opened.segment(features, points=[(0.28 * width, 0.31 * height)])
    with torch.inference_mode():
        at = torch.tensor([[[0.28 * 480, 0.31 * 320]]])
        maps = [torch.from_numpy(one.values[None]) for one in features.maps]
        logits, quality = opened.runtime._module.decode(maps, at, torch.ones(1, 1), None, None)
    assert len(answer) == 6
    np.testing.assert_allclose(answer.scores, np.sort(quality[0].numpy())[::-1], atol=1e-5)
    np.testing.assert_allclose(answer.logits, logits[0].numpy()[answer.order], atol=1e-4)
