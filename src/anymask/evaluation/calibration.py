"""Does the predicted quality say which of the candidates is the best one, and how good it is?

One click a mask, as in `clicks`; every candidate that comes back is compared with the truth.

    picks the best  how often the candidate of the highest quality has the highest IoU
    argmax          mean IoU of the candidate of the highest quality
    random          mean IoU of a candidate drawn at random
    oracle          mean IoU of the best candidate
    gap closed      (argmax - random) / (oracle - random): 0 is chance, 1 the best ranking there is
    own argmax      mean IoU of the candidate that the network's own number puts first, for models
                    whose candidates are chosen by more than that (`ranking` of `segment`)
    own oracle      mean IoU of the best of the candidates that the network's own number chooses
    own gap closed  (argmax - own argmax) / (own oracle - own argmax): what the order adds, as a
                    part of what the network's own number loses among its own candidates
    whole gap closed
                    (argmax - own argmax) / (oracle - own argmax): as a part of what could be won
                    with the candidates that are shown, which may be better ones
    pairs in order  of two candidates whose IoU differs by CLEAR or more, how often the better one
                    has the higher quality
    ECE             expected calibration error: |quality - IoU|, each averaged in ten bins of
                    quality, weighted by the bins' candidates (Guo et al. 2017, arXiv 1706.04599,
                    with IoU in the place of accuracy)

Letters: N masks, K candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from anymask.evaluation.metrics import Shares
from anymask.evaluation.protocols import Segmenter
from anymask.evaluation.selection import CHUNK, EvalSet, Photo, Settings, Told, asked_photos
from anymask.evaluation.set_results import (
    Curve,
    Figure,
    Finding,
    NotMeasured,
    Table,
    mean_figure,
    ratio_figure,
)
from anymask.primitives.clicks import centre_click
from anymask.primitives.masks import iou
from anymask.primitives.types import Float64Array, IntArray, Prompt

BINS = 10
CLEAR = 0.05


@dataclass(frozen=True, eq=False)
class Ranked:
    """Candidates of N masks, rows of K, NaN where a mask got fewer.

    ious     with the truth
    quality  what the model says of them
    image    (N,) whose mask it is
    own      (N, 2) IoU of the first and of the best of the candidates that the network's own number
             chooses; None: the same
    """

    ious: Float64Array
    quality: Float64Array
    image: IntArray
    own: Float64Array | None = None


def calibration(
    method: Segmenter,
    one: EvalSet,
    settings: Settings,
    told: Told | None = None,
) -> Finding:
    """Measure one method on one set (a `SetMeasure`).

    Raises NotMeasured for a method that takes no clicks, gives one candidate, or no quality.
    """
    if "point" not in method.spec.accepts:
        raise NotMeasured("it takes no clicks")
    rows: list[tuple[Float64Array, Float64Array]] = []
    own: list[tuple[float, float]] = []
    image: list[int] = []
    for photo in asked_photos(method, one, settings, told):
        embedding = method.embed(photo.image)
        found = _candidates(method, embedding, photo)
        rows += found
        image += [photo.place] * len(found)
        if method.spec.answer == "four":
            by_number = _candidates(method, embedding, photo, ranking="own")
            own += [(float(ious[0]), float(ious.max())) for ious, _ in by_number]
    if max(len(ious) for ious, _ in rows) < 2:
        raise NotMeasured("it answers a click with one mask; there is nothing to rank")
    ious, quality = (_padded([row[n] for row in rows]) for n in (0, 1))
    picked = np.array(own) if own else None
    return describe(Ranked(ious, quality, np.array(image, np.int64), picked))


def describe(ranked: Ranked) -> Finding:
    """All figures of candidates whose truth is known."""
    best, chance = np.nanmax(ranked.ious, axis=1), np.nanmean(ranked.ious, axis=1)
    first = np.nanargmax(ranked.quality, axis=1)
    picked = ranked.ious[np.arange(len(first)), first]
    table, curve, error = _reliability(ranked)
    return Finding(
        figures=(
            mean_figure("picks the best", (picked >= best).astype(np.float64), ranked.image),
            mean_figure("argmax", picked, ranked.image),
            mean_figure("random", chance, ranked.image),
            mean_figure("oracle", best, ranked.image),
            _gap_figure("gap closed", picked - chance, best - chance, ranked.image),
            *_own_figures(ranked, picked, best),
            _pairs_figure(ranked),
            Figure(name="ECE", value=error),
        ),
        curves=(curve,),
        tables=(table,),
    )


def _own_figures(ranked: Ranked, picked: Float64Array, best: Float64Array) -> tuple[Figure, ...]:
    """What the order adds to the network's own number."""
    if ranked.own is None:
        return ()
    own, own_best = ranked.own.T
    return (
        mean_figure("own argmax", own, ranked.image),
        mean_figure("own oracle", own_best, ranked.image),
        _gap_figure("own gap closed", picked - own, own_best - own, ranked.image),
        _gap_figure("whole gap closed", picked - own, best - own, ranked.image),
    )


def _candidates(
    method: Segmenter, embedding: Any, photo: Photo, **settings: str
) -> list[tuple[Float64Array, Float64Array]]:
    """IoU and quality of every candidate of each mask of a photo."""
    truths = photo.truths()
    prompts = [
        Prompt(points=np.array([centre_click(t.mask)], np.float32), labels=np.ones(1, np.int64))
        for t in truths
    ]
    answers = [
        answer
        for start in range(0, len(prompts), CHUNK)
        for answer in method.segment(
            embedding, prompts=prompts[start : start + CHUNK], multimask=True, **settings
        )
    ]
    found = []
    for answer, truth in zip(answers, truths, strict=True):
        quality = getattr(answer, "quality", None)
        if quality is None:
            raise NotMeasured("it says no quality of its masks")
        ious = np.array([iou(mask, truth.mask, truth.ignore) for mask in answer.masks])
        found.append((ious, np.asarray(quality, np.float64)))
    return found


def _padded(rows: list[Float64Array]) -> Float64Array:  # N of (K,) -> (N, K)
    table = np.full((len(rows), max(len(row) for row in rows)), np.nan)
    for place, row in enumerate(rows):
        table[place, : len(row)] = row
    return table


def _gap_figure(name: str, won: Float64Array, gap: Float64Array, image: IntArray) -> Figure:
    """The share of the way to the oracle that was won; over sets, of their mean ways."""
    _, member = np.unique(image, return_inverse=True)
    top, bottom, count = (
        np.bincount(member, weights=weights).astype(np.float64)
        for weights in (won, gap, np.ones(len(image)))
    )
    return ratio_figure(name, Shares(top, bottom, count))


def _pairs_figure(ranked: Ranked) -> Figure:
    """How often two clearly different candidates are in the right order; a tie is half right."""
    left, right = np.triu_indices(ranked.ious.shape[1], 1)
    better = ranked.ious[:, left] - ranked.ious[:, right]  # NaN of an absent one is not clear
    order = np.sign(better) * np.sign(ranked.quality[:, left] - ranked.quality[:, right])
    right_share = np.where(np.abs(better) >= CLEAR, (order + 1) / 2, np.nan)
    pairs = right_share.shape[1]
    return mean_figure("pairs in order", right_share.ravel(), np.repeat(ranked.image, pairs))


def _reliability(ranked: Ranked) -> tuple[Table, Curve, float]:
    """Quality against IoU in bins of quality, and the expected calibration error."""
    there = ~np.isnan(ranked.ious)
    ious, quality = ranked.ious[there], ranked.quality[there]
    place = np.clip((quality * BINS).astype(np.int64), 0, BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    filled = np.flatnonzero(counts)
    said, was = (
        np.bincount(place, weights=values, minlength=BINS)[filled] / counts[filled]
        for values in (quality, ious)
    )
    rows = tuple(
        (f"{n / BINS:.1f}–{(n + 1) / BINS:.1f}", float(counts[n]), float(q), float(v))
        for n, q, v in zip(filled, said, was, strict=True)
    )
    header = ("quality", "candidates", "mean quality", "mean IoU")
    curve = Curve(title="reliability", x=said, y=was, x_label="predicted quality", y_label="IoU")
    error = float(np.sum(counts[filled] * np.abs(said - was)) / counts.sum())
    return Table(title="reliability", header=header, rows=rows), curve, error
