"""Explanations of a grade: the features of a mask in, sentences about what is unusual out.

Letters: F features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from anymask.audit.mask_features import FEATURES
from anymask.primitives.types import Floats

MOST_REASONS = 3  # features in the reasons of one mask
TINY_AREA = 64  # pixels
ERROR_PHRASES = {
    "shifted": "it looks moved",
    "dilated": "it looks too large all around",
    "eroded": "it looks too small all around",
    "halved": "it looks cut off",
    "merged": "it looks like several objects in one",
    "swapped": "it fits nothing in this place",
    "coarse": "its outline looks rough",
}


@dataclass(frozen=True)
class ExplainedMask:
    """One mask as the rules see it: its features (F,), its label or None, its pixels."""

    values: Floats
    label: str | None
    area: int

    def at(self, name: str) -> float:
        """One feature by its name."""
        return float(self.values[FEATURES.index(name)])

    @property
    def parts(self) -> int:
        return round(float(np.exp(self.at("parts"))))

    @property
    def holes(self) -> int:
        return round(float(np.expm1(self.at("holes"))))


@dataclass(frozen=True)
class ExplanationRule:
    """One thing that can be wrong.

    weight  how badly it is so, about 0..1; not above 0: it is not
    words   how to say it
    """

    weight: Callable[[ExplainedMask], float]
    words: Callable[[ExplainedMask], str]


def explain_error(error: str, values: Floats, label: str | None, area: int) -> tuple[str, ...]:
    """What the mask looks like, then its unusual features, the heaviest first.

    error  the kind of error that it resembles most
    """
    case = ExplainedMask(values, label, area)
    weighed = [(rule.weight(case), rule) for rule in EXPLANATION_RULES]
    holding = sorted((pair for pair in weighed if pair[0] > 0), key=lambda pair: -pair[0])
    looks = ERROR_PHRASES.get(error, f"it looks {error}")
    return (looks, *(rule.words(case) for _, rule in holding[:MOST_REASONS]))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _many(number: int, usual: int) -> float:
    return 0.2 * float(np.sqrt(max(number - usual, 0)))


EXPLANATION_RULES: tuple[ExplanationRule, ...] = (
    ExplanationRule(
        lambda case: 0.55 - case.at("best"),
        lambda case: f"the model finds nothing like it there (best IoU {case.at('best'):.2f})",
    ),
    ExplanationRule(
        lambda case: 0.7 * (case.at("inside_clicks") - case.at("of_clicks") - 0.2),
        lambda case: (
            "the object goes on where the mask ends: the mask is "
            f"{_percent(case.at('of_clicks'))} of what clicks inside it find"
        ),
    ),
    ExplanationRule(
        lambda case: 0.7 * (case.at("of_clicks") - case.at("inside_clicks") - 0.2),
        lambda case: (
            "it takes in more than its object: clicks inside it find "
            f"{_percent(case.at('inside_clicks'))} of it"
        ),
    ),
    ExplanationRule(
        lambda case: 0.4 * (0.3 - case.at("one_object")),
        lambda case: "clicks at two places inside it find two things",
    ),
    ExplanationRule(
        lambda case: 0.5 * (0.6 - case.at("outline")),
        lambda case: f"the model draws another outline (agreement {case.at('outline'):.2f})",
    ),
    ExplanationRule(
        lambda case: -0.7 * case.at("edge_beside"),
        lambda case: "the photo's edges lie beside its outline",
    ),
    ExplanationRule(
        lambda case: 0.6 * (case.at("bare_stretch") - 0.25),
        lambda case: f"a stretch of {_percent(case.at('bare_stretch'))} of its outline has no edge",
    ),
    ExplanationRule(
        lambda case: 0.4 * (0.3 - case.at("contrast")),
        lambda case: "both sides of its outline look alike",
    ),
    ExplanationRule(
        lambda case: case.at("swallows") - 0.6,
        lambda case: f"it covers {_percent(case.at('swallows'))} of another mask",
    ),
    ExplanationRule(
        lambda case: _many(case.parts, 4), lambda case: f"it falls into {case.parts} parts"
    ),
    ExplanationRule(lambda case: _many(case.holes, 3), lambda case: f"it has {case.holes} holes"),
    ExplanationRule(
        lambda case: 0.15 * (case.at("odd_size") - 2.5),
        lambda case: "its size is unusual " + (f"for {case.label!r}" if case.label else "here"),
    ),
    ExplanationRule(
        lambda case: 0.1 * (case.area < TINY_AREA), lambda case: f"it has {case.area} pixels"
    ),
)
