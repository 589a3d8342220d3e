"""Grade annotated masks from 0 to 1 by their features, with the most likely error.

Each feature is expressed as its distance from the usual value in the same dataset, in spreads. For
each kind of error, a logistic regression gives the odds of that error against a correct mask. The
grade combines these odds, assuming one wrong mask for four correct ones. Two linear regressions
predict the IoU with the ground truth, of the mask and of each prediction, to propose a better mask.

All were fitted to masks with synthetic errors on training sets (`python -m research.audit SET ...
--fit FILE` in the repository); the bundled grader was fitted for `nano`. Other models or domains
may require their own.

Letters: N masks, A predictions, F features, G features of a prediction, E kinds of errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anymask.base import DataError, Floats, brief, parse_json
from anymask.evaluation.audit_features import FEATURES, PROMPT_NAMES, MaskFeatures
from anymask.masks import mask_iou

SHIPPED_GRADER = Path(__file__).parents[1] / "assets" / "audit.json"
GRADER_FORMAT = 1
ANSWER_FEATURES = ("quality", "agrees", "mutual", "quality_mutual", *PROMPT_NAMES)
WRONG_SHARE = 0.25  # assumed ratio of wrong to correct masks, over all kinds of errors
MAX_SPREADS = 4.0
MIN_SPREAD = 0.05


@brief
@dataclass(frozen=True, eq=False)
class FeatureScale:
    """Median and interquartile range of each feature, (F,)."""

    middle: Floats
    spread: Floats

    def relative(self, values: Floats) -> Floats:  # (N, F) -> (N, F)
        """Return the distance of each value from the median in spreads, at most MAX_SPREADS."""
        return np.clip(
            (values - self.middle) / (self.spread + MIN_SPREAD), -MAX_SPREADS, MAX_SPREADS
        )


def fit_scale(values: Floats) -> FeatureScale:  # (N, F), N > 0
    """Compute the scale of these features."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
    return FeatureScale(middle, high - low)


@brief
@dataclass(frozen=True, eq=False)
class LinearModel:
    """Linear model, weights @ values + bias, for values (N, F) or (N, G)."""

    weights: Floats
    bias: float

    def __call__(self, values: Floats) -> Floats:  # (N, F) -> (N,)
        return np.asarray(values @ self.weights + self.bias)


@brief
@dataclass(frozen=True, eq=False)
class Grader:
    """Model that grades masks and predicts IoUs."""

    usual: FeatureScale  # Default scale for datasets that are too small to have their own
    errors: tuple[str, ...]  # Kinds of errors
    # Log odds of each kind of error against a correct mask, from relative features
    odds: tuple[LinearModel, ...]
    given: LinearModel  # IoU of the annotated mask with the ground truth, from relative features
    answer: LinearModel  # IoU of a predicted mask with the ground truth, from its features
    about: str = ""  # Description of the fitted data

    def log_odds(
        self, values: Floats, usual: FeatureScale | None = None
    ) -> Floats:  # (N, F) -> (N, E)
        """Return the log odds of each kind of error against a correct mask."""
        relative = (usual or self.usual).relative(values)
        return np.stack([odds(relative) for odds in self.odds], axis=1).clip(-30, 30)

    def grade(self, values: Floats, usual: FeatureScale | None = None) -> Floats:  # (N, F) -> (N,)
        """Return the grade of each mask, 0..1."""
        odds = np.exp(self.log_odds(values, usual)).mean(axis=1)
        return np.asarray(1 / (1 + WRONG_SHARE * odds))

    def guess_given(
        self, values: Floats, usual: FeatureScale | None = None
    ) -> Floats:  # (N, F) -> (N,)
        """Predict the IoU of each mask with the ground truth."""
        return np.clip(self.given((usual or self.usual).relative(values)), 0, 1)

    def best_answer(self, features: MaskFeatures) -> tuple[int, float]:
        """Return the prediction with the highest expected IoU, and that IoU."""
        guesses = self.answer(describe_answers(features))
        best = int(guesses.argmax())
        return best, float(np.clip(guesses[best], 0, 1))


def describe_answers(features: MaskFeatures) -> Floats:  # (A, G)
    """Return the features of each prediction for one mask, in the order of ANSWER_FEATURES."""
    answers = features.answers
    quality = np.array([answer.quality for answer in answers])
    stack = np.stack([answer.mask for answer in answers])
    weights = np.maximum(quality, 0.05)
    mutual = mask_iou(stack, stack)
    np.fill_diagonal(mutual, 0)
    agreement = (mutual @ weights) / np.maximum(weights.sum() - weights, 1e-9)
    kinds = np.array(
        [[answer.prompt_kind == kind for kind in PROMPT_NAMES] for answer in answers], np.float64
    )
    return np.column_stack([quality, features.agrees, agreement, quality * agreement, kinds])


def grader_to_json(grader: Grader) -> dict[str, Any]:
    """Convert a grader to JSON values."""
    return {
        "format": GRADER_FORMAT,
        "about": grader.about,
        "evidence": FEATURES,
        "answers": ANSWER_FEATURES,
        "middle": _numbers(grader.usual.middle),
        "spread": _numbers(grader.usual.spread),
        "odds": {
            error: _linear_to_json(linear)
            for error, linear in zip(grader.errors, grader.odds, strict=True)
        },
        "given": _linear_to_json(grader.given),
        "answer": _linear_to_json(grader.answer),
    }


def _numbers(values: Floats) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _linear_to_json(linear: LinearModel) -> dict[str, Any]:
    return {"bias": float(f"{linear.bias:.5g}"), "weights": _numbers(linear.weights)}


def load_grader(path: str | Path | None = None) -> Grader:
    """Load a grader file, by default the bundled one. Raises DataError."""
    path = SHIPPED_GRADER if path is None else Path(path)
    try:
        raw = parse_json(path.read_bytes(), path)
        got = raw["format"], tuple(raw["evidence"]), tuple(raw["answers"])
        if got != (GRADER_FORMAT, FEATURES, ANSWER_FEATURES):
            raise ValueError("other features")
        return Grader(
            usual=FeatureScale(_array(raw["middle"], FEATURES), _array(raw["spread"], FEATURES)),
            errors=tuple(raw["odds"]),
            odds=tuple(_linear_from_json(row, FEATURES) for row in raw["odds"].values()),
            given=_linear_from_json(raw["given"], FEATURES),
            answer=_linear_from_json(raw["answer"], ANSWER_FEATURES),
            about=str(raw["about"]),
        )
    except (OSError, DataError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not a grader file of format {GRADER_FORMAT}. Omit it, or fit a new one."
        ) from error


def _array(raw: Any, names: Sequence[str]) -> Floats:
    values = np.array(raw, np.float64)
    if values.shape != (len(names),) or not np.isfinite(values).all():
        raise ValueError(f"Expected {len(names)} numbers")
    return values


def _linear_from_json(raw: Any, names: Sequence[str]) -> LinearModel:
    return LinearModel(_array(raw["weights"], names), float(raw["bias"]))
