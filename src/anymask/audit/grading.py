"""From evidence to a grade, 0..1: how likely a mask is a careful one; and what may be wrong.

Each piece of evidence is taken by how far it lies from what is usual in the mask's own data set, in
spreads. For every kind of error (`corruptions`) a logistic regression says how much more the
evidence looks like that error than like a careful mask; the grade sets these odds against one
another, with one wrong mask for four careful ones. Two linear regressions guess the IoU with the
truth, of the mask and of each answer of the model, so that a better mask can be proposed.

All were fitted to masks made wrong on purpose, on training sets, by `anymask audit SET ...
--self-test --fit FILE`; what the package ships was fitted for `nano`. Another model or field may
want its own.

Letters: N masks, A answers, F pieces of evidence, G pieces about an answer, E kinds of errors.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anymask.audit.mask_features import KINDS, NAMES, Evidence
from anymask.primitives.errors import DataError
from anymask.primitives.masks import mask_iou
from anymask.primitives.types import Float64Array

SHIPPED = Path(__file__).parents[1] / "assets" / "audit.json"
FORMAT = 1
ANSWER_NAMES = ("quality", "agrees", "mutual", "quality_mutual", *KINDS)
WRONG = 0.25  # wrong masks for each careful one, of all kinds together
RIDGE = 5.0
STEPS = 30
MOST_SPREADS = 4.0
LEAST_SPREAD = 0.05


@dataclass(frozen=True, eq=False)
class Usual:
    """Of each piece of evidence the median and the width of its middle half, (F,)."""

    middle: Float64Array
    spread: Float64Array

    def relative(self, values: Float64Array) -> Float64Array:  # (N, F) -> (N, F)
        """How many spreads each value lies from the middle, at most MOST_SPREADS."""
        return np.clip(
            (values - self.middle) / (self.spread + LEAST_SPREAD), -MOST_SPREADS, MOST_SPREADS
        )


def usual_of(values: Float64Array) -> Usual:  # (N, F), N > 0
    """What is usual among these masks."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
    return Usual(middle, high - low)


@dataclass(frozen=True, eq=False)
class Linear:
    """weights @ values + bias, of (N, F) or (N, G) values."""

    weights: Float64Array
    bias: float

    def __call__(self, values: Float64Array) -> Float64Array:  # (N, F) -> (N,)
        result: Float64Array = values @ self.weights + self.bias
        return result


@dataclass(frozen=True, eq=False)
class Grader:
    """Grades masks and guesses IoUs.

    usual   where a data set is too small to say itself
    errors  the kinds of errors, and for each the log odds against a careful mask
    odds    one for each of `errors`, of relative evidence
    given   the IoU of the mask with the truth, of relative evidence
    answer  the same of an answer, of what is known about it
    about   what it was fitted to, in words
    """

    usual: Usual
    errors: tuple[str, ...]
    odds: tuple[Linear, ...]
    given: Linear
    answer: Linear
    about: str = ""

    def log_odds(
        self, values: Float64Array, usual: Usual | None = None
    ) -> Float64Array:  # (N, F) -> (N, E)
        """For each kind of error, against a careful mask."""
        relative = (usual or self.usual).relative(values)
        return np.stack([np.clip(odds(relative), -30, 30) for odds in self.odds], axis=1)

    def grade(
        self, values: Float64Array, usual: Usual | None = None
    ) -> Float64Array:  # (N, F) -> (N,)
        """0..1 for each mask."""
        odds = np.exp(self.log_odds(values, usual)).mean(axis=1)
        grades: Float64Array = 1 / (1 + WRONG * odds)
        return grades

    def guess_given(
        self, values: Float64Array, usual: Usual | None = None
    ) -> Float64Array:  # (N, F) -> (N,)
        """The IoU that each mask may have with the truth."""
        return np.clip(self.given((usual or self.usual).relative(values)), 0, 1)

    def best_answer(self, evidence: Evidence) -> tuple[int, float]:
        """The answer with the highest guessed IoU, and that IoU."""
        guesses = self.answer(answer_values(evidence))
        best = int(guesses.argmax())
        return best, float(np.clip(guesses[best], 0, 1))


def answer_values(evidence: Evidence) -> Float64Array:  # (A, G)
    """What is known about each answer to one mask, in the order of ANSWER_NAMES."""
    answers = evidence.answers
    quality = np.array([answer.quality for answer in answers])
    stack = np.stack([answer.mask for answer in answers])
    weights = np.maximum(quality, 0.05)
    mutual = mask_iou(stack, stack)
    np.fill_diagonal(mutual, 0)
    agreement = (mutual @ weights) / np.maximum(weights.sum() - weights, 1e-9)
    kinds = np.array([[answer.asked == kind for kind in KINDS] for answer in answers], np.float64)
    columns = [quality, evidence.agrees, agreement, quality * agreement]
    return np.column_stack([*columns, kinds])


# Fitting.


def fit_logistic(
    values: Float64Array, wrong: Float64Array, weights: Float64Array
) -> Linear:  # (N, F), (N,), (N,)
    """Newton's method with a ridge on all but the bias; `wrong` is 1 or 0."""
    table, scale, ridge = _table(values)
    found = np.zeros(table.shape[1])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(table @ found, -30, 30)))
        slope = table.T @ (weights * (chance - wrong)) + ridge @ found
        bend = (table * (weights * chance * (1 - chance))[:, None]).T @ table + ridge
        found = found - np.linalg.solve(bend, slope)
    return Linear(found[:-1] / scale, float(found[-1]))


def fit_linear(
    values: Float64Array, wanted: Float64Array, weights: Float64Array
) -> Linear:  # (N, F), (N,), (N,)
    """Weighted least squares with a ridge on all but the bias."""
    table, scale, ridge = _table(values)
    bend = (table * weights[:, None]).T @ table + ridge
    found = np.linalg.solve(bend, table.T @ (weights * wanted))
    return Linear(found[:-1] / scale, float(found[-1]))


def _table(values: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Values of one spread with a column of ones, that spread, and the ridge."""
    scale = values.std(axis=0) + 1e-6
    table = np.column_stack([values / scale, np.ones(len(values))])
    ridge = RIDGE * np.eye(table.shape[1])
    ridge[-1, -1] = 0
    return table, scale, ridge


# Files.


def grader_to_json(grader: Grader) -> dict[str, Any]:
    """Everything, ready for JSON."""
    return {
        "format": FORMAT,
        "about": grader.about,
        "evidence": NAMES,
        "answers": ANSWER_NAMES,
        "middle": _numbers(grader.usual.middle),
        "spread": _numbers(grader.usual.spread),
        "odds": {
            error: _linear_to_json(linear)
            for error, linear in zip(grader.errors, grader.odds, strict=True)
        },
        "given": _linear_to_json(grader.given),
        "answer": _linear_to_json(grader.answer),
    }


def _numbers(values: Float64Array) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _linear_to_json(linear: Linear) -> dict[str, Any]:
    return {"bias": float(f"{linear.bias:.5g}"), "weights": _numbers(linear.weights)}


def load_grader(path: str | Path | None = None) -> Grader:
    """What `--fit` wrote; what the package ships when left out. Raises DataError."""
    path = SHIPPED if path is None else Path(path)
    try:
        raw = json.loads(path.read_bytes())
        for key, wanted in (("format", FORMAT), ("evidence", NAMES), ("answers", ANSWER_NAMES)):
            got = tuple(raw[key]) if isinstance(raw[key], list) else raw[key]
            if got != wanted:
                raise ValueError(f"its {key} is another one")
        return Grader(
            usual=Usual(_array(raw["middle"], NAMES), _array(raw["spread"], NAMES)),
            errors=tuple(raw["odds"]),
            odds=tuple(_linear_from_json(one, NAMES) for one in raw["odds"].values()),
            given=_linear_from_json(raw["given"], NAMES),
            answer=_linear_from_json(raw["answer"], ANSWER_NAMES),
            about=str(raw["about"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not what `anymask audit --self-test --fit` writes "
            f"({type(error).__name__}: {error}); fit again"
        ) from error


def _array(raw: Any, names: Sequence[str]) -> Float64Array:
    values = np.array(raw, np.float64)
    if values.shape != (len(names),) or not np.isfinite(values).all():
        raise ValueError(f"wanted {len(names)} numbers")
    return values


def _linear_from_json(raw: Any, names: Sequence[str]) -> Linear:
    return Linear(_array(raw["weights"], names), float(raw["bias"]))
