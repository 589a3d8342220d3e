"""The regressions against scipy, and the area under the curve against its definition."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import mannwhitneyu

import anymask
from anymask.evaluation.audit_features import FEATURES
from anymask.segment import Model
from research.audit.__main__ import main
from research.audit.self_test import (
    CLEAN,
    RIDGE,
    SelfTestCase,
    fit_grader,
    fit_linear,
    fit_logistic,
)
from research.audit.self_test_report import evaluate_self_test, roc_auc, self_test_to_markdown
from tests.evaluation.small_sets import write_set
from tests.segment.fakes import ColorRuntime

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


def test_sets_are_tried_and_the_grade_is_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(anymask, "load", lambda *_: Model(ColorRuntime()), raising=False)
    boxes = [[(10, 10, 40, 40), (50, 12, 90, 60)], [(20, 20, 60, 60)]]
    folder = write_set(tmp_path / "set", boxes, hw=(96, 128))
    grades, found = tmp_path / "grades.json", tmp_path / "test.json"
    words = [str(folder), "--masks", "2", "--deletions", "0"]
    assert main([*words, "--fit", str(grades)]) == 0
    assert "each made wrong in 7 ways" in capsys.readouterr().out
    assert main([*words, "--grades", str(grades), "--json", str(found)]) == 0
    assert "| all wrong | " in capsys.readouterr().out
    assert json.loads(found.read_text("utf-8"))["kinds"][0]["kind"] == "clean"
    assert main([str(tmp_path)]) == 2
    assert "Not a set folder" in capsys.readouterr().err
