"""Measures mask by mask: a method and true masks in, a score a mask out.

Letters: N masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from anymask.evaluation.metrics import boundary_iou, clicks_needed
from anymask.evaluation.perturbation import PERTURBATIONS, Perturbation, noisy_box, perturb_mask
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
from anymask.primitives.clicks import centre_click
from anymask.primitives.masks import iou
from anymask.primitives.prompts import Prompt
from anymask.primitives.spec import PromptKind
from anymask.primitives.types import Floats

NOC_CLICKS = 20
NOC_AT = (0.85, 0.90)
NOISE = (0.05, 0.10, 0.20)

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


def _columns_of(needed: Accepts, *names: str) -> Callable[[Accepts, EvalSettings], tuple[str, ...]]:
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


def _score_noisy(
    method: Segmenter, embedding: Any, truths: Sequence[TruthMask], settings: EvalSettings
) -> tuple[Floats, ...]:
    return tuple(
        box_scores(method, embedding, truths, partial(noisy_box, level=level)) for level in NOISE
    )


def _score_refine(
    method: Segmenter, embedding: Any, truths: Sequence[TruthMask], settings: EvalSettings
) -> tuple[Floats, ...]:
    pairs = [refine_scores(method, embedding, truths, spoil) for spoil in PERTURBATIONS]
    return tuple(scores for pair in pairs for scores in pair)


def refine_scores(
    segmenter: Segmenter, embedding: Any, truths: Sequence[TruthMask], spoil: Perturbation
) -> tuple[Floats, Floats]:  # (N,), (N,)
    """The IoU of spoiled masks, and of what the method makes of them.

    A method with `refine(embedding, mask)` is asked by it, any other by a mask prompt alone.
    """
    starts = [perturb_mask(truth.mask, spoil) for truth in truths]
    refine = getattr(segmenter, "refine", None)
    if refine:
        answers = [refine(embedding, start) for start in starts]
    else:
        prompts = [Prompt.of(mask=start) for start in starts]
        answers = list(segmenter.segment(embedding, prompts=prompts, multimask=False))
    before = [iou(s, t.mask, t.ignore) for s, t in zip(starts, truths, strict=True)]
    return np.array(before), score_first(answers, truths)


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


MASK: Accepts = frozenset({"mask"})
_NOC = tuple(f"noc{round(100 * at)}" for at in NOC_AT)
_NOISY = tuple(f"box ±{level:.0%}" for level in NOISE)
_REFINED = tuple(name for kind in PERTURBATIONS for name in (kind, f"{kind}, refined"))

MASK_MEASURES: dict[str, MaskMeasure] = {
    "clicks": MaskMeasure(columns=_click_columns, score=_score_clicks),
    "box": MaskMeasure(columns=_columns_of(BOX, "box"), score=_score_box),
    "noc": MaskMeasure(columns=_columns_of(CLICKS, *_NOC), score=_score_noc),
    "noisy-box": MaskMeasure(columns=_columns_of(BOX, *_NOISY), score=_score_noisy),
    "refine": MaskMeasure(columns=_columns_of(MASK, *_REFINED), score=_score_refine),
    "boundary": MaskMeasure(columns=_boundary_columns, score=_score_boundary),
}
