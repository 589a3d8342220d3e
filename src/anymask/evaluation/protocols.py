"""Click and box protocols: IoU of the masks that a segmenter predicts for simulated prompts.

    click rounds   the first click is the center of the object, each next one the center of the
                   largest error, with all clicks together and the last prediction as `previous`
                   (Segment Anything, section 7.1 and appendix D; RITM, arXiv 2102.06583). The
                   single first click can be ambiguous, so it gets several candidates: the one
                   ranked first counts, and the best of them is the oracle
    clicks needed  the same up to a goal, with each click at the innermost pixel of any error, as in
                   RITM, so that the numbers are comparable with published ones
    box            the tight box of the object, one mask

A model is evaluated with the default settings of `Model.segment`. All prompts of one image are
passed in one call. Letters: H W the image, N masks, C clicks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, Floats, UintImage, brief
from anymask.masks import (
    Click,
    ModelSpec,
    Prompt,
    PromptKind,
    center_click,
    deepest_pixel,
    iou,
    next_click,
)

BOX_KINDS: frozenset[PromptKind] = frozenset({"box"})
CLICK: frozenset[PromptKind] = frozenset({"point"})
CLICK_KINDS: frozenset[PromptKind] = frozenset({"point", "negative_point"})
PROMPTS_A_CALL = 64  # limits memory for large masks


class NotMeasured(Exception):
    """A method or dataset does not support a measure; the text is the reason in the report."""


class SegmenterAnswer(Protocol):
    """Masks that a segmenter predicts for one prompt, best first, such as a `Prediction`."""

    @property
    def masks(self) -> BoolArray:
        """(K, H, W) in image pixels."""
        ...


@dataclass(frozen=True, eq=False)
class PlainAnswer:
    """Predicted masks (K, H, W) bool, best first, with scores (K,) or None."""

    masks: BoolArray
    scores: Floats | None = None


class Segmenter(Protocol):
    """Interface of methods that predict masks from prompts: models, baselines, other projects.

    `spec.name` is the name in tables, `spec.accepts` the supported prompt types.
    """

    @property
    def spec(self) -> ModelSpec: ...

    def encode(self, image: UintImage) -> Any:
        """Encode an image (H, W, 3); the result is passed to `segment`."""
        ...

    def segment(
        self, embedding: Any, *, prompts: Sequence[Prompt], previous: Sequence[Any] | None = None
    ) -> Sequence[SegmenterAnswer]:
        """Predict masks for N prompts of equal length, in order.

        Args:
            previous: Previous predictions that the last click of each prompt corrects; only
                passed to methods that support mask prompts.
        """
        ...


@brief
@dataclass(frozen=True)
class TruthMask:
    """Ground truth mask (H, W), and ignored pixels."""

    mask: BoolArray
    ignore: BoolArray | None = None


@dataclass(frozen=True)
class ClickScores:
    """IoUs (N, C) after each click, repeated if no further click was made; oracle (N,), the best
    candidate for the first click."""

    ious: Floats
    oracle: Floats


def harm_of(ious: Floats, drop: float) -> Floats:  # (N, C) -> (N,)
    """Return the fraction of further clicks that lower the IoU of each mask by more than `drop`."""
    return np.asarray((ious[:, :-1] - ious[:, 1:] > drop).mean(axis=1))


NextClick = Callable[[BoolArray, TruthMask], Click | None]


def largest_click(prediction: BoolArray, truth: TruthMask) -> Click | None:
    """Return the center of the largest error region (Segment Anything)."""
    return next_click(prediction, truth.mask, ignore=truth.ignore)


def deepest_click(prediction: BoolArray, truth: TruthMask) -> Click | None:
    """Return the innermost pixel of any error, missing or surplus (RITM); None without errors."""
    counted = np.True_ if truth.ignore is None else ~truth.ignore
    missing, surplus = truth.mask & ~prediction & counted, prediction & ~truth.mask & counted
    (inside, point), (outside, other) = deepest_pixel(missing), deepest_pixel(surplus)
    if not inside and not outside:
        return None
    return Click(point, 1) if inside > outside else Click(other, 0)


@dataclass(frozen=True)
class Goal:
    """Termination of click rounds, and placement of the next click."""

    iou: float = 1.0  # Masks with at least this IoU get no further click
    place: NextClick = largest_click  # Function that returns the next click


def click_rounds(
    segmenter: Segmenter,
    embedding: Any,
    truths: Sequence[TruthMask],
    rounds: int,
    goal: Goal | None = None,
) -> ClickScores:
    """Click on every mask up to `rounds` times; all open masks share one call."""
    goal = goal or Goal()
    rounds = rounds if "negative_point" in segmenter.spec.accepts else 1
    ious = np.zeros((len(truths), rounds))
    oracle = np.zeros(len(truths))
    trails = [_ClickTrail(truth, [Click(center_click(truth.mask), 1)]) for truth in truths]
    for step in range(rounds):
        active = [n for n, trail in enumerate(trails) if not trail.done]
        if not active:
            break
        prompts = [trails[n].prompt() for n in active]
        more = {}
        if step and "mask" in segmenter.spec.accepts:
            more["previous"] = [trails[n].answer for n in active]
        answers = segmenter.segment(embedding, prompts=prompts, **more)
        for n, answer in zip(active, answers, strict=True):
            masks = answer.masks if step == 0 else answer.masks[:1]
            fits = [iou(mask, truths[n].mask, truths[n].ignore) for mask in masks]
            ious[n, step:] = fits[0]
            oracle[n] = max(fits) if step == 0 else oracle[n]
            if step + 1 < rounds:
                trails[n].follow(answer, goal if fits[0] < goal.iou else None)
    return ClickScores(ious, oracle)


def predict_in_parts(
    segmenter: Segmenter, embedding: Any, prompts: Sequence[Prompt], **settings: Any
) -> list[SegmenterAnswer]:
    """Call `segment` with any number of prompts on one image, PROMPTS_A_CALL at a time."""
    return [
        answer
        for start in range(0, len(prompts), PROMPTS_A_CALL)
        for answer in segmenter.segment(
            embedding, prompts=prompts[start : start + PROMPTS_A_CALL], **settings
        )
    ]


def click_masks(
    segmenter: Segmenter, embedding: Any, clicks: Sequence[tuple[float, float]], **settings: Any
) -> list[SegmenterAnswer]:
    """Predict the candidates for one click (x, y) each."""
    prompts = [
        Prompt(points=np.array([click], np.float32), labels=np.ones(1, np.int64))
        for click in clicks
    ]
    return predict_in_parts(segmenter, embedding, prompts, **settings)


def box_scores(
    segmenter: Segmenter,
    embedding: Any,
    truths: Sequence[TruthMask],
    box_of: Callable[[BoolArray], NDArray[np.float32]] | None = None,
) -> Floats:  # (N,)
    """Return the IoU of the mask for each box: the tight one by default, or that of `box_of`."""
    prompts = [Prompt(box=(box_of or tight_box)(truth.mask)) for truth in truths]
    return score_first(segmenter.segment(embedding, prompts=prompts), truths)


def score_first(
    answers: Sequence[SegmenterAnswer],
    truths: Sequence[TruthMask],
    score: Callable[[BoolArray, BoolArray, BoolArray | None], float] = iou,
) -> Floats:  # (N,)
    """Score the first mask of each prediction."""
    pairs = zip(answers, truths, strict=True)
    return np.array([score(answer.masks[0], truth.mask, truth.ignore) for answer, truth in pairs])


def tight_box(mask: BoolArray) -> NDArray[np.float32]:  # (H, W) -> (4,)
    """Return the tight xyxy box of a mask in pixel edges: x1 - x0 is its width."""
    xs, ys = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1], np.float32)


@dataclass
class _ClickTrail:
    """Clicks on one mask, and the last prediction."""

    truth: TruthMask
    clicks: list[Click]
    answer: SegmenterAnswer | None = None
    done: bool = False

    def prompt(self) -> Prompt:
        return Prompt(
            points=np.array([click.point for click in self.clicks], np.float32),
            labels=np.array([click.label for click in self.clicks], np.int64),
        )

    def follow(self, answer: SegmenterAnswer, goal: Goal | None) -> None:
        """Choose the next click from the errors of a prediction; None ends the rounds."""
        self.answer = answer
        settled = answer.masks[0].copy()
        for (x, y), _ in self.clicks:  # no pixel is clicked twice
            settled[int(y), int(x)] = self.truth.mask[int(y), int(x)]
        click = goal.place(settled, self.truth) if goal else None
        self.done = click is None
        if click is not None:
            self.clicks.append(click)
