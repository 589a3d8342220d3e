"""SAM-Med3D with the recipe's weights against the reference's numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from anymask.volumes import Volume
from anymask_families import load_cube_model
from anymask_families.cubes import CubeFeatures, CubePlace
from anymask_families.sam_med3d import CubeModel
from tests.golden.parity import LOGITS, QUALITY, assert_embedding, made_weights


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
            np.testing.assert_allclose(low, reference[f"{name}_lowres_s2"], atol=LOGITS)
            np.testing.assert_allclose(
                quality[:, tokens], reference[f"{name}_scores"], atol=QUALITY
            )
            if name == "point":
                first = logits[0, 0].numpy()
    # A scan of the cube's own voxels: its x is the cube's first axis.
    scan = Volume(cube[0, 0].transpose(2, 1, 0), np.diag([1.5, 1.5, 1.5, 1.0]))
    encoded = CubeFeatures(CubePlace.around(scan, np.full(3, 64.0), 128), features)
    kinds = reference["in_labels"][0].tolist()
    answer = model.segment(encoded, reference["in_points"][0][:, ::-1], kinds, mask=first)
    np.testing.assert_allclose(answer.scores, reference["refine_scores"][0], atol=QUALITY)
    np.testing.assert_allclose(
        answer.logits[:, ::2, ::2, ::2], reference["refine_lowres_s2"][0], atol=LOGITS
    )
    expected = reference["refine_logits_s8"][0, 0]
    sure = np.abs(expected) > LOGITS
    found = answer.mask.transpose(2, 1, 0)[::8, ::8, ::8]
    np.testing.assert_array_equal(found[sure], expected[sure] > 0)
