"""Scoring: segmenters and a set in, the scores of every chosen mask out.

Letters: N masks, M measures, C clicks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from anymask.base import Floats, IntArray, this_machine
from anymask.evaluation.mask_measures import MASK_MEASURES
from anymask.evaluation.measures import measure_set
from anymask.evaluation.protocols import PROMPTS_A_CALL, Segmenter
from anymask.evaluation.report import EvalReport, ScoreColumn, SetScores
from anymask.evaluation.selection import (
    ChosenMasks,
    EvalPhoto,
    EvalSet,
    EvalSettings,
    OnProgress,
    SetPlan,
    choose_masks,
    mask_limit,
)

ScoreProgress = Callable[[str, int, int], None]


def evaluate_sets(
    segmenter: Segmenter,
    sets: Sequence[EvalSet],
    *,
    clicks: int = 3,
    limit: int | None = None,
    progress: ScoreProgress | None = None,
) -> EvalReport:
    """Measure one segmenter on sets (`open_sets(read_suite(FILE), DATA)`).

    limit     masks of a set at most, the same ones every time
    progress  called with the set's name, and its masks done and in all
    """
    settings = EvalSettings(clicks=clicks, limit=limit)
    scores = tuple(score_set([segmenter], one, settings, progress=progress) for one in sets)
    return EvalReport(
        suite="",
        subject=segmenter.spec.name,
        weights_hash=weights_hash(segmenter),
        settings=settings,
        machine=this_machine(),
        sets=scores,
    )


def score_set(
    methods: Sequence[Segmenter],
    one: EvalSet,
    settings: EvalSettings,
    *,
    progress: ScoreProgress | None = None,
) -> SetScores:
    """Measure methods on one set by all that its plan names, all of them on the same masks.

    progress  called with the set's name (and the measure, for those of a whole set), and what is
              done and in all
    """
    chosen = choose_masks(one.plan, one.samples, settings.limit, settings.per_image)
    questions = [_MethodTask(method, one.plan, settings) for method in methods]
    tables = _score_masks(questions, one, chosen, progress)

    def tell(what: str) -> OnProgress:
        return lambda done, total: progress(what, done, total) if progress else None

    found = [
        measure_set(
            name, question.method, one, settings, tell(f"{one.plan.name} {name}: {question.name}")
        )
        for name in one.plan.measures
        if name not in MASK_MEASURES
        for question in questions
    ]
    pairs = zip(questions, tables, strict=True)
    return SetScores(
        name=one.plan.name,
        groups=one.plan.groups,
        measures=one.plan.measures,
        image=chosen.image,
        mask=chosen.mask,
        area=chosen.area,
        columns=tuple(column for question, table in pairs for column in _columns(question, table)),
        found=tuple(found),
    )


class _MethodTask:
    """What one method is asked about every photo of a set.

    names  its columns: `1 click`, `oracle`, `2 clicks`, ..., `box`, `noc85`, `noc90`, ...
    limit  how many masks of a set it is asked for
    """

    def __init__(self, method: Segmenter, plan: SetPlan, settings: EvalSettings) -> None:
        self.method, self.settings = method, settings
        self.name = method.spec.name
        accepts = method.spec.accepts
        asked = [MASK_MEASURES[name] for name in plan.measures if name in MASK_MEASURES]
        given = [(measure, measure.columns(accepts, settings)) for measure in asked]
        self.measures = [(measure, columns) for measure, columns in given if columns]
        self.names = tuple(name for _, columns in self.measures for name in columns)
        self.limit = mask_limit(method, settings)


def _score_masks(
    questions: Sequence[_MethodTask],
    one: EvalSet,
    chosen: ChosenMasks,
    progress: ScoreProgress | None,
) -> list[Floats]:  # a question: (N, M)
    """Every question about every mask, photo by photo."""
    tables = [np.full((len(chosen.image), len(q.names)), np.nan) for q in questions]
    done = 0
    for image in np.unique(chosen.image):
        rows = np.flatnonzero(chosen.image == image)
        photo = EvalPhoto(int(image), one.samples[int(image)], chosen.mask[rows])
        for question, table in zip(questions, tables, strict=True):
            asked = rows[chosen.rank[rows] < question.limit]
            if len(asked) and question.names:
                table[asked] = _score_photo(question, photo, chosen.mask[asked])
        done += len(rows)
        if progress:
            progress(one.plan.name, done, len(chosen.image))
    return tables


def _columns(question: _MethodTask, table: Floats) -> Iterator[ScoreColumn]:
    """A method's columns; no oracle where there never was a second candidate."""
    for n, measure in enumerate(question.names):
        same = measure == "oracle" and np.array_equal(table[:, n], table[:, n - 1], equal_nan=True)
        if not same:
            yield ScoreColumn(question.name, measure, table[:, n])


def weights_hash(segmenter: Segmenter) -> str:
    """The hash of a model's weights; "" of anything else."""
    return str(getattr(getattr(segmenter, "runtime", None), "weights_hash", ""))


# --- one photo


def _score_photo(question: _MethodTask, photo: EvalPhoto, masks: IntArray) -> Floats:  # (N, M)
    """The scores of some masks of a photo by every measure."""
    embedding = question.method.encode(photo.image)
    tables = []
    for measure, _ in question.measures:
        parts = []
        for start in range(0, len(masks), PROMPTS_A_CALL):
            truths = photo.truths(masks[start : start + PROMPTS_A_CALL])
            scores = measure.score(question.method, embedding, truths, question.settings)
            parts.append(np.stack(scores, axis=1))
        tables.append(np.concatenate(parts))
    return np.concatenate(tables, axis=1)
