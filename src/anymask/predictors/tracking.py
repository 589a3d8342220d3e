"""Tracking with an image model: an object's mask on one frame in, its mask on the next frame out.

The model is asked on the next frame for what the last mask and its box, enlarged, mean there. That
follows slow motion; nothing is remembered of how the object looks, as a video model would.
"""

from __future__ import annotations

from anymask.predictors.image import Model
from anymask.primitives.prompts import Prompt
from anymask.primitives.rle import mask_to_rle, rle_box_xyxy
from anymask.primitives.types import BoolArray, Embedding

LEAST_OVERLAP = 0.2  # IoU with the last mask below which the object is gone
MARGIN = 0.15  # of the box's side, on each side of it, for the object's motion


def track_mask(model: Model, seen: Embedding, last: BoolArray) -> BoolArray | None:
    """The object on the next frame (H, W), or None where it is gone.

    seen  the next frame
    last  (H, W) the object on the frame before, at least one pixel
    """
    prompt = Prompt.of(mask=last, box=enlarge_box(rle_box_xyxy(mask_to_rle(last)), seen.image_hw))
    mask = model.segment(seen, prompts=[prompt])[0].masks[0]
    overlap = (mask & last).sum() / max((mask | last).sum(), 1)
    return None if overlap < LEAST_OVERLAP else mask


def enlarge_box(box: tuple[int, int, int, int], hw: tuple[int, int]) -> tuple[float, ...]:
    """A box of pixels x0, y0, x1, y1 with a margin, inside an image of height and width `hw`."""
    x0, y0, x1, y1 = box
    wide, high = MARGIN * (x1 - x0 + 1), MARGIN * (y1 - y0 + 1)
    return (
        max(0, x0 - wide), max(0, y0 - high), min(hw[1], x1 + 1 + wide), min(hw[0], y1 + 1 + high),
    )  # fmt: skip
