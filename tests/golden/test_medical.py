"""SAM-Med2D and SAM-Med3D with the recipe's weights, through the public doors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import anymask
from anymask.models.sam_med3d import CubeModel
from anymask.volumes import Volume, load_cube_model
from anymask.volumes.cubes import CubePlace, SeenCube
from tests.golden.parity import assert_embedding, load_recipe

LOW, SCORES = 1e-2, 1e-3  # absolute, as ../shared/golden/README.md says


def made_weights(shared: Path, name: str, folder: Path) -> tuple[Any, Path, dict[str, np.ndarray]]:
    """The recipe, its weights as a file, and the reference's outputs."""
    recipe = load_recipe(shared)
    path = folder / f"{name}.pt"
    made = recipe.fill(recipe.shapes(name))
    torch.save({"model": {key: torch.from_numpy(value) for key, value in made.items()}}, path)
    return recipe, path, dict(recipe.reference(name))


@pytest.mark.slow
def test_sam_med2d(shared: Path, tmp_path: Path) -> None:
    _, path, reference = made_weights(shared, "sam_med2d_b", tmp_path)
    model = anymask.load("sam_med2d_b", weights=path, device="cpu")
    features = model.encode(shared / "images" / "truck.jpg")
    assert_embedding(features.maps[0].values[None], reference["embedding"])
    for name in ("point", "points", "box"):
        asked = {
            ours: reference[f"in_{name}_{theirs}"]
            for ours, theirs in (
                ("points", "point_coords"), ("point_labels", "point_labels"), ("box", "box"),
            )
            if f"in_{name}_{theirs}" in reference
        }  # fmt: skip
        for case, many in (("multi", True), ("single", False)):
            answer = model.segment(features, multimask=many, **asked)
            scores = reference[f"{name}_{case}_all_scores"][0]
            order = np.argsort(-scores, kind="stable")  # the best first, which theirs keeps alone
            low = reference[f"{name}_{case}_all_lowres_s2"][order]
            np.testing.assert_allclose(answer.scores, scores[order], atol=SCORES)
            np.testing.assert_allclose(answer.logits[:, ::2, ::2], low, atol=LOW)
            best, wanted = answer.masks[0][::16, ::16], reference[f"{name}_{case}_logits_s16"][0]
            sure = np.abs(wanted) > LOW
            np.testing.assert_array_equal(best[sure], wanted[sure] > 0)
            if (name, case) == ("point", "multi"):
                first = answer.logits[0]
    points = {"points": reference["in_points_point_coords"],
              "point_labels": reference["in_points_point_labels"]}  # fmt: skip
    refined = model.segment(features, mask=first, multimask=False, **points)
    np.testing.assert_allclose(refined.logits[:, ::2, ::2], reference["refine_lowres"], atol=LOW)


@pytest.mark.slow
def test_sam_med3d(shared: Path, tmp_path: Path) -> None:
    recipe, path, reference = made_weights(shared, "sam_med3d_b", tmp_path)
    model = load_cube_model("sam_med3d_b", weights=path, device="cpu")
    module = model._module
    assert isinstance(module, CubeModel)
    generator = np.random.Generator(np.random.PCG64(recipe.SEED))
    cube = generator.standard_normal((1, 1, 128, 128, 128), dtype=np.float32)
    with torch.inference_mode():
        features = module.encode(torch.from_numpy(cube))
        assert_embedding(features[:, :, ::2, ::2, ::2].numpy(), reference["embedding_s2"])
        coords = np.concatenate([reference["in_points"], np.zeros((1, 1, 3), np.float32)], axis=1)
        labels = np.array([[*reference["in_labels"][0], -1]])
        for name, of_points, tokens in (
            ("point", [0, 2], slice(0, 1)), ("points_multi", [0, 1, 2], slice(1, 4)),
        ):  # fmt: skip
            at, kinds = coords[:, of_points], labels[:, of_points]
            logits, quality = module.decode(
                features, torch.from_numpy(at), torch.from_numpy(kinds), None
            )
            low = logits[:, tokens, ::2, ::2, ::2].numpy()
            np.testing.assert_allclose(low, reference[f"{name}_lowres_s2"], atol=LOW)
            np.testing.assert_allclose(quality[:, tokens], reference[f"{name}_scores"], atol=SCORES)
            if name == "point":
                first = logits[0, 0].numpy()
    # A scan of the cube's own voxels: its x is the cube's first axis.
    scan = Volume(cube[0, 0].transpose(2, 1, 0), np.diag([1.5, 1.5, 1.5, 1.0]))
    seen = SeenCube(CubePlace.around(scan, np.full(3, 64.0), 128), features)
    kinds = reference["in_labels"][0].tolist()
    answer = model.segment(seen, reference["in_points"][0][:, ::-1], kinds, mask=first)
    np.testing.assert_allclose(answer.scores, reference["refine_scores"][0], atol=SCORES)
    np.testing.assert_allclose(
        answer.logits[:, ::2, ::2, ::2], reference["refine_lowres_s2"][0], atol=LOW
    )
    wanted = reference["refine_logits_s8"][0, 0]
    sure = np.abs(wanted) > LOW
    found = answer.mask.transpose(2, 1, 0)[::8, ::8, ::8]
    np.testing.assert_array_equal(found[sure], wanted[sure] > 0)
