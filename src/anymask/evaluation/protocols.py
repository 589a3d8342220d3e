"""Protocols of clicks and boxes: a segmenter and true masks in, the IoU of its answers out.

    click rounds   the first click at the truth's centre, each next one at the centre of the largest
                   error, all clicks together with the last answer as `previous` (Segment Anything,
                   section 7.1 and appendix D; RITM, arXiv 2102.06583); the lone first click may be
                   ambiguous, so it gets several candidates: the one that the model ranks first
                   counts, and the best of them is the oracle
    clicks needed  the same up to a goal, each click at the pixel deepest inside any error, as RITM
                   places it, so that the numbers compare with published ones
    box            the truth's tight box, one mask

A model is asked as its users ask it, by `Model.segment` with default settings. All prompts of one
photo go to it in one call. Letters: H W the photo, N masks, C clicks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, Floats, UintImage, brief
from anymask.masks import (
    Click,
    ModelSpec,
    Prompt,
    PromptKind,
    centre_click,
    deepest_pixel,
    iou,
    next_click,
)

BOX: frozenset[PromptKind] = frozenset({"box"})
CLICK: frozenset[PromptKind] = frozenset({"point"})
CLICKS: frozenset[PromptKind] = frozenset({"point", "negative_point"})
PROMPTS_A_CALL = 64  # enough to be fast, few enough for big masks


class NotMeasured(Exception):
    """A method or a set cannot be measured so; the text is the reason that the report gives."""


class SegmenterAnswer(Protocol):
    """What a segmenter says to one prompt, best first (`Prediction` is one)."""

    @property
    def masks(self) -> BoolArray:
        """(K, H, W) in image pixels."""
        ...


@dataclass(frozen=True, eq=False)
class PlainAnswer:
    """masks (K, H, W) bool, best first; scores (K,) or None."""

    masks: BoolArray
    scores: Floats | None = None


class Segmenter(Protocol):
    """Anything that turns prompts into masks: a model, a baseline, another project's code.

    `spec.name` names it in tables and `spec.accepts` says which protocols it can be asked.
    """

    @property
    def spec(self) -> ModelSpec: ...

    def encode(self, image: UintImage) -> Any:
        """See one (H, W, 3) photo; what comes back is only handed to `segment`."""
        ...

    def segment(
        self,
        embedding: Any,
        *,
        prompts: Sequence[Prompt],
        previous: Sequence[Any] | None = None,
    ) -> Sequence[SegmenterAnswer]:
        """Answer N prompts of equal length, one answer each, in order.

        Args:
            previous: Its N earlier answers, which the last click of each prompt corrects; only
                given to a method that accepts masks.
        """
        ...


@brief
@dataclass(frozen=True)
class TruthMask:
    """One mask to find: (H, W) pixels, and those that do not count."""

    mask: BoolArray
    ignore: BoolArray | None = None


@dataclass(frozen=True)
class ClickScores:
    """ious (N, C): after every click, the last one's where no further was made; oracle (N,): the
    best candidate of the first click."""

    ious: Floats
    oracle: Floats


def harm_of(ious: Floats, drop: float) -> Floats:  # (N, C) -> (N,)
    """The share of each mask's further clicks that lower its IoU by more than `drop`."""
    lowered: Floats = (ious[:, :-1] - ious[:, 1:] > drop).mean(axis=1)
    return lowered


NextClick = Callable[[BoolArray, TruthMask], Click | None]


def largest_click(prediction: BoolArray, truth: TruthMask) -> Click | None:
    """The centre of the largest region of error (Segment Anything)."""
    return next_click(prediction, truth.mask, ignore=truth.ignore)


def deepest_click(prediction: BoolArray, truth: TruthMask) -> Click | None:
    """The pixel deepest inside any error, missing or surplus (RITM); None without error."""
    counted = np.True_ if truth.ignore is None else ~truth.ignore
    missing, surplus = truth.mask & ~prediction & counted, prediction & ~truth.mask & counted
    (inside, point), (outside, other) = deepest_pixel(missing), deepest_pixel(surplus)
    if not inside and not outside:
        return None
    return Click(point, 1) if inside > outside else Click(other, 0)


@dataclass(frozen=True)
class Goal:
    """Where clicking stops, and how the next click is placed.

    Attributes:
        iou: A mask that is at least this good gets no further click.
    """

    iou: float = 1.0
    place: NextClick = largest_click


def click_rounds(
    segmenter: Segmenter,
    embedding: Any,
    truths: Sequence[TruthMask],
    rounds: int,
    goal: Goal | None = None,
) -> ClickScores:
    """Click every mask up to `rounds` times; all masks still open share one call."""
    goal = goal or Goal()
    rounds = rounds if "negative_point" in segmenter.spec.accepts else 1
    ious = np.zeros((len(truths), rounds))
    oracle = np.zeros(len(truths))
    trails = [_ClickTrail(truth) for truth in truths]
    for step in range(rounds):
        active = [n for n, trail in enumerate(trails) if not trail.done]
        if not active:
            break
        prompts = [trails[n].prompt() for n in active]
        before = [trails[n].answer for n in active]
        if step and "mask" in segmenter.spec.accepts:
            answers = segmenter.segment(embedding, prompts=prompts, previous=before)
        else:
            answers = segmenter.segment(embedding, prompts=prompts)
        for n, answer in zip(active, answers, strict=True):
            masks = answer.masks if step == 0 else answer.masks[:1]
            fits = [iou(mask, truths[n].mask, truths[n].ignore) for mask in masks]
            ious[n, step:] = fits[0]
            oracle[n] = max(fits) if step == 0 else oracle[n]
            if step + 1 < rounds:
                trails[n].follow(answer, goal if fits[0] < goal.iou else None)
    return ClickScores(ious, oracle)


def ask_in_parts(
    segmenter: Segmenter, embedding: Any, prompts: Sequence[Prompt], **settings: Any
) -> list[SegmenterAnswer]:
    """`segment` of any number of prompts on one photo, PROMPTS_A_CALL at once."""
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
    """The candidates of one click (x, y) each."""
    prompts = [
        Prompt(points=np.array([click], np.float32), labels=np.ones(1, np.int64))
        for click in clicks
    ]
    return ask_in_parts(segmenter, embedding, prompts, **settings)


def box_scores(
    segmenter: Segmenter,
    embedding: Any,
    truths: Sequence[TruthMask],
    box_of: Callable[[BoolArray], NDArray[np.float32]] | None = None,
) -> Floats:  # (N,)
    """The IoU of each mask asked for by a box: its tight one, or the one that `box_of` says."""
    prompts = [Prompt(box=(box_of or tight_box)(truth.mask)) for truth in truths]
    answers = segmenter.segment(embedding, prompts=prompts)
    return score_first(answers, truths)


def score_first(
    answers: Sequence[SegmenterAnswer],
    truths: Sequence[TruthMask],
    score: Callable[[BoolArray, BoolArray, BoolArray | None], float] = iou,
) -> Floats:  # (N,)
    """How well the first mask of each answer fits."""
    pairs = zip(answers, truths, strict=True)
    return np.array([score(answer.masks[0], truth.mask, truth.ignore) for answer, truth in pairs])


def tight_box(mask: BoolArray) -> NDArray[np.float32]:  # (H, W) -> (4,)
    """The edges of the smallest xyxy box around the true pixels: x1 - x0 is its width."""
    xs = np.flatnonzero(mask.any(axis=0))
    ys = np.flatnonzero(mask.any(axis=1))
    return np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1], np.float32)


@dataclass
class _ClickTrail:
    """The clicks on one mask so far, and the answer to them."""

    truth: TruthMask
    clicks: list[Click] = field(default_factory=list)
    answer: SegmenterAnswer | None = None
    done: bool = False

    def __post_init__(self) -> None:
        self.clicks.append(Click(centre_click(self.truth.mask), 1))

    def prompt(self) -> Prompt:
        return Prompt(
            points=np.array([click.point for click in self.clicks], np.float32),
            labels=np.array([click.label for click in self.clicks], np.int64),
        )

    def follow(self, answer: SegmenterAnswer, goal: Goal | None) -> None:
        """Choose the next click from what this answer got wrong; None: the goal is reached."""
        self.answer = answer
        click = goal.place(self._fix_clicked_pixels(answer.masks[0]), self.truth) if goal else None
        self.done = click is None
        if click is not None:
            self.clicks.append(click)

    def _fix_clicked_pixels(self, mask: BoolArray) -> BoolArray:
        """The mask with clicked pixels set right: the same pixel is not clicked twice."""
        settled = mask.copy()
        for (x, y), _ in self.clicks:
            settled[int(y), int(x)] = self.truth.mask[int(y), int(x)]
        return settled
