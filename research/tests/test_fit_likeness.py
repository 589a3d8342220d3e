"""What `find(like=)` learns from pairs: known weights come back, thresholds are counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from research.fit_likeness import logistic, tell_thresholds


def test_the_weights_that_made_the_answers_come_back() -> None:
    rng = np.random.default_rng(0)
    facts = rng.normal(size=(20000, 2)) * (1, 3) + (0, 2)
    told = facts @ (1.5, -0.4) + 0.3
    right = (rng.random(len(facts)) < 1 / (1 + np.exp(-told))).astype(float)
    found = logistic(facts, right, np.ones(len(facts)))
    np.testing.assert_allclose(found, (1.5, -0.4, 0.3), atol=0.1)


def test_what_counts_more_weighs_more() -> None:
    facts = np.zeros((2, 1))
    (_, constant) = logistic(facts, np.array([1.0, 0.0]), np.array([3.0, 1.0]))
    assert constant == pytest.approx(np.log(3), abs=0.02)


def test_thresholds_are_counted_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    # A photo's score is the logit of its likeliest mask's chance, undone: the chance itself.
    rows: list[dict[str, Any]] = [
        {"there": True, "scene": 0.0, "fits": [0.2, 0.6]},
        {"there": False, "scene": 0.0, "fits": [0.0]},
        {"there": True, "scene": 0.0, "fits": [0.9]},
        {"there": False, "scene": 0.0, "fits": []},
    ]
    chances = [np.array(one) for one in ([0.9, 0.3], [0.57], [0.1], [])]
    told = dict(tell_thresholds(rows, chances, (1.0, 0.0, 0.0)))
    assert told[0.55] == 0.5
    assert told[0.6] == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 photos with, 2 without"
    # .3 of .9 is a third; to the power of .7 that is .46 of the photo's .9
    assert "0.40 found where it is 0.500, rightly 0.500, not here 0.500" in lines
    assert "0.60 found where it is 0.500, rightly 0.000, not here 1.000" in lines
