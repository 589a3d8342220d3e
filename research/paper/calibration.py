"""Calibration of the predicted quality: the candidates of clicks in, ranking and ECE out.

One click a mask, as in `clicks`; every candidate that comes back is compared with the truth.

    picks the best  how often the candidate that is put first has the highest IoU: a model's first
                    one, for other methods the one of the highest quality
    argmax          mean IoU of the candidate that is put first
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
    pairs in order  of two candidates whose IoU differs by .05 or more, how often the better one
                    has the higher quality
    ECE             expected calibration error: |quality - IoU|, each averaged in ten bins of
                    quality, weighted by the bins' candidates (Guo et al. 2017, arXiv 1706.04599,
                    with IoU in the place of accuracy)
    ECE first       the same of the candidates that are put first alone

Letters: N masks, K candidates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from anymask.base import Floats, IntArray, OnProgress
from anymask.evaluation.metrics import sum_by_image
from anymask.evaluation.protocols import NotMeasured, Segmenter, click_masks
from anymask.evaluation.results import (
    Curve,
    DetailTable,
    MetricValue,
    SetResult,
    shares_to_metric,
    values_to_metric,
)
from anymask.evaluation.selection import EvalImage, EvalSet, EvalSettings
from anymask.masks import center_click, iou
from research.shared import iterate_images

QUALITY_BINS = 10
CLEAR_DIFFERENCE = 0.05


@dataclass(frozen=True, eq=False)
class RankedCandidates:
    """Prediction of N masks, rows of K, NaN where a mask got fewer.

    Attributes:
        ious: IoU with the ground truth.
        quality: Predicted IoU.
        image: Image of each mask (N,).
        first: First candidate (N,); None: the one with the highest predicted IoU.
        own: IoU of the first and of the best candidate when ranked by the network's own score
            (N, 2); None: the same ranking.
    """

    ious: Floats
    quality: Floats
    image: IntArray
    first: IntArray | None = None
    own: Floats | None = None


def measure_calibration(
    method: Segmenter, one: EvalSet, settings: EvalSettings, progress: OnProgress | None = None
) -> SetResult:
    """Measure one method on one set (a `SetMeasure`).

    Raises NotMeasured for a method that takes no clicks, gives one candidate, or no quality.
    """
    if "point" not in method.spec.accepts:
        raise NotMeasured("it takes no clicks")
    rows: list[tuple[Floats, Floats]] = []
    own: list[tuple[float, float]] = []
    image: list[int] = []
    for pixels in iterate_images(method, one, settings, progress):
        embedding = method.encode(pixels.image)
        found = _candidates(method, embedding, pixels)
        rows += found
        image += [pixels.place] * len(found)
        if hasattr(method, "runtime"):  # a model, whose family may have learned an order
            by_number = _candidates(method, embedding, pixels, ranking="own")
            own += [(float(ious[0]), float(ious.max())) for ious, _ in by_number]
    if max(len(ious) for ious, _ in rows) < 2:
        raise NotMeasured("it answers a click with one mask; there is nothing to rank")
    ious, quality = (_pad_rows([row[n] for row in rows]) for n in (0, 1))
    ranked = RankedCandidates(ious, quality, np.array(image, np.int64))
    if own:
        first = np.zeros(len(ious), np.int64)
        ranked = replace(ranked, first=first, own=np.array(own))
    return describe_calibration(ranked)


def describe_calibration(ranked: RankedCandidates) -> SetResult:
    """All figures of candidates whose truth is known."""
    best, chance = np.nanmax(ranked.ious, axis=1), np.nanmean(ranked.ious, axis=1)
    first = np.nanargmax(ranked.quality, axis=1) if ranked.first is None else ranked.first
    rows = np.arange(len(first))
    picked = ranked.ious[rows, first]
    table, curve, error = _reliability(ranked.quality, ranked.ious)
    _, _, first_error = _reliability(ranked.quality[rows, first], picked)
    # How often two clearly different candidates are in the right order; a tie is half right.
    left, right = np.triu_indices(ranked.ious.shape[1], 1)
    better = ranked.ious[:, left] - ranked.ious[:, right]  # NaN of an absent one is not clear
    order = np.sign(better) * np.sign(ranked.quality[:, left] - ranked.quality[:, right])
    right_share = np.where(np.abs(better) >= CLEAR_DIFFERENCE, (order + 1) / 2, np.nan)
    pairs = right_share.shape[1]
    return SetResult(
        figures=(
            values_to_metric("picks the best", (picked >= best).astype(np.float64), ranked.image),
            values_to_metric("argmax", picked, ranked.image),
            values_to_metric("random", chance, ranked.image),
            values_to_metric("oracle", best, ranked.image),
            shares_to_metric(
                "gap closed", sum_by_image(ranked.image, picked - chance, best - chance)
            ),
            *_own_figures(ranked, picked, best),
            values_to_metric("pairs in order", right_share.ravel(), np.repeat(ranked.image, pairs)),
            MetricValue(name="ECE", value=error),
            MetricValue(name="ECE first", value=first_error),
        ),
        curves=(curve,),
        tables=(table,),
    )


def _own_figures(ranked: RankedCandidates, picked: Floats, best: Floats) -> tuple[MetricValue, ...]:
    """What the order adds to the network's own number."""
    if ranked.own is None:
        return ()
    own, own_best = ranked.own.T
    return (
        values_to_metric("own argmax", own, ranked.image),
        values_to_metric("own oracle", own_best, ranked.image),
        shares_to_metric(
            "own gap closed", sum_by_image(ranked.image, picked - own, own_best - own)
        ),
        shares_to_metric("whole gap closed", sum_by_image(ranked.image, picked - own, best - own)),
    )


def _candidates(
    method: Segmenter, embedding: Any, image: EvalImage, **settings: str
) -> list[tuple[Floats, Floats]]:
    """IoU and quality of every candidate of each mask of a photo."""
    truths = image.truths()
    clicks = [center_click(truth.mask) for truth in truths]
    answers = click_masks(method, embedding, clicks, **settings)
    found = []
    for answer, truth in zip(answers, truths, strict=True):
        quality = getattr(answer, "raw_scores", getattr(answer, "scores", None))
        if quality is None:
            raise NotMeasured("it says no quality of its masks")
        ious = np.array([iou(mask, truth.mask, truth.ignore) for mask in answer.masks])
        found.append((ious, np.asarray(quality, np.float64)))
    return found


def _pad_rows(rows: list[Floats]) -> Floats:  # N of (K,) -> (N, K)
    table = np.full((len(rows), max(len(row) for row in rows)), np.nan)
    for place, row in enumerate(rows):
        table[place, : len(row)] = row
    return table


def _reliability(quality: Floats, ious: Floats) -> tuple[DetailTable, Curve, float]:
    """Quality against IoU in bins of quality, and the expected calibration error: any shape."""
    there = ~np.isnan(ious)
    ious, quality = ious[there], quality[there]
    place = np.clip((quality * QUALITY_BINS).astype(np.int64), 0, QUALITY_BINS - 1)
    counts = np.bincount(place, minlength=QUALITY_BINS)
    filled = np.flatnonzero(counts)
    predicted, was = (
        np.bincount(place, weights=values, minlength=QUALITY_BINS)[filled] / counts[filled]
        for values in (quality, ious)
    )
    rows = tuple(
        (
            f"{n / QUALITY_BINS:.1f}–{(n + 1) / QUALITY_BINS:.1f}",
            float(counts[n]),
            float(q),
            float(v),
        )
        for n, q, v in zip(filled, predicted, was, strict=True)
    )
    header = ("quality", "candidates", "mean quality", "mean IoU")
    curve = Curve(
        title="reliability", x=predicted, y=was, x_label="predicted quality", y_label="IoU"
    )
    error = float(np.sum(counts[filled] * np.abs(predicted - was)) / counts.sum())
    return DetailTable(title="reliability", header=header, rows=rows), curve, error
