"""A second look at a photo in the mirror: prompts in, the mean of both answers out.

A model does not answer alike about a photo and its mirror image, though both show the same things;
the mean of both answers is better than either, as their errors differ (Sofiiuk et al. 2021,
"Reviving iterative training with mask guidance", section 4, whose figures are measured so).

Letters: N prompts, P points, T masks, S the model's input side, m that of the masks.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anymask.families.choice import CORNERS, NO_POINT
from anymask.families.family import Decode
from anymask.primitives.spec import Geometry, ModelSpec
from anymask.primitives.types import FloatArray, ModelPrompts


def both_ways(decode: Decode, mirrored: Decode, place: Geometry, spec: ModelSpec) -> Decode:
    """A decoder that answers with the mean of logits and quality of two.

    decode, mirrored  of the photo, and of its mirror image
    place             how the photo lies in model space; its mirror image lies there alike
    """
    cells = place.input_hw[1] * spec.mask_side / spec.image_side  # that the photo fills, across

    def answer(prompts: ModelPrompts) -> tuple[FloatArray, FloatArray]:
        logits, quality = decode(prompts)
        turned, other = mirrored(mirror_prompts(prompts, place, cells))
        half = np.float32(0.5)
        return half * (logits + mirror_cells(turned, cells)), half * (quality + other)

    return answer


def mirror_prompts(prompts: ModelPrompts, place: Geometry, cells: float) -> ModelPrompts:
    """The same prompts in the mirror image."""
    coords, labels = prompts.coords.copy(), prompts.labels
    x = coords[..., 0]
    x[labels != NO_POINT] = place.input_hw[1] - x[labels != NO_POINT]
    left, right = (labels == corner for corner in CORNERS)
    x[left], x[right] = x[right], x[left]  # one of each in every row with a box
    return replace(prompts, coords=coords, masks=mirror_cells(prompts.masks, cells))


def mirror_cells(planes: FloatArray, cells: float) -> FloatArray:  # (.., m, m) -> the same
    """Planes whose first `cells` columns are mirrored; between two columns their values mix."""
    side = planes.shape[-1]
    source = np.clip(cells - 1 - np.arange(side), 0, side - 1)
    low = np.floor(source).astype(np.int64)
    high = np.minimum(low + 1, side - 1)
    share = (source - low).astype(np.float32)
    mixed: FloatArray = planes[..., low] * (1 - share) + planes[..., high] * share
    return mixed
