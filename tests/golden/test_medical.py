"""SAM-Med2D with the recipe's weights, through the public doors."""

from pathlib import Path

import numpy as np
import pytest

import anymask
from tests.golden.parity import LOGITS, QUALITY, assert_embedding, made_weights


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
            np.testing.assert_allclose(answer.scores, scores[order], atol=QUALITY)
            np.testing.assert_allclose(answer.logits[:, ::2, ::2], low, atol=LOGITS)
            best, expected = answer.masks[0][::16, ::16], reference[f"{name}_{case}_logits_s16"][0]
            sure = np.abs(expected) > LOGITS
            np.testing.assert_array_equal(best[sure], expected[sure] > 0)
            if (name, case) == ("point", "multi"):
                first = answer.logits[0]
    points = {"points": reference["in_points_point_coords"],
              "point_labels": reference["in_points_point_labels"]}  # fmt: skip
    refined = model.segment(features, mask=first, multimask=False, **points)
    np.testing.assert_allclose(refined.logits[:, ::2, ::2], reference["refine_lowres"], atol=LOGITS)
