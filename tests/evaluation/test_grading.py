"""What grades say, and their file."""

import json
from pathlib import Path

import numpy as np
import pytest

from anymask.base import DataError
from anymask.evaluation.audit_features import FEATURES
from anymask.evaluation.audit_grading import FeatureScale, fit_scale, grader_to_json, load_grader
from anymask.evaluation.label_errors import ERROR_PHRASES, explain_error

RNG = np.random.default_rng(0)


def test_evidence_counts_by_its_distance_from_what_is_usual() -> None:
    usual = fit_scale(np.arange(101.0)[:, None])
    assert (usual.middle[0], usual.spread[0]) == (50, 50)
    relative = FeatureScale(np.array([1.0]), np.array([0.45])).relative(
        np.array([[1.5], [0.5], [99.0]])
    )
    np.testing.assert_allclose(relative[:, 0], (1, -1, 4))


def test_a_grader_comes_back_from_its_file(tmp_path: Path) -> None:
    grader = load_grader()
    path = tmp_path / "grades.json"
    path.write_text(json.dumps(grader_to_json(grader)), encoding="utf-8")
    found = load_grader(path)
    values = RNG.normal(size=(5, len(FEATURES)))
    np.testing.assert_allclose(found.grade(values), grader.grade(values), atol=1e-3)
    assert (found.errors, found.about) == (grader.errors, grader.about)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "grader file"),
        ('{"format": 1}', "grader file"),
        ('{"format": 2}', "grader file"),
        ("[]", "grader file"),
    ],
)
def test_a_file_that_is_no_grader_is_told(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "grades.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=reason) as caught:
        load_grader(path)
    assert "grades.json is not a grader file" in str(caught.value)


def test_the_shipped_grader_knows_every_kind_and_prefers_careful_masks() -> None:
    grader = load_grader()
    assert set(grader.errors) == set(ERROR_PHRASES)
    usual = grader.usual.middle[None]
    moved = usual.copy()
    for name, value in (
        ("edge_beside", -1.0), ("outline", 0.0), ("on_edge", 0.0), ("box", 0.1), ("best", 0.1),
    ):  # fmt: skip
        moved[0, FEATURES.index(name)] = value
    assert grader.grade(usual)[0] > 0.8 > 0.4 > grader.grade(moved)[0]


def test_reasons_say_what_was_found() -> None:
    values = load_grader().usual.middle.copy()
    values[FEATURES.index("best")] = 0.12
    values[FEATURES.index("parts")] = np.log(30)
    words = explain_error("halved", values, "cup", 50)
    assert words[:2] == ("probably cut off", "30 separate parts")
    assert "no predicted mask is similar at this location (best IoU 0.12)" in words
