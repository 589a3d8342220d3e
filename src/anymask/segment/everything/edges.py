"""Refine the edges of masks on the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from anymask.base import UintImage
from anymask.masks import CLEAN, Features, Mask, Prompt, rle_area, rle_iou
from anymask.runtime import ImageRuntime
from anymask.segment.pipeline import PromptContext, decode_prompts, encode_image, refine_edges
from anymask.segment.settings import SegmentSettings

REFINED_BATCH_SIZE = 64  # masks per batch of edge refinement, to limit memory
AGAIN = 0.9  # minimum IoU of a mask and the prediction for its click
AS_SHOWN = SegmentSettings(
    multimask=True, ranking="own", max_hole_area=CLEAN, min_island_area=CLEAN, refine_edges=True
)


def refine_record_edges(
    runtime: ImageRuntime,
    image: UintImage,
    records: Sequence[Mask],
    encoded: Features | None = None,
) -> list[Mask]:
    """Refine the edges of masks on the image, in their order.

    Edge refinement requires logits, so each mask is predicted again from its click. A mask that the
    click does not reproduce (it was found in a crop, or has changed) is kept unchanged.

    Args:
        runtime: Runtime of the model.
        image: Image (H, W, 3), possibly smaller than the image of `encoded`.
        records: Masks of the image.
        encoded: Embedding of the image, or None to encode it.
    """
    kept = list(records)
    clicked = [index for index, record in enumerate(kept) if record.points]
    if not clicked:
        return kept
    features = encode_image(runtime, image) if encoded is None else encoded
    for start in range(0, len(clicked), REFINED_BATCH_SIZE):
        some = clicked[start : start + REFINED_BATCH_SIZE]
        prompts = [Prompt.of(points=kept[index].points[:1]) for index in some]
        answers = decode_prompts(runtime, features, prompts, AS_SHOWN)
        for index, prompt, answer in zip(some, prompts, answers, strict=True):
            alike = rle_iou(answer.rles(), [kept[index].rle])[:, 0]
            best = int(alike.argmax())
            if alike[best] < AGAIN:
                continue
            question = PromptContext(runtime, image, features, prompt, AS_SHOWN)
            rle = refine_edges(answer.picked([best]), question).first.rle()
            if rle_area(rle):
                kept[index] = replace(kept[index], rle=rle)
    return kept
