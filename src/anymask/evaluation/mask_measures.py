"""Measures mask by mask: a method and true masks in, a score a mask out.

Letters: N masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anymask.base import Floats
from anymask.evaluation.metrics import boundary_iou, clicks_needed
from anymask.evaluation.protocols import (
    BOX,
    CLICKS,
    Goal,
    Segmenter,
    TruthMask,
    ask_in_parts,
    box_scores,
    click_masks,
    click_rounds,
    deepest_click,
    score_first,
    tight_box,
)
from anymask.evaluation.selection import EvalSettings
from anymask.masks import Prompt, PromptKind, centre_click

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

    columns: Callable[[Accepts, EvalSettings], tuple[str, ...]]
    score: Callable[[Segmenter, Any, Sequence[TruthMask], EvalSettings], tuple[Floats, ...]]


def click_name(n: int) -> str:
    """The column of n clicks."""
    return "1 click" if n == 1 else f"{n} clicks"


def columns_of(needed: Accepts, *names: str) -> Callable[[Accepts, EvalSettings], tuple[str, ...]]:
    """These columns for every method that accepts what is needed."""
    return lambda accepts, settings: names if needed <= accepts else ()


def _click_columns(accepts: Accepts, settings: EvalSettings) -> tuple[str, ...]:
    if "point" not in accepts:
        return ()
    more = range(2, settings.clicks + 1) if "negative_point" in accepts else ()
    return ("1 click", "oracle", *(click_name(n) for n in more))


def _score_clicks(
    method: Segmenter, embedding: Any, truths: Sequence[TruthMask], settings: EvalSettings
) -> tuple[Floats, ...]:
    scores = click_rounds(method, embedding, truths, settings.clicks)
    first, *more = scores.ious.T
    return (first, scores.oracle, *more)


def _score_box(
    method: Segmenter, embedding: Any, truths: Sequence[TruthMask], settings: EvalSettings
) -> tuple[Floats, ...]:
    return (box_scores(method, embedding, truths),)


def _score_noc(
    method: Segmenter, embedding: Any, truths: Sequence[TruthMask], settings: EvalSettings
) -> tuple[Floats, ...]:
    goal = Goal(max(NOC_AT), deepest_click)
    ious = click_rounds(method, embedding, truths, NOC_CLICKS, goal).ious
    return tuple(clicks_needed(ious, at).astype(np.float64) for at in NOC_AT)


def _boundary_columns(accepts: Accepts, settings: EvalSettings) -> tuple[str, ...]:
    asked = (("point", "1 click"), ("box", "box"))
    return tuple(f"boundary {name}" for kind, name in asked if kind in accepts)


def _score_boundary(
    method: Segmenter, embedding: Any, truths: Sequence[TruthMask], settings: EvalSettings
) -> tuple[Floats, ...]:
    """Of the first ranked mask of a click at the centre, and of the mask of the box."""
    answers = []
    if "point" in method.spec.accepts:
        clicks = [centre_click(truth.mask) for truth in truths]
        answers.append(click_masks(method, embedding, clicks))
    if "box" in method.spec.accepts:
        prompts = [Prompt(box=tight_box(truth.mask)) for truth in truths]
        answers.append(ask_in_parts(method, embedding, prompts, multimask=False))
    return tuple(score_first(some, truths, boundary_iou) for some in answers)


_NOC = tuple(f"noc{round(100 * at)}" for at in NOC_AT)

MASK_MEASURES: dict[str, MaskMeasure] = {
    "clicks": MaskMeasure(columns=_click_columns, score=_score_clicks),
    "box": MaskMeasure(columns=columns_of(BOX, "box"), score=_score_box),
    "noc": MaskMeasure(columns=columns_of(CLICKS, *_NOC), score=_score_noc),
    "boundary": MaskMeasure(columns=_boundary_columns, score=_score_boundary),
}
