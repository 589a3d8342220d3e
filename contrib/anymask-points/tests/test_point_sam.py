"""Point-SAM: the official parameter names, and the outputs of the recipe's weights."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anymask_points import EncodedCloud, PointCloud, load_point_model, point_sam
from tests.golden.parity import load_recipe

TOLERANCE = 1e-3  # of the largest reference value, as ../shared/golden/README.md says


def assert_near(ours: np.ndarray, reference: np.ndarray) -> None:
    assert ours.shape == reference.shape
    assert np.abs(ours - reference).max() <= TOLERANCE * np.abs(reference).max()


def test_parameter_names_and_shapes_are_the_official_ones(shared: Path) -> None:
    stored = json.loads((shared / "golden" / "point_sam_l.shapes.json").read_text("utf-8"))
    with torch.device("meta"):
        model = point_sam.PointModel(point_sam.POINT_SAM_L)
    ours = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert ours == {key.removeprefix("model."): shape for key, shape in stored.items()}


@pytest.mark.slow
def test_point_sam(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, path = load_recipe(shared), tmp_path / "point_sam_l.pt"
    made = recipe.fill(recipe.shapes("point_sam_l"))
    torch.save({"model": {key: torch.from_numpy(value) for key, value in made.items()}}, path)
    reference = dict(recipe.reference("point_sam_l"))
    few = replace(point_sam.PointConfig(), patches=(64, 32))  # as in the reference's run
    monkeypatch.setattr(point_sam, "PointConfig", lambda: few)
    model = load_point_model("point_sam_l", weights=path, device="cpu")
    points, colors = reference["in_xyz"][0], reference["in_rgb"][0]
    # The reference was given the cloud in the coordinates of the model.
    coords = torch.from_numpy(points)
    with torch.inference_mode():
        features = model._module.encode(coords, torch.from_numpy(colors))
    np.testing.assert_array_equal(features.centers, reference["centre_index"][0])
    np.testing.assert_array_equal(features.neighbors.sort(dim=1).values, reference["neighbours"][0])
    np.testing.assert_array_equal(coords[features.centers], reference["centres"][0])
    assert_near(features.tokens.numpy(), reference["embedding"])
    same = EncodedCloud(PointCloud.of(points, colors), np.zeros(3), 1.0, features)
    clicks, labels = reference["in_points"][0], reference["in_labels"][0].tolist()
    first = model.segment(same, clicks[:1])
    order = np.argsort(-reference["point_scores"][0], kind="stable")
    assert_near(first.logits, reference["point_logits"][0][order])
    assert_near(first.scores, reference["point_scores"][0][order])
    refined = model.segment(same, clicks, labels, mask=first.logits[0])
    assert_near(refined.logits, reference["refine_logits"][0])
    assert_near(refined.scores, reference["refine_scores"][0])
