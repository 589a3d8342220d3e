"""What the second judgement of a proposal weighs: its facts and the judge's word in, a chance out.

Objectness (`predictors/objectness.py`) knows a mask's logits; the network of names looks at its
close-up and says a logit. A logistic regression joins the two.

Letters: n masks, F facts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FACTS = ("known", "said", "quality", "stability", "size")  # F, in the order of `judging_facts`
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


def judging_facts(known: Floats, said: Floats) -> Floats:  # (n, 4), (n,) -> (n, F)
    """The facts of masks.

    known  quality, objectness, stability and share of the photo
    said   the judge's logits
    """
    quality, objectness, stability, cover = known.T
    chance = np.clip(objectness / np.clip(quality, 1e-3, 1), 1e-6, 1 - 1e-6)
    return np.column_stack(
        [
            np.clip(np.log(chance / (1 - chance)), -MOST, MOST),
            np.clip(said, -MOST, MOST),
            quality,
            stability,
            np.log(np.clip(cover, 1e-6, 1)),
        ]
    )
