"""The fit of the scores of text prompts."""

from __future__ import annotations

import numpy as np
import pytest

from research.fit_words import fit


def test_the_fit_finds_the_weights_that_made_the_answers() -> None:
    rng = np.random.default_rng(0)
    facts = rng.normal(size=(20000, 2))
    chance = 1 / (1 + np.exp(-(facts @ [1.5, -0.5] - 1)))
    right = rng.random(20000) < chance
    assert fit(facts, right, np.ones(20000)) == pytest.approx([1.5, -0.5, -1], abs=0.08)
