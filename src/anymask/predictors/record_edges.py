"""Edges of everything's masks: a photo and records in, the same objects with finer edges out.

Records are run-lengths, and an edge is moved where the logits are undecided (`edges`): so each mask
is asked for with its click once more. A mask that does not come again (it was found in a crop, or
changed since) stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from anymask.predictors.edges import refine_edges
from anymask.predictors.pipeline import decode_prompts, embed_image, question_of
from anymask.predictors.question import Question
from anymask.predictors.settings import SegmentSettings
from anymask.primitives.candidates import Candidates
from anymask.primitives.layout import with_rle
from anymask.primitives.prompts import Prompt
from anymask.primitives.records import MaskRecord
from anymask.primitives.region_size import CLEAN
from anymask.primitives.rle import rle_area, rle_iou
from anymask.primitives.types import Embedding, UintImage
from anymask.runtimes.protocol import ImageRuntime

AT_ONCE = 64  # masks: what they are answered with is memory
SAME = 0.9  # IoU of a mask and the one that its click brings again
AS_SHOWN = SegmentSettings(
    multimask=True,
    ranking="own",
    max_hole_area=CLEAN,
    min_island_area=CLEAN,
    refine_edges=True,
)


def refine_record_edges(
    runtime: ImageRuntime,
    photo: UintImage,
    records: Sequence[MaskRecord],
    seen: Embedding | None = None,
) -> list[MaskRecord]:
    """The records in their order, each with its edge where the photo has it.

    photo  (H, W, 3), or smaller where `seen` says of which size it was
    seen   the photo's embedding, where somebody has it
    """
    kept = list(records)
    asked = [index for index, record in enumerate(kept) if record.points]
    if not asked:
        return kept
    embedding = embed_image(runtime, photo) if seen is None else seen
    for start in range(0, len(asked), AT_ONCE):
        some = asked[start : start + AT_ONCE]
        prompts = [Prompt.of(points=kept[index].points[:1]) for index in some]
        answers = decode_prompts(runtime, embedding, prompts, AS_SHOWN)
        for index, prompt, answer in zip(some, prompts, answers, strict=True):
            question = question_of(runtime, photo, embedding, prompt, AS_SHOWN)
            kept[index] = _refined(kept[index], answer, question)
    return kept


def _refined(record: MaskRecord, answer: Candidates, question: Question) -> MaskRecord:
    alike = rle_iou(answer.rles(), [record.rle])[:, 0]  # without a mask of the photo's size
    best = int(alike.argmax())
    if alike[best] < SAME:
        return record
    rle = refine_edges(answer.picked([best]), question).first.rle()
    return with_rle(record, rle) if rle_area(rle) else record
