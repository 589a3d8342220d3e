"""What the judgement of a proposal weighs: its quality and the judge's word in, a chance out.

The model's own quality says how well a mask is drawn; the network of names looks at its close-up
and says whether it is an object, as a logit. A logistic regression joins the two.

Letters: n masks, F facts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FACTS = ("said", "quality")  # F, in the order of `judging_facts`
MOST = 8.0  # of a logit


@dataclass(frozen=True)
class JudgeWeights:
    """A logistic regression.

    direct  F weights        level  of all masks alike        least  objectness of what is shown
    """

    direct: tuple[float, ...]
    level: float
    least: float = 0.0

    def chances(self, facts: Floats) -> Floats:  # (n, F) -> (n,)
        """How likely each mask is an object, 0..1."""
        score = facts @ np.array(self.direct) + self.level
        likely: Floats = 1 / (1 + np.exp(-np.clip(score, -30, 30)))
        return likely


def judging_facts(said: Floats, quality: Floats) -> Floats:  # (n,), (n,) -> (n, F)
    """The facts of masks: the judge's logits, and their quality."""
    return np.column_stack([np.clip(said, -MOST, MOST), quality])
