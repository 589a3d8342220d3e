"""Ask segmenters for every chosen mask of a set, and keep what each answer was worth.

Letters: N masks, M measures, C clicks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from anymask.evaluation.asked import CHUNK, Photo, mask_limit
from anymask.evaluation.cache import ScoreCache
from anymask.evaluation.machine import this_machine
from anymask.evaluation.mask_measures import MASK_MEASURES
from anymask.evaluation.measures import measure_set
from anymask.evaluation.metrics import Floats, Ints
from anymask.evaluation.protocols import Segmenter, Truth
from anymask.evaluation.report import Column, Report, SetScores
from anymask.evaluation.suite import Chosen, EvalSet, SetPlan, Settings, choose_masks

Progress = Callable[[str, int, int], None]


def evaluate_sets(
    segmenter: Segmenter,
    sets: Sequence[EvalSet],
    *,
    clicks: int = 3,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measure one segmenter on sets (`open_sets(read_suite(FILE), DATA)`).

    limit     masks of a set at most, the same ones every time
    progress  called with the set's name, and its masks done and in all
    """
    settings = Settings(clicks=clicks, limit=limit)
    scores = tuple(score_set([segmenter], one, settings, progress=progress) for one in sets)
    return Report(
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
    settings: Settings,
    *,
    cache: ScoreCache | None = None,
    progress: Progress | None = None,
) -> SetScores:
    """Measure methods on one set by all that its plan names, all of them on the same masks.

    cache     of methods that answer the same every time: all but the first one are looked up in it
    progress  called with the set's name (and the measure, for those of a whole set), and the masks
              or photos done and in all
    """
    chosen = choose_masks(one.plan, one.samples, settings.limit, settings.per_image)
    questions = [
        _Question(method, one.plan, settings, cache if place else None)
        for place, method in enumerate(methods)
    ]
    tables = _score_masks(questions, one, chosen, progress)
    found = [
        measure_set(name, method, one, settings, _told(progress, f"{one.plan.name} {name}"))
        for name in one.plan.measures
        if name not in MASK_MEASURES
        for method in methods
    ]
    return SetScores(
        name=one.plan.name,
        groups=one.plan.groups,
        measures=one.plan.measures,
        image=chosen.image,
        mask=chosen.mask,
        area=chosen.area,
        columns=tuple(
            column
            for question, table in zip(questions, tables, strict=True)
            for column in _columns(question.method.spec.name, question.names, table)
        ),
        found=tuple(found),
    )


def _told(progress: Progress | None, name: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(name, done, total) if progress else None


class _Question:
    """What one method is asked about every photo of a set.

    names  its columns: `1 click`, `oracle`, `2 clicks`, ..., `box`, `noc85`, `noc90`, ...
    limit  how many masks of a set it is asked for
    """

    def __init__(
        self, method: Segmenter, plan: SetPlan, settings: Settings, cache: ScoreCache | None
    ) -> None:
        self.method, self.settings, self.cache = method, settings, cache
        accepts = method.spec.accepts
        asked = [MASK_MEASURES[name] for name in plan.measures if name in MASK_MEASURES]
        self.measures = [measure for measure in asked if measure.columns(accepts, settings)]
        self.names = tuple(
            name for measure in self.measures for name in measure.columns(accepts, settings)
        )
        self.limit = mask_limit(method, settings)

    def score(self, embedding: Any, truths: Sequence[Truth]) -> Floats:  # (N, M)
        """Ask for all of it."""
        columns = [
            column
            for measure in self.measures
            for column in measure.score(self.method, embedding, truths, self.settings)
        ]
        return np.stack(columns, axis=1)


def _score_masks(
    questions: Sequence[_Question], one: EvalSet, chosen: Chosen, progress: Progress | None
) -> list[Floats]:  # a question: (N, M)
    """Every question about every mask, photo by photo."""
    tables = [np.full((len(chosen.image), len(q.names)), np.nan) for q in questions]
    done = 0
    for image in np.unique(chosen.image):
        rows = np.flatnonzero(chosen.image == image)
        photo = Photo(int(image), one.samples[int(image)], chosen.mask[rows])
        for question, table in zip(questions, tables, strict=True):
            asked = rows[chosen.rank[rows] < question.limit]
            if len(asked) and question.names:
                table[asked] = _score_photo(question, photo, chosen.mask[asked])
        done += len(rows)
        if progress:
            progress(one.plan.name, done, len(chosen.image))
    return tables


def _columns(method: str, names: tuple[str, ...], table: Floats) -> Iterator[Column]:
    """A method's columns; no oracle where there never was a second candidate."""
    for n, measure in enumerate(names):
        same = measure == "oracle" and np.array_equal(table[:, n], table[:, n - 1], equal_nan=True)
        if not same:
            yield Column(method, measure, table[:, n])


def weights_hash(segmenter: Segmenter) -> str:
    """The hash of a model's weights; "" of anything else."""
    return str(getattr(getattr(segmenter, "runtime", None), "weights_hash", ""))


# --- one photo


def _score_photo(question: _Question, photo: Photo, masks: Ints) -> Floats:  # (N, M)
    """The scores of some masks of a photo, from the cache where it has them."""
    cache, method, names = question.cache, question.method.spec.name, question.names
    keys = cache.keys(method, names, photo.sample, masks) if cache else []
    found = [cache.get(method, key) for key in keys] if cache else [None] * len(masks)
    blank = np.full(len(names), np.nan)
    table = np.array([blank if row is None else row for row in found]).reshape(-1, len(names))
    missing = np.array([n for n, row in enumerate(found) if row is None], np.int64)
    if not len(missing):
        return table
    embedding = question.method.embed(photo.image)
    for part in _parts(missing):
        table[part] = question.score(embedding, photo.truths(masks[part]))
        for n in part if cache else ():
            cache.put(method, keys[n], table[n])  # type: ignore[union-attr]  # cache set
    return table


def _parts(rows: Ints) -> Iterator[Ints]:
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]
