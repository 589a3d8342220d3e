"""Corrections of an object: which prompted frames still count, and what the tracker would lose.

A tracker that cannot reproduce a corrected mask on its own frame, such as that of thin parts, loses
it on the next frames, too. For such an object, a linear model of the encoder features is fitted to
the corrected mask, and adds its evidence to the logits of the following frames.

Source of the idea: Robinson et al. 2020 (FRTM, arXiv:2003.00630, section 3.1). Differences: least
squares in closed form on one frame, only for corrections, and as evidence beside the tracker.

Letters: C channels of all feature maps, P cells of the decoder's grid (h, w), G of the keys' grid.
"""

from __future__ import annotations

import cv2
import numpy as np

from anymask.base import BoolArray, FloatArray
from anymask.masks import FeatureMap
from anymask.track.matching import Glimpse, grown, match_cells, unit_features

AGREED = 0.5  # minimum IoU of a correction with the labels that an earlier prompted frame predicts
KEPT = 0.9  # IoU of a reproduced correction from which the tracker needs no evidence
MISSED = 0.2  # decrease below it at which the evidence has its full weight
SCALE = 10.0  # length of the features of a cell
RIDGE = 0.01  # regularization of the least squares
AROUND, NEAR = 12, 4.0  # cells around the object, and their weight; inside it twice as much
BORDER, SLOPE = 0.33, 12.0  # predicted share at the border of the object, and logits per share
EVIDENCE, LOGITS = 5.0, 4.0  # limits of both logits before they are added
REACH = 6  # distance to the predicted object up to which evidence counts, in cells


def agreeing(anchors: tuple[Glimpse, ...], correction: Glimpse) -> tuple[Glimpse, ...]:
    """Prompted frames whose labels, matched to the corrected frame, agree with the correction."""
    return tuple(one for one in anchors if _agrees(one, correction))


def _agrees(anchor: Glimpse, correction: Glimpse) -> bool:
    if not min(anchor.labels.max(initial=0), correction.labels.max(initial=0)) > 0.5:
        return True  # the object is missing on one of the frames
    found = match_cells(correction.keys, (anchor,))[0]
    shared = np.minimum(found, correction.labels).sum()
    return bool(shared >= AGREED * np.maximum(found, correction.labels).sum())


def fit_evidence(
    maps: tuple[FeatureMap, ...], share: FloatArray, side: int, reproduced: float
) -> FloatArray | None:  # (h, w) -> (C + 1,)
    """Weights of the evidence for a corrected object; None if the tracker needs no evidence.

    Args:
        share: Object share of each cell.
        side: Cells along the model's side.
        reproduced: IoU of the correction and the tracker's own prediction on its frame.
    """
    strength = min(1.0, (KEPT - reproduced) / MISSED)
    if strength <= 0 or share.max(initial=0) <= 0.5:
        return None
    height, width = share.shape
    planes = [
        cv2.resize(plane, (side, side), interpolation=cv2.INTER_LINEAR)[:height, :width].ravel()
        for one in maps
        for plane in _scaled(one, len(maps))
    ]
    features = np.stack([*planes, np.ones(height * width, np.float32)])  # (C + 1, P)
    near = grown(share > 0.2, AROUND)
    weights = np.where(near, NEAR, 1) * np.where(share > 0.5, 2, 1)
    weighted = features * np.asarray(weights / weights.sum(), np.float32).ravel()
    squares = (weighted @ features.T).astype(np.float64)
    squares[np.diag_indices(len(squares))] += RIDGE
    fitted = np.linalg.solve(squares, weighted @ share.ravel())
    fitted[-1] -= BORDER
    return np.asarray(strength * SLOPE * fitted, np.float32)


def add_evidence(
    logits: FloatArray, maps: tuple[FeatureMap, ...], weights: FloatArray, prior: BoolArray
) -> FloatArray:  # (h, w)
    """Logits of an object with its evidence, where a prior or the object is near."""
    (height, width), first = logits.shape, 0
    side = max(one.values.shape[-1] for one in maps)
    found = np.full((side, side), weights[-1], np.float32)
    for one in maps:
        planes = _scaled(one, len(maps))
        part = np.tensordot(weights[first : first + len(planes)], planes, 1)
        found += cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR)
        first += len(planes)
    evidence = found[:height, :width].clip(-EVIDENCE, EVIDENCE)
    both = logits.clip(-LOGITS, LOGITS) + evidence
    return np.asarray(np.where(grown(prior | (logits > 0), REACH), both, logits), np.float32)


def _scaled(one: FeatureMap, count: int) -> FloatArray:  # (C, h, w)
    """Unit features of one of several maps, which have the length SCALE together."""
    return np.asarray(unit_features(one.values) * (SCALE / np.sqrt(count)), np.float32)
