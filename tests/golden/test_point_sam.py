"""Point-SAM with the recipe's weights, through the public door."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anymask.models import point_sam
from anymask.points import load_point_model
from anymask.points.clicks import EncodedCloud
from anymask.points.cloud import PointCloud
from tests.golden.test_medical import made_weights

TOLERANCE = 1e-3  # of the largest reference value, as ../shared/golden/README.md says


def assert_near(ours: np.ndarray, reference: np.ndarray) -> None:
    assert ours.shape == reference.shape
    assert np.abs(ours - reference).max() <= TOLERANCE * np.abs(reference).max()


@pytest.mark.slow
def test_point_sam(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path, reference = made_weights(shared, "point_sam_l", tmp_path)
    few = replace(point_sam.PointConfig(), patches=(64, 32))  # as in the reference's run
    monkeypatch.setattr(point_sam, "PointConfig", lambda: few)
    model = load_point_model("point_sam_l", weights=path, device="cpu")
    points, colors = reference["in_xyz"][0], reference["in_rgb"][0]
    # The reference was given the cloud in the coordinates of the model.
    coords = torch.from_numpy(points)
    with torch.inference_mode():
        features = model._module.encode(coords, torch.from_numpy(colors))
    np.testing.assert_array_equal(features.centres, reference["centre_index"][0])
    np.testing.assert_array_equal(
        features.neighbours.sort(dim=1).values, reference["neighbours"][0]
    )
    np.testing.assert_array_equal(coords[features.centres], reference["centres"][0])
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
