"""Annotated pictures for the tests of formats: every awkward mask, with and without extras."""

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from anymask.formats import AnnotatedImage, LossReport, Policy, write_annotations
from anymask.masks import Mask, mask_to_rle
from tests.masks.strategies import masks, sizes

LABELS = ["cat", "dog: 'big'", 'a "b", c', "Фото", "7"]


@st.composite
def annotated_images(draw: Any, least: int = 0, filled: bool = False) -> AnnotatedImage:
    """Up to four masks, which may overlap, with labels and groups of their own.

    Args:
        filled: Whether all masks have pixels.
    """
    hw = draw(sizes(16))
    found = []
    for number in range(draw(st.integers(least, 4))):
        mask = draw(masks(hw))
        if filled and not mask.any():
            mask[0, 0] = True
        label = draw(st.sampled_from(LABELS))
        group = draw(st.sampled_from([None, number + 1]))
        found.append(Mask(mask_to_rle(mask), label, id=group))
    return AnnotatedImage(file_name="photos/a b.jpg", hw=hw, masks=tuple(found))


def written(target: Path, images: list[AnnotatedImage], form: str) -> LossReport:
    """Write images with exact outlines."""
    return write_annotations(images, target, form, Policy(tolerance=0))


def rings() -> AnnotatedImage:
    """Four masks: two parts and a hole; a pixel; nothing; everything."""
    mask = np.zeros((4, 9, 12), np.bool_)
    mask[0, 1:8, 1:7] = True
    mask[0, 3:5, 3:5] = False
    mask[0, 2, 9:11] = True
    mask[1, 8, 11] = True
    mask[3] = True
    found = [
        Mask(mask_to_rle(one), label)
        for one, label in zip(mask, ["ring", "dot", "none", "all"], strict=True)
    ]
    return AnnotatedImage(file_name="rings.png", hw=(9, 12), masks=tuple(found))


def pixels(image: AnnotatedImage) -> list[tuple[str | None, str]]:
    """What every format has to keep: (label, run-lengths) of each mask."""
    return [(mask.label, str(mask.rle.counts.tolist())) for mask in image.masks]
