"""A second judgement of everything's masks: records in, the same with another objectness out.

Objectness (`objectness`) is worked out of a mask's logits while the photo is searched. The network
of names then looks at a close-up of each of the best candidates, and says whether it is an object;
what is known and what it says together give the chance, which times the quality is the new
objectness. A candidate that is nearly the same as one that was looked at shares what was said of
it; what says nothing of the others is taken for the worst that was said.

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

MOST = 48  # candidates of a photo that are looked at
ALIKE = 0.7  # IoU: of two such candidates the better one is looked at


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
    """The records in their order, judged; as they are where nobody can, or nobody did before."""
    naming, judgement = runtime.capability(MaskNaming), judgement_of(runtime)
    asked = [place for place, record in enumerate(records) if record.objectness is not None]
    if naming is None or judgement is None or not asked:
        return list(records)
    known = [records[place] for place in asked]
    looked = worth_judging(known)
    seen = [close_up(photo, known[place].rle) for place in looked]
    _, told = naming.look(
        np.stack([one.photo for one in seen]), np.stack([one.mask for one in seen])
    )
    said = np.full(len(known), told.min(), np.float64)
    rest = np.setdiff1d(np.arange(len(known)), looked)
    if len(rest):
        same = rle_iou([known[n].rle for n in rest], [known[n].rle for n in looked])
        near = same.argmax(axis=1)
        said[rest] = np.where(same.max(axis=1) >= ALIKE, told[near], told.min())
    said[looked] = told
    chances = judgement.chances(judging_facts(known_facts(known), said))
    judged = list(records)
    for place, record, chance in zip(asked, known, chances.tolist(), strict=True):
        judged[place] = replace(record, objectness=chance * min(max(record.quality, 0.0), 1.0))
    return judged


def known_facts(records: Sequence[MaskRecord]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """What is known of masks without a look, (n, 4): see `judging_facts`."""
    return np.array(
        [
            (record.quality, record.objectness or 0.0, record.stability or 0.0, record.coverage)
            for record in records
        ],
        np.float64,
    )
