"""The regressions against scipy, the files, and the area under the curve against its definition."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import mannwhitneyu

from anymask.audit.explanations import ERROR_PHRASES, explain_error
from anymask.audit.grading import (
    RIDGE,
    FeatureScale,
    fit_linear,
    fit_logistic,
    fit_scale,
    grader_to_json,
    load_grader,
)
from anymask.audit.mask_features import FEATURES
from anymask.audit.self_test import CLEAN, SelfTestCase, fit_grader
from anymask.audit.self_test_report import evaluate_self_test, roc_auc, self_test_to_markdown
from anymask.primitives.errors import DataError

RNG = np.random.default_rng(0)


def test_the_logistic_regression_is_the_minimum_that_scipy_finds() -> None:
    values = RNG.normal(size=(80, 3)) * (1, 5, 0.2)
    wrong = (values[:, 0] + RNG.normal(size=80) > 0).astype(float)
    weights = RNG.uniform(0.5, 2, 80)
    scale = values.std(axis=0) + 1e-6

    def loss(free: np.ndarray) -> float:
        logit = values / scale @ free[:3] + free[3]
        return weights @ (np.logaddexp(0, logit) - wrong * logit) + RIDGE / 2 * free[:3] @ free[:3]

    best = minimize(loss, np.zeros(4), method="BFGS").x
    found = fit_logistic(values, wrong, weights)
    np.testing.assert_allclose(found.weights * scale, best[:3], atol=1e-4)
    assert found.bias == pytest.approx(best[3], abs=1e-4)


def test_the_linear_regression_finds_a_line_up_to_its_ridge() -> None:
    values = RNG.normal(size=(5000, 2))
    found = fit_linear(values, values @ (0.5, -0.25) + 0.1, np.ones(5000))
    np.testing.assert_allclose(found.weights, (0.5, -0.25), atol=2e-3)
    assert found.bias == pytest.approx(0.1, abs=1e-3)


def test_evidence_counts_by_its_distance_from_what_is_usual() -> None:
    usual = fit_scale(np.arange(101.0)[:, None])
    assert (usual.middle[0], usual.spread[0]) == (50, 50)
    relative = FeatureScale(np.array([1.0]), np.array([0.45])).relative(
        np.array([[1.5], [0.5], [99.0]])
    )
    np.testing.assert_allclose(relative[:, 0], (1, -1, 4))


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=20),
    st.lists(st.integers(0, 5), min_size=1, max_size=20),
)
def test_the_area_under_the_curve_is_that_of_the_rank_test(low: list, high: list) -> None:
    statistic = mannwhitneyu(high, low).statistic
    assert roc_auc(np.array(low), np.array(high)) == pytest.approx(statistic / len(low) / len(high))


def some_cases(name: str, rng: np.random.Generator) -> list[SelfTestCase]:
    """Wrong masks have a low agreement; the first answer is right, the second one is not."""
    cases = []
    for number in range(60):
        kind = (CLEAN, "shifted")[number % 2]
        values = rng.normal(size=len(FEATURES))
        values[FEATURES.index("box")] -= 6 * (kind != CLEAN)
        answers = rng.uniform(size=(2, 9))
        answers[:, 0] = (0.9, 0.1)
        given = 1.0 if kind == CLEAN else 0.4
        truths = np.array([0.9, 0.1])
        cases.append(
            SelfTestCase(
                name=name, kind=kind, values=values, answers=answers, truths=truths, given=given
            )
        )
    return cases


def test_a_fitted_grader_tells_what_it_was_fitted_to_in_other_sets() -> None:
    grader = fit_grader(some_cases("one", np.random.default_rng(1)), "one")
    result = evaluate_self_test(grader, some_cases("two", np.random.default_rng(2)), [])
    clean, shifted, wrong = result.kinds
    assert (clean.kind, shifted.kind, wrong.kind) == ("clean", "shifted", "all wrong")
    assert shifted.auc > 0.95
    assert clean.caught < 0.1 < 0.4 < shifted.caught
    assert shifted.before == pytest.approx(0.4)
    assert shifted.after == pytest.approx(0.9)
    assert "| shifted | 30 | " in self_test_to_markdown(result)


def test_a_grader_comes_back_from_its_file(tmp_path: Path) -> None:
    grader = fit_grader(some_cases("one", np.random.default_rng(1)), "one")
    path = tmp_path / "grades.json"
    path.write_text(json.dumps(grader_to_json(grader)), encoding="utf-8")
    found = load_grader(path)
    values = RNG.normal(size=(5, len(FEATURES)))
    np.testing.assert_allclose(found.grade(values), grader.grade(values), atol=1e-3)
    assert (found.errors, found.about) == (("shifted",), "one")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "DataError: .*not JSON"),
        ('{"format": 1}', "KeyError: 'evidence'"),
        ('{"format": 2}', "its format is another one"),
        ("[]", "TypeError"),
    ],
)
def test_a_file_that_is_no_grader_is_told(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "grades.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=reason) as caught:
        load_grader(path)
    assert "grades.json: not what `anymask audit --self-test --fit` writes" in str(caught.value)


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
    assert words[:2] == ("it looks cut off", "it falls into 30 parts")
    assert "the model finds nothing like it there (best IoU 0.12)" in words
