"""What a method shows by itself, with its own defaults: recall and precision at IoU .5 out.

What an annotator opens in the morning: `everything` as it is called without any setting. A mask is
right if it overlaps an object that no better mask has with an IoU of at least .5; one that lies in
an area that does not count is not counted. Where a set labels only some of what a photo holds, the
precision is a lower bound. Average recall (`average_recall`) is the other measure of everything,
without the thresholds.
"""

from __future__ import annotations

import numpy as np

from anymask.evaluation.average_recall import FindsEverything
from anymask.evaluation.instance_ap import AREA_RANGES, match_masks, rank_masks
from anymask.evaluation.metrics import Shares
from anymask.evaluation.protocols import Segmenter
from anymask.evaluation.selection import EvalSet, EvalSettings, OnProgress, choose_masks
from anymask.evaluation.set_results import NotMeasured, SetResult, shares_to_metric

HALF = 0  # place of IoU .5 among `coco_rules.IOU_THRESHOLDS`


def measure_shown(
    method: Segmenter, one: EvalSet, settings: EvalSettings, told: OnProgress
) -> SetResult:
    """Measure what a method shows when it is asked for everything.

    Raises NotMeasured for one that has no `everything` of its own.
    """
    if not isinstance(method, FindsEverything) or not method.spec.accepts:
        raise NotMeasured("it shows nothing by itself")
    chosen = choose_masks(one.plan, one.samples, settings.limit, settings.per_image)
    images = np.unique(chosen.image)  # each with all of its objects: precision needs them
    rows = []
    for done, number in enumerate(images, start=1):
        sample = one.samples[int(number)]
        records = method.everything(sample.image())
        ranked = rank_masks(
            [record.rle for record in records],
            np.array([record.score for record in records], np.float64),
            sample.rles,
            [sample.ignore] if sample.ignore is not None else [],
            most=max(len(records), 1),
        )
        matches = match_masks(ranked, AREA_RANGES["all"])
        counted = np.count_nonzero(~matches.ignored[HALF])
        rows.append((int(matches.found()[HALF]), matches.truths, counted))
        told(done, len(images))
    found, truths, shown = np.array(rows, np.float64).reshape(-1, 3).T
    photos = np.ones(len(found))
    return SetResult(
        figures=(
            shares_to_metric("recall .5", Shares(found, truths, truths)),
            shares_to_metric("precision .5", Shares(found, shown, shown)),
            shares_to_metric("masks a photo", Shares(shown, photos, photos), digits=1),
        )
    )
