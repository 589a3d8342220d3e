"""Self-test of the audit: careful masks in, their grades after known corruptions out.

What is usual in a set is taken from its careful masks and a few wrong ones, WRONG_SHARE for each
careful one, as in a data set that is mostly right. Letters: A answers, F features, G of an answer.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from anymask.base import BoolArray, Floats
from anymask.evaluation.audit_features import (
    AuditImage,
    measure_features,
    prepare_image,
    shrink_mask,
)
from anymask.evaluation.audit_grading import (
    WRONG_SHARE,
    FeatureScale,
    Grader,
    LinearModel,
    describe_answers,
    fit_scale,
)
from anymask.evaluation.audit_images import find_missing
from anymask.formats import AnnotatedImage
from anymask.masks import Rle, mask_iou, mask_to_rle, rle_area, rle_iou, rle_to_mask
from anymask.segment import Model
from research.audit.corruptions import CORRUPTIONS, CorruptedMask, Corruption, corrupt

CLEAN = "clean"
RIDGE = 5.0
NEWTON_STEPS = 30
MIN_CORRUPTED_AREA = 100  # pixels of a mask that is worth making wrong
MASKS_A_IMAGE = 3  # masks of a photo
FOUND_IOU = 0.5  # IoU of a found object with the deleted mask


@dataclass(frozen=True, eq=False, kw_only=True)
class SelfTestCase:
    """One mask, careful or made wrong, and what was found about it.

    Attributes:
        name: Name of the dataset.
        kind: CLEAN or the kind of corruption.
        values: Features (F,).
        answers: Features of the model's predictions (A, G).
        truths: IoU of the predictions with the ground truth (A,).
        given: IoU of the mask with the ground truth.
    """

    name: str
    kind: str
    values: Floats
    answers: Floats
    truths: Floats
    given: float


@dataclass(frozen=True, kw_only=True)
class DeletedMask:
    """One mask taken away: whether it was found again, and how many other objects were reported."""

    name: str
    found: bool
    others: int


def run_self_test(
    model: Model,
    name: str,
    samples: Sequence[AnnotatedImage],
    masks: int,
    deletions: int = 0,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[SelfTestCase], list[DeletedMask]]:
    """Make masks of one set wrong and look at them.

    Args:
        masks: Maximum number of masks, drawn with a fixed seed.
        deletions: Number of images in which a mask is deleted and searched; the slow part.
        progress: Callable (masks done).
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    cases: list[SelfTestCase] = []
    gone: list[DeletedMask] = []
    done = 0
    for place in rng.permutation(len(samples)).tolist():
        sample = samples[place]
        fitting = [n for n, rle in enumerate(sample.rles) if rle_area(rle) >= MIN_CORRUPTED_AREA]
        if done >= masks or not fitting:
            continue
        view = prepare_image(model, sample.image())
        elsewhere = _pick_mask(samples, place, rng)
        for number in rng.permutation(fitting)[: min(MASKS_A_IMAGE, masks - done)].tolist():
            cases += _corrupt_mask(model, view, name, sample, number, elsewhere, rng)
            done += 1
            if progress:
                progress(done)
        if len(gone) < deletions:
            removed = int(rng.choice(fitting))
            kept: list[Rle] = [
                rle for n, rle in enumerate(sample.rles) if n != removed and rle_area(rle)
            ]
            found = [record.rle for record in find_missing(model, view.embedding, kept)]
            ious = rle_iou(found, [sample.rles[removed]])[:, 0] if found else np.zeros(0)
            gone.append(
                DeletedMask(
                    name=name,
                    found=bool((ious >= FOUND_IOU).any()),
                    others=int((ious < FOUND_IOU).sum()),
                )
            )
    return cases, gone


def _pick_mask(
    samples: Sequence[AnnotatedImage], not_this: int, rng: np.random.Generator
) -> BoolArray | None:
    """A mask of another photo, if there is one."""
    other = samples[int(rng.integers(len(samples)))]
    fitting = [rle for rle in other.rles if rle_area(rle) >= MIN_CORRUPTED_AREA]
    if other is samples[not_this] or not fitting:
        return None
    return rle_to_mask(fitting[int(rng.integers(len(fitting)))])


def _corrupt_mask(
    model: Model,
    view: AuditImage,
    name: str,
    sample: AnnotatedImage,
    number: int,
    elsewhere: BoolArray | None,
    rng: np.random.Generator,
) -> Iterator[SelfTestCase]:
    """One mask as it is, and made wrong in every way that is possible."""
    mask = rle_to_mask(sample.rles[number])
    others = tuple(
        rle_to_mask(rle) for n, rle in enumerate(sample.rles) if n != number and rle_area(rle)
    )
    made: list[tuple[str, CorruptedMask]] = [(CLEAN, CorruptedMask(mask, others))]
    for kind in CORRUPTIONS:
        wrong = corrupt(kind, mask, others, elsewhere, rng)
        if wrong is not None:
            made.append((kind, wrong))
    rles = [mask_to_rle(one.mask) for _, one in made]
    beside = [[mask_to_rle(other) for other in one.others] for _, one in made]
    features = measure_features(model, view, rles, beside, [0.0] * len(made))
    truth = shrink_mask(sample.rles[number], view.size)
    for (done, _), rle, found in zip(made, rles, features, strict=True):
        stack = np.stack([shrink_mask(rle, view.size), *(answer.mask for answer in found.answers)])
        ious = mask_iou(truth[None], stack)[0]
        yield SelfTestCase(
            name=name,
            kind=done,
            values=found.values,
            answers=describe_answers(found),
            truths=ious[1:],
            given=float(ious[0]),
        )


# Fitting.


def fit_logistic(
    values: Floats, wrong: Floats, weights: Floats
) -> LinearModel:  # (N, F), (N,), (N,)
    """Newton's method with a ridge on all but the bias; `wrong` is 1 or 0."""
    table, scale, ridge = _table(values)
    found = solve_logistic(table, wrong, weights, ridge, NEWTON_STEPS)
    return LinearModel(found[:-1] / scale, float(found[-1]))


def solve_logistic(
    table: Floats, right: Floats | BoolArray, weights: Floats, ridge: Floats, steps: int
) -> Floats:  # (N, F), (N,), (N,), (F, F) -> (F,)
    """The coefficients of a logistic regression with a ridge, by Newton's method."""
    found = np.zeros(table.shape[1])
    for _ in range(steps):
        chance = 1 / (1 + np.exp(-np.clip(table @ found, -30, 30)))
        slope = table.T @ (weights * (chance - right)) + ridge @ found
        bend = (table * (weights * chance * (1 - chance))[:, None]).T @ table + ridge
        found = found - np.linalg.solve(bend, slope)
    return found


def fit_linear(
    values: Floats, expected: Floats, weights: Floats
) -> LinearModel:  # (N, F), (N,), (N,)
    """Weighted least squares with a ridge on all but the bias."""
    table, scale, ridge = _table(values)
    bend = (table * weights[:, None]).T @ table + ridge
    found = np.linalg.solve(bend, table.T @ (weights * expected))
    return LinearModel(found[:-1] / scale, float(found[-1]))


def _table(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Values of one spread with a column of ones, that spread, and the ridge."""
    scale = values.std(axis=0) + 1e-6
    table = np.column_stack([values / scale, np.ones(len(values))])
    ridge = RIDGE * np.eye(table.shape[1])
    ridge[-1, -1] = 0
    return table, scale, ridge


def fit_grader(cases: Sequence[SelfTestCase], about: str) -> Grader:
    """A grader for what was tried; `about` says in words what that was."""
    # Each case's features against what is usual in its set.
    usual = fit_scales_by_set(cases)
    relative = np.concatenate([usual[case.name].relative(case.values[None]) for case in cases])
    kinds = np.array([case.kind for case in cases])
    clean = kinds == CLEAN
    errors: tuple[Corruption, ...] = tuple(kind for kind in CORRUPTIONS if (kinds == kind).any())
    odds = []
    for error in errors:
        used = clean | (kinds == error)
        wrong = ~clean[used]
        shares = np.where(wrong, 1 / wrong.sum(), 1 / (~wrong).sum()) * used.sum() / 2
        odds.append(fit_logistic(relative[used], wrong.astype(np.float64), shares))
    given = np.array([case.given for case in cases])
    answers = np.concatenate([case.answers for case in cases])
    truths = np.concatenate([case.truths for case in cases])
    return Grader(
        usual=fit_scale(np.stack([case.values for case in cases if case.kind == CLEAN])),
        errors=errors,
        odds=tuple(odds),
        given=fit_linear(relative, given, np.ones(len(given))),
        answer=fit_linear(answers, truths, np.ones(len(truths))),
        about=about,
    )


def fit_scales_by_set(cases: Sequence[SelfTestCase]) -> dict[str, FeatureScale]:
    """What is usual in each set, if it were mostly right."""
    found = {}
    for name in dict.fromkeys(case.name for case in cases):
        own = [case for case in cases if case.name == name]
        clean = [case.values for case in own if case.kind == CLEAN]
        wrong = [case.values for case in own if case.kind != CLEAN]
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        few = rng.permutation(len(wrong))[: round(WRONG_SHARE * len(clean))]
        found[name] = fit_scale(np.stack(clean + [wrong[n] for n in few]))
    return found
