"""cgF1 and pHOTA: score predicted masks of noun phrases against files in SA-Co's layout.

Definitions: Carion et al. 2025 ("SAM 3: Segment Anything with Concepts"), and Luiten et al. 2020
(HOTA).

    cgF1    100 pmF1 IL_MCC over pairs of an image or video and a phrase (see `finding`). In videos
            the IoU of two tracks is that of their volumes. Masks are matched one-to-one so that
            the sum of their IoUs is maximal
    pHOTA   HOTA with each pair as a separate sequence: frame by frame, masks are matched
            one-to-one by the similarity of their whole tracks and their IoU. At each threshold,
            DetA = TP / (TP + FN + FP) over all pairs, AssA is the mean over matches of the overlap
            of their tracks, and HOTA = sqrt(DetA AssA); means are over thresholds 0.05 to 0.95

Only predictions with a confidence score of at least 0.5 count. Pairs whose truth is not exhaustive
are ignored. Letters: n predicted tracks, m annotated tracks, A thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anymask.base import DataError, Floats, need_packages
from anymask.evaluation.finding import image_correlation, matched_f1
from anymask.evaluation.report import Report, report_values
from anymask.formats import LossReport, ReadSettings, saco
from anymask.masks import rle_area, rle_intersection, rle_iou

CONFIDENCE = 0.5  # minimum score of a prediction that counts
ALPHAS: Floats = np.linspace(0.05, 0.95, 19)  # thresholds of HOTA
FLOAT_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class ConceptAnswer:
    """Predicted tracks of one pair, of which only confident ones are listed."""

    pair: saco.ConceptPair
    found: Sequence[saco.MaskTrack]


def report_concepts(results: Path, truth: Path) -> Report:
    """Score a file of results. Raises DataError, MissingExtra."""
    need_packages(("scipy",), "evaluate", "Matching of masks")
    report = LossReport(settings=ReadSettings())
    pairs = saco.read_pairs(truth, report)
    counted = [pair for pair in pairs if pair.exhaustive]
    if not counted:
        raise DataError(
            f"{truth} contains no pair of a phrase with exhaustive masks. Use SA-Co's layout."
        )
    predictions = saco.read_pair_results(results, pairs, report)
    answers = []
    for pair in counted:
        scored = zip(*predictions.get(pair.id, ([], [])), strict=True)
        answers.append(
            ConceptAnswer(pair, [track for track, score in scored if score >= CONFIDENCE])
        )
    figures = score_concepts(answers)
    positive = sum(bool(pair.tracks) for pair in counted)
    notes = [f"{len(counted)} pairs: {positive} with objects, {len(counted) - positive} without"]
    if math.isnan(figures["IL_MCC"]):
        notes.append("cgF1 and IL_MCC are undefined without both present and absent phrases")
    if ignored := len(pairs) - len(counted):
        notes.append(f"{ignored} pairs without exhaustive masks are ignored")
    title = f"{results.name} against {truth.name}"
    return report_values(title, "concepts", figures, [*notes, *report.lines()])


def score_concepts(answers: Sequence[ConceptAnswer]) -> dict[str, float]:
    """Compute cgF1 with its parts, and pHOTA with its parts for videos; NaN if undefined."""
    there = [answer for answer in answers if answer.pair.tracks]
    fits = [optimal_ious(track_ious(answer.found, answer.pair.tracks)) for answer in there]
    f1 = matched_f1(fits, [len(answer.pair.tracks) for answer in there])
    mcc = image_correlation(
        [bool(answer.found) for answer in answers], [bool(answer.pair.tracks) for answer in answers]
    )
    figures = {"cgF1": 100 * f1 * mcc, "pmF1": f1, "IL_MCC": mcc}
    if any(answer.pair.is_video for answer in answers):
        # Combine the counts of all pairs.
        tp, fn, fp, association = np.sum([count_hota(answer) for answer in answers], axis=0)
        detection = tp / np.maximum(tp + fn + fp, 1)
        associated = association / np.maximum(tp, 1)
        figures["pHOTA"] = float(np.sqrt(detection * associated).mean())
        figures |= {"pDetA": float(detection.mean()), "pAssA": float(associated.mean())}
    return figures


def track_ious(
    found: Sequence[saco.MaskTrack], truths: Sequence[saco.MaskTrack]
) -> Floats:  # (n, m)
    """Return the IoUs of the volumes of tracks."""
    table = np.zeros((len(found), len(truths)))
    sizes = [_volume(track) for track in truths]
    for row, ours in enumerate(found):
        size = _volume(ours)
        for column, theirs in enumerate(truths):
            both = [
                float(rle_intersection([one], [other])[0, 0])
                for one, other in zip(ours, theirs, strict=True)
                if one is not None and other is not None
            ]
            union = size + sizes[column] - sum(both)
            table[row, column] = sum(both) / union if union else 0.0
    return table


def _volume(track: saco.MaskTrack) -> float:
    return float(sum(rle_area(rle) for rle in track if rle is not None))


def optimal_ious(table: Floats) -> Floats:  # (n, m) -> (n,)
    """Return the IoU of each prediction with its match; 0 without one."""
    from scipy.optimize import linear_sum_assignment

    ious = np.zeros(len(table))
    rows, columns = linear_sum_assignment(table, maximize=True)
    ious[rows] = table[rows, columns]
    return ious


def count_hota(one: ConceptAnswer) -> Floats:  # -> (4, A)
    """Count matches, annotated and predicted masks without a match of one pair over all frames, and
    sum the overlaps of the tracks of matches."""
    from scipy.optimize import linear_sum_assignment

    predicted, truths, zero = one.found, one.pair.tracks, np.zeros(len(ALPHAS))
    ours = np.array([[rle is not None for rle in track] for track in predicted], bool)
    theirs = np.array([[rle is not None for rle in track] for track in truths], bool)
    if not ours.any() or not theirs.any():
        return np.stack([zero, zero + theirs.sum(), zero + ours.sum(), zero])
    frames = []  # present predictions and truths of each frame, and their IoUs
    shared = np.zeros((len(predicted), len(truths)))
    for frame in range(one.pair.frames):
        rows = np.flatnonzero(ours[:, frame]).tolist()
        columns = np.flatnonzero(theirs[:, frame]).tolist()
        if not rows or not columns:
            continue
        masks = [rle for row in rows if (rle := predicted[row][frame]) is not None]
        true = [rle for column in columns if (rle := truths[column][frame]) is not None]
        ious = rle_iou(masks, true)
        total = ious.sum(0)[None] + ious.sum(1)[:, None] - ious
        shared[np.ix_(rows, columns)] += np.divide(
            ious, total, out=np.zeros_like(ious), where=total > FLOAT_EPSILON
        )
        frames.append((rows, columns, ious))
    lengths = ours.sum(1)[:, None] + theirs.sum(1)[None]  # (n, m)
    similarity = shared / (lengths - shared)
    matches = np.zeros((len(ALPHAS), len(predicted), len(truths)))
    for rows, columns, ious in frames:
        chosen = linear_sum_assignment(similarity[np.ix_(rows, columns)] * ious, maximize=True)
        fits = ious[chosen] >= ALPHAS[:, None] - FLOAT_EPSILON  # (A, pairs)
        matches[:, np.array(rows)[chosen[0]], np.array(columns)[chosen[1]]] += fits
    tp = matches.sum((1, 2))
    association = (matches**2 / np.maximum(lengths - matches, 1)).sum((1, 2))
    return np.stack([tp, theirs.sum() - tp, ours.sum() - tp, association])
