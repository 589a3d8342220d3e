"""A judgement of everything's masks: records in, the same with their objectness out.

The quality says how well a mask is drawn, not whether anybody would draw it: of a cat it finds the
cat, its ear and the wall behind it, each with a good edge. The network of names looks at a close-up
of each of the best candidates and says whether it is an object. What it says and the quality give
the chance that a person's mask and the found one overlap with an IoU of .5; that times the quality
is the objectness. A candidate that is nearly the same as one that was looked at shares what was
said of it; nothing better than the worst that was said is thought of the others.

Letters: n records, k of them looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from anymask.predictors.objectness import least_objectness
from anymask.primitives.close_up import close_up
from anymask.primitives.judgement import JudgeWeights, judging_facts
from anymask.primitives.masks import mask_nms
from anymask.primitives.records import MaskRecord
from anymask.primitives.rle import rle_iou
from anymask.primitives.types import UintImage
from anymask.runtimes.protocol import ImageRuntime, MaskNaming

MOST = 96  # candidates of a photo that are looked at
ALIKE = 0.8  # IoU: of two such candidates the better one is looked at


def judgement_of(runtime: ImageRuntime) -> JudgeWeights | None:
    """What weighs the judge's word; None for a model without a judge."""
    naming = runtime.capability(MaskNaming)
    return None if naming is None else naming.name_table().judgement


def least_shown(runtime: ImageRuntime, photo: bool) -> float:
    """From which objectness on masks are shown: the judge's where there is a photo to look at."""
    judgement = judgement_of(runtime) if photo else None
    return least_objectness(runtime.family) if judgement is None else judgement.least


def worth_judging(records: Sequence[MaskRecord]) -> list[int]:
    """The places of the candidates that are looked at, the best first."""
    kept = mask_nms([record.rle for record in records], [record.rank for record in records], ALIKE)
    return [int(place) for place in kept[:MOST]]


def judge_records(
    runtime: ImageRuntime, photo: UintImage, records: Sequence[MaskRecord]
) -> list[MaskRecord]:
    """The records in their order, judged; as they are where nobody can."""
    naming, judgement = runtime.capability(MaskNaming), judgement_of(runtime)
    if naming is None or judgement is None or not records:
        return list(records)
    looked = worth_judging(records)
    seen = [close_up(photo, records[place].rle) for place in looked]
    _, told = naming.look(
        np.stack([one.photo for one in seen]), np.stack([one.mask for one in seen])
    )
    said = np.full(len(records), told.min(), np.float64)
    rest = np.setdiff1d(np.arange(len(records)), looked)
    if len(rest):
        same = rle_iou([records[n].rle for n in rest], [records[n].rle for n in looked])
        said[rest] = np.where(same.max(axis=1) >= ALIKE, told[same.argmax(axis=1)], told.min())
    said[looked] = told
    quality = np.array([record.quality for record in records], np.float64)
    chances = judgement.chances(judging_facts(said, quality)) * quality.clip(0, 1)
    return [
        replace(record, objectness=chance)
        for record, chance in zip(records, chances.tolist(), strict=True)
    ]
