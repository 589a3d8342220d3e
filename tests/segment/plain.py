"""Reference automatic mask generation: every mask drawn at the photo's size, then filtered.

The slow truth of `everything.find_everything`:
the order of segment-anything's `SamAutomaticMaskGenerator` (Apache-2.0), no crops, no clean-up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from anymask.base import FloatArray
from anymask.masks import Features, Mask, box_nms, logits_to_image, mask_to_rle, stability_score
from anymask.runtime import ImageRuntime
from anymask.segment import Grid
from anymask.segment.everything.search import grid_prompts


def find_plainly(
    runtime: ImageRuntime, embedding: Features, settings: Grid, batch: int = 64
) -> list[Mask]:
    """All masks of one photo that pass, best quality first.

    Args:
        batch: Number of clicks decoded at once.
    """
    spec, place = runtime.spec, embedding.geometry
    height, width = embedding.image_hw
    clicks = settings.points(0).astype(np.float64) * (width, height)
    found: list[Mask] = []
    for start in range(0, len(clicks), batch):
        asked = clicks[start : start + batch]
        decoded = runtime.decode(embedding.encoder_output, grid_prompts(asked, place, spec))
        kept = runtime.family.candidates(*decoded)
        for (x, y), planes, quality in zip(asked, *kept, strict=True):
            drawn = logits_to_image(planes, place)
            passed = _filter(drawn, quality, spec.mask_threshold, settings)
            found += [replace(record, points=((float(x), float(y)),)) for record in passed]
    boxes = [record.box for record in found]
    unique = box_nms(boxes, [record.score for record in found], settings.box_nms_thresh)
    return [found[index] for index in unique]


def _filter(
    drawn: FloatArray, quality: FloatArray, threshold: float, settings: Grid
) -> Iterator[Mask]:  # (K, H, W), (K,)
    least, offset = settings.stability, settings.stability_score_offset
    for logits, number in zip(drawn, quality, strict=True):
        if settings.score and not number > settings.score:
            continue
        stability = float(stability_score(logits, threshold, offset))
        if (logits > threshold).any() and (not least or stability >= least):
            rle = mask_to_rle(logits > threshold)
            yield Mask(rle, score=float(number), stability=stability)
