"""Objects without a mask: a model and the given masks in, masks of further objects out.

Clicks on a grid, only where no given mask lies; what the model answers counts when it is sure, when
it lies mostly outside all given masks, and when nothing better says the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anymask.predictors.image import Model
from anymask.primitives.candidates import Candidates
from anymask.primitives.clicks import point_grid
from anymask.primitives.masks import mask_nms, stability_score
from anymask.primitives.prompts import Prompt
from anymask.primitives.records import MaskRecord, record_from_rle
from anymask.primitives.rle import Rle, rle_area, rle_intersection, rle_merge, rle_to_mask
from anymask.primitives.types import Embedding, Floats

OBJECT_GRID_SIDE = 12
LEAST_QUALITY = 0.6
LEAST_STABILITY = 0.65
LEAST_OBJECT_AREA = 64  # pixels
MOST_OF_PHOTO = 0.5  # larger masks are ground, not objects
MOST_COVERED = 0.3  # of the mask, by the given ones
SAME_ANSWER_IOU = 0.5  # IoU of two answers that mean one object


def find_missing(
    model: Model,
    embedding: Embedding,
    given: Sequence[Rle],
    points_per_side: int = OBJECT_GRID_SIDE,
) -> list[MaskRecord]:
    """Masks of objects that are not among the given ones, the surest first.

    points_per_side  of the grid of clicks; 0 finds nothing

    Their quality is the model's own, so that lists of several photos can be joined. A model that
    takes no clicks finds nothing.
    """
    clicks = _find_free_clicks(embedding.image_hw, given, points_per_side)
    if not len(clicks) or "point" not in model.spec.accepts:
        return []
    prompts = [Prompt.of(points=[click]) for click in clicks.tolist()]
    found: list[MaskRecord] = []
    covered = rle_merge(list(given)) if given else None
    for prompt, reply in zip(prompts, model.segment(embedding, prompts=prompts), strict=True):
        assert prompt.points is not None
        x, y = prompt.points[0].tolist()
        found += _keep_certain(reply, (x, y), covered)
    kept = mask_nms(
        [one.rle for one in found], [object_certainty(one) for one in found], SAME_ANSWER_IOU
    )
    return [found[place] for place in kept]


def object_certainty(record: MaskRecord) -> float:
    """How sure the model is of a mask: quality times stability."""
    return record.quality * (record.stability or 0.0)


def _find_free_clicks(
    image_hw: tuple[int, int], given: Sequence[Rle], points_per_side: int
) -> Floats:  # (P, 2)
    """The points of the grid that no mask covers, in pixels."""
    if points_per_side < 1:
        return np.zeros((0, 2))
    height, width = image_hw
    clicks = np.floor(point_grid(points_per_side).astype(np.float64) * (width, height))
    if not given:
        return clicks
    covered = rle_to_mask(rle_merge(list(given)))
    x, y = clicks.astype(np.int64).T
    free: Floats = clicks[~covered[y, x]]
    return free


def _keep_certain(
    reply: Candidates, click: tuple[float, float], covered: Rle | None
) -> list[MaskRecord]:
    """The candidates of one click that may be objects."""
    height, width = reply.geometry.image_hw
    stability = stability_score(reply.shown_logits, reply.threshold, 1.0)
    good = (reply.quality >= LEAST_QUALITY) & (stability >= LEAST_STABILITY)
    records = []
    for number in np.flatnonzero(good):
        rle = reply.items[number].rle()
        area = rle_area(rle)
        if not LEAST_OBJECT_AREA <= area <= MOST_OF_PHOTO * height * width:
            continue
        if covered is not None and rle_intersection([rle], [covered])[0, 0] > MOST_COVERED * area:
            continue
        record = record_from_rle(
            rle, quality=float(reply.quality[number]), stability=float(stability[number])
        )
        records.append(replace(record, points=(click,)))
    return records
