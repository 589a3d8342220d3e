"""Taking up of objects: masks that are known from elsewhere in, a session that goes on with them.

Masks of prompted frames are kept as the prompts that they stand for, as if a person had given them
here: what is corrected later rests on them. Where none is prompted, the first mask with pixels is.
It is also what was there before a correction on that frame, so that a click there changes it
instead of beginning anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from anymask.primitives.errors import InputError
from anymask.primitives.prompts import Prompt
from anymask.primitives.rle import rle_to_mask
from anymask.video.records import ObjectMask
from anymask.video.store import SessionStore, SpokenPrompt


def check_known(masks: Mapping[int, ObjectMask], length: int | None) -> None:
    """Raises InputError for masks without a pixel or of several sizes, and for frames that are not
    there."""
    sizes = {one.rle.size for one in masks.values()}
    if len(sizes) != 1 or not any(one.area for one in masks.values()):
        raise InputError(
            "the masks of an object have one (H, W), that of the video, and pixels on one frame at "
            f"least; got {len(masks)} masks of {len(sizes)} sizes"
        )
    if min(masks) < 0 or (length is not None and max(masks) >= length):
        raise InputError(
            f"the masks must lie on frames 0 to {'...' if length is None else length - 1}, got "
            f"{min(masks)} to {max(masks)}"
        )


def write_known(store: SessionStore, number: int, masks: Mapping[int, ObjectMask]) -> None:
    """Write an object's masks, and the prompts that they stand for."""
    seen = [frame for frame in sorted(masks) if masks[frame].area]
    prompted = [frame for frame in seen if masks[frame].prompted] or seen[:1]
    for frame in prompted:
        rle = masks[frame].rle
        store.write_prompt(number, frame, SpokenPrompt(Prompt.of(mask=rle_to_mask(rle)), rle))
    for frame, one in masks.items():
        store.write_mask(number, frame, replace(one, prompted=frame in prompted))
