"""Scoring: segmenters and a set in, the scores of every chosen mask out.

Letters: N masks, M measures, C clicks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from anymask.evaluation.average_recall import Proposer
from anymask.evaluation.baselines import FromFunction
from anymask.evaluation.edges import EdgeDetector
from anymask.evaluation.mask_measures import MASK_MEASURES, MaskMeasure
from anymask.evaluation.measures import measure_set
from anymask.evaluation.protocols import PROMPTS_A_CALL, Segmenter
from anymask.evaluation.report import EvalReport, ScoreColumn, SetScores
from anymask.evaluation.score_cache import ScoreCache, score_code
from anymask.evaluation.selection import (
    ChosenMasks,
    EvalPhoto,
    EvalSet,
    EvalSettings,
    SetPlan,
    choose_masks,
    mask_limit,
)
from anymask.evaluation.set_results import MethodResult
from anymask.primitives.machine import this_machine
from anymask.primitives.types import Floats, IntArray

ScoreProgress = Callable[[str, int, int], None]
CLICK_MEASURE = "clicks"  # all measures mask by mask are of one module


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
    cache: ScoreCache | None = None,
    progress: ScoreProgress | None = None,
) -> SetScores:
    """Measure methods on one set by all that its plan names, all of them on the same masks.

    cache     of methods that answer the same every time: functions of this package behind the first
              place are looked up in it
    progress  called with the set's name (and the measure, for those of a whole set), and what is
              done and in all
    """
    chosen = choose_masks(one.plan, one.samples, settings.limit, settings.per_image)
    questions = [
        _MethodTask(method, one.plan, settings, cache if place and _is_constant(method) else None)
        for place, method in enumerate(methods)
    ]
    tables = _score_masks(questions, one, chosen, progress)
    found = [
        _measure_or_look_up(name, question, one, progress)
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


def _is_constant(method: Segmenter) -> bool:
    """Whether its answers change only with this package: not those of weights, not a peer's."""
    return isinstance(method, (FromFunction, EdgeDetector, Proposer))


def _measure_or_look_up(
    name: str, question: _MethodTask, one: EvalSet, progress: ScoreProgress | None
) -> MethodResult:
    """A measure of the whole set, from the cache where it has it."""

    def told(done: int, total: int) -> None:
        if progress:
            progress(f"{one.plan.name} {name}: {question.name}", done, total)

    method, settings, cache = question.method, question.settings, question.cache
    if cache is None:
        return measure_set(name, method, one, settings, told)
    code = score_code(method, name)
    key = cache.set_key(f"{question.name} {name}", code, one, settings)
    known = cache.get_found(key)
    if known is not None:
        return known
    found = measure_set(name, method, one, settings, told)
    if found.result:
        cache.put_found(key, found)
    return found


class _MethodTask:
    """What one method is asked about every photo of a set.

    names  its columns: `1 click`, `oracle`, `2 clicks`, ..., `box`, `noc85`, `noc90`, ...
    limit  how many masks of a set it is asked for
    """

    def __init__(
        self, method: Segmenter, plan: SetPlan, settings: EvalSettings, cache: ScoreCache | None
    ) -> None:
        self.method, self.settings, self.cache = method, settings, cache
        self.name = method.spec.name
        accepts = method.spec.accepts
        asked = [MASK_MEASURES[name] for name in plan.measures if name in MASK_MEASURES]
        given = [(measure, measure.columns(accepts, settings)) for measure in asked]
        self.measures = [(measure, columns) for measure, columns in given if columns]
        self.names = tuple(name for _, columns in self.measures for name in columns)
        self.code = score_code(method, CLICK_MEASURE) if cache else ""
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
    """The scores of some masks of a photo by every measure, from the cache where it has them."""
    embedded: list[Any] = []  # once, and only when something is missing

    def embedding() -> Any:
        if not embedded:
            embedded.append(question.method.embed(photo.image))
        return embedded[0]

    tables = [
        _score_measure(question, photo, masks, measure, columns, embedding)
        for measure, columns in question.measures
    ]
    return np.concatenate(tables, axis=1)


def _score_measure(
    question: _MethodTask,
    photo: EvalPhoto,
    masks: IntArray,
    measure: MaskMeasure,
    columns: tuple[str, ...],
    embedding: Callable[[], Any],
) -> Floats:  # (N, columns)
    cache, name = question.cache, question.name
    keys = cache.keys(name, columns, question.code, photo.sample, masks) if cache else []
    found = [cache.get(name, key) for key in keys] if cache else [None] * len(masks)
    blank = np.full(len(columns), np.nan)
    table = np.array([blank if row is None else row for row in found]).reshape(-1, len(columns))
    missing = np.array([n for n, row in enumerate(found) if row is None], np.int64)
    for part in _parts(missing):
        truths = photo.truths(masks[part])
        scores = measure.score(question.method, embedding(), truths, question.settings)
        table[part] = np.stack(scores, axis=1)
        for n in part if cache else ():
            cache.put(name, keys[n], table[n])  # type: ignore[union-attr]  # cache set
    return table


def _parts(rows: IntArray) -> Iterator[IntArray]:
    for start in range(0, len(rows), PROMPTS_A_CALL):
        yield rows[start : start + PROMPTS_A_CALL]
