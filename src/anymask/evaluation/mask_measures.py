"""Measures that give every mask a value, all from one look at its photo.

Letters: N masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anymask.evaluation.metrics import Floats, clicks_needed
from anymask.evaluation.protocols import (
    Goal,
    Segmenter,
    Truth,
    box_scores,
    click_rounds,
    deepest_click,
)
from anymask.evaluation.suite import Settings
from anymask.primitives.spec import PromptKind

NOC_CLICKS = 20
NOC_AT = (0.85, 0.90)

Accepts = frozenset[PromptKind]


@dataclass(frozen=True, kw_only=True)
class MaskMeasure:
    """How one of them works.

    columns  the names of what it gives, for a method that accepts these prompts; none when the
             method cannot be asked so
    score    method, its embedding of a photo, N truths, settings -> (N,) for each of the columns
    """

    columns: Callable[[Accepts, Settings], tuple[str, ...]]
    score: Callable[[Segmenter, Any, Sequence[Truth], Settings], tuple[Floats, ...]]


def click_name(n: int) -> str:
    """The column of n clicks."""
    return "1 click" if n == 1 else f"{n} clicks"


# --- clicks


def _click_columns(accepts: Accepts, settings: Settings) -> tuple[str, ...]:
    if "point" not in accepts:
        return ()
    more = range(2, settings.clicks + 1) if "negative_point" in accepts else ()
    return ("1 click", "oracle", *(click_name(n) for n in more))


def _score_clicks(
    method: Segmenter, embedding: Any, truths: Sequence[Truth], settings: Settings
) -> tuple[Floats, ...]:
    scores = click_rounds(method, embedding, truths, settings.clicks)
    first, *more = scores.ious.T
    return (first, scores.oracle, *more)


# --- a box


def _box_columns(accepts: Accepts, settings: Settings) -> tuple[str, ...]:
    return ("box",) if "box" in accepts else ()


def _score_box(
    method: Segmenter, embedding: Any, truths: Sequence[Truth], settings: Settings
) -> tuple[Floats, ...]:
    return (box_scores(method, embedding, truths),)


# --- clicks to a goal


def _noc_columns(accepts: Accepts, settings: Settings) -> tuple[str, ...]:
    if not {"point", "negative_point"} <= accepts:
        return ()
    return tuple(f"noc{round(100 * at)}" for at in NOC_AT)


def _score_noc(
    method: Segmenter, embedding: Any, truths: Sequence[Truth], settings: Settings
) -> tuple[Floats, ...]:
    goal = Goal(max(NOC_AT), deepest_click)
    ious = click_rounds(method, embedding, truths, NOC_CLICKS, goal).ious
    return tuple(clicks_needed(ious, at).astype(np.float64) for at in NOC_AT)


MASK_MEASURES: dict[str, MaskMeasure] = {
    "clicks": MaskMeasure(columns=_click_columns, score=_score_clicks),
    "box": MaskMeasure(columns=_box_columns, score=_score_box),
    "noc": MaskMeasure(columns=_noc_columns, score=_score_noc),
}
