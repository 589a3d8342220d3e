"""Ask segmenters for every chosen mask of a set, and keep what each answer was worth.

Letters: N masks, M measures, C clicks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from anymask.data.sets import Sample
from anymask.evaluation.baselines import FromFunction
from anymask.evaluation.cache import ScoreCache
from anymask.evaluation.machine import this_machine
from anymask.evaluation.metrics import Floats, Ints, clicks_needed
from anymask.evaluation.protocols import (
    Goal,
    Segmenter,
    Truth,
    box_scores,
    click_rounds,
    deepest_click,
)
from anymask.evaluation.report import Column, Report, SetScores
from anymask.evaluation.suite import EvalSet, SetPlan, Settings, choose_masks
from anymask.primitives.rle import rle_to_mask

NOC_CLICKS = 20
NOC_AT = (0.85, 0.90)
CHUNK = 64  # prompts in one decode: enough to be fast, few enough for big masks

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
    """Measure methods on one set, photo by photo, all of them on the same masks.

    cache  of methods that answer the same every time: all but the first one are looked up in it
    """
    chosen = choose_masks(one.plan, one.samples, settings.limit, settings.per_image)
    names = [measures(method, one.plan, settings) for method in methods]
    tables = [np.full((len(chosen.image), len(name)), np.nan) for name in names]
    limits = [_limit(method, settings) for method in methods]
    done = 0
    for image in np.unique(chosen.image):
        sample = one.samples[int(image)]
        rows = np.flatnonzero(chosen.image == image)
        photo = _Photo(sample)
        for place, (method, name, table) in enumerate(zip(methods, names, tables, strict=True)):
            asked = rows[chosen.rank[rows] < limits[place]]
            known = cache if place else None
            table[asked] = _score_photo(method, photo, chosen.mask[asked], name, known)
        done += len(rows)
        if progress:
            progress(one.plan.name, done, len(chosen.image))
    return SetScores(
        name=one.plan.name,
        groups=one.plan.groups,
        image=chosen.image,
        mask=chosen.mask,
        area=chosen.area,
        columns=tuple(
            column
            for method, name, table in zip(methods, names, tables, strict=True)
            for column in _columns(method.spec.name, name, table)
        ),
    )


def _columns(method: str, names: tuple[str, ...], table: Floats) -> Iterator[Column]:
    """A method's columns; no oracle where there never was a second candidate."""
    for n, measure in enumerate(names):
        same = measure == "oracle" and np.array_equal(table[:, n], table[:, n - 1], equal_nan=True)
        if not same:
            yield Column(method, measure, table[:, n])


def _limit(method: Segmenter, settings: Settings) -> float:
    """How many masks of a set this method is asked for."""
    slow = isinstance(method, FromFunction) and method.slow
    return settings.slow if slow and settings.slow is not None else math.inf


def weights_hash(segmenter: Segmenter) -> str:
    """The hash of a model's weights; "" of anything else."""
    return str(getattr(getattr(segmenter, "runtime", None), "weights_hash", ""))


def measures(method: Segmenter, plan: SetPlan, settings: Settings) -> tuple[str, ...]:
    """The names of what a method can be measured by: `1 click`, `oracle`, `2 clicks`, ..., `box`,
    `noc85`, `noc90`."""
    accepts = method.spec.accepts
    names: list[str] = []
    if "point" in accepts:
        names += ["1 click", "oracle"]
        if "negative_point" in accepts:
            names += [f"{n} clicks" for n in range(2, settings.clicks + 1)]
    if "box" in accepts:
        names.append("box")
    if plan.noc and {"point", "negative_point"} <= accepts:
        names += [f"noc{round(100 * at)}" for at in NOC_AT]
    return tuple(names)


# --- one photo


class _Photo:
    """A sample's picture, opened at most once, and only when a method has to look at it."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.ignore = None if sample.ignore is None else rle_to_mask(sample.ignore)
        self._image: Any = None

    def image(self) -> Any:
        if self._image is None:
            self._image = self.sample.image()
        return self._image

    def truths(self, masks: Ints) -> list[Truth]:
        return [Truth(rle_to_mask(self.sample.masks[int(n)]), self.ignore) for n in masks]


def _score_photo(
    method: Segmenter,
    photo: _Photo,
    masks: Ints,
    names: tuple[str, ...],
    cache: ScoreCache | None,
) -> Floats:  # (N, M)
    """The scores of some masks of a photo, from the cache where it has them."""
    if not len(masks):
        return np.zeros((0, len(names)))
    keys = cache.keys(method.spec.name, names, photo.sample, masks) if cache else []
    found = [cache.get(method.spec.name, key) for key in keys] if cache else [None] * len(masks)
    blank = np.full(len(names), np.nan)
    table = np.array([blank if row is None else row for row in found]).reshape(-1, len(names))
    missing = np.array([n for n, row in enumerate(found) if row is None], np.int64)
    if not len(missing):
        return table
    embedding = method.embed(photo.image())
    for part in _parts(missing):
        table[part] = _score(method, embedding, photo.truths(masks[part]), names)
        for n in part if cache else ():
            cache.put(method.spec.name, keys[n], table[n])  # type: ignore[union-attr]  # cache set
    return table


def _score(
    method: Segmenter, embedding: Any, truths: Sequence[Truth], names: tuple[str, ...]
) -> Floats:  # (N, M)
    """Run the protocols that `names` need."""
    columns: dict[str, Floats] = {}
    clicks = sum(name.endswith((" click", " clicks")) for name in names)
    nocs = [name for name in names if name.startswith("noc")]
    if clicks:
        scores = click_rounds(method, embedding, truths, clicks)
        columns |= {_click_name(n + 1): scores.ious[:, n] for n in range(clicks)}
        columns["oracle"] = scores.oracle
    if nocs:
        goal = Goal(max(NOC_AT), deepest_click)
        ious = click_rounds(method, embedding, truths, NOC_CLICKS, goal).ious
        for name in nocs:
            needed = clicks_needed(ious, int(name[3:]) / 100)
            columns[name] = needed.astype(np.float64)
    if "box" in names:
        columns["box"] = box_scores(method, embedding, truths)
    return np.stack([columns[name] for name in names], axis=1)


def _click_name(n: int) -> str:
    return "1 click" if n == 1 else f"{n} clicks"


def _parts(rows: Ints) -> Iterator[Ints]:
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]
