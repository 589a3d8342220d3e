"""What a fine-tuning says of data that may be meant otherwise."""

from pathlib import Path

import numpy as np
import tifffile

from anymask.formats import AnnotatedImage
from anymask.masks import Mask, mask_to_rle
from anymask.training.tuning_data import doubts

CHANNELS = 5


def test_pages_that_are_not_learned_from_are_told(tmp_path: Path) -> None:
    flat, stack = tmp_path / "flat.tif", tmp_path / "a1.tif"
    tifffile.imwrite(flat, np.zeros((4, 6), np.uint8))
    planes = np.zeros((CHANNELS, 4, 6), np.uint8)
    tifffile.imwrite(stack, planes, photometric="minisblack", metadata={"axes": "CYX"})
    images = [AnnotatedImage(file_name=one.name, hw=(4, 6), source=one) for one in (flat, stack)]
    assert list(doubts(images[:1], {}, {})) == []
    assert list(doubts(images, {}, {"lows": [0.0] * CHANNELS})) == []
    (told,) = doubts(images, {"a1.tif": "cells.tif"}, {})
    assert (
        "1 images are stacks of several pages, such as cells.tif (C 5). Only the first page" in told
    )
    assert "set channels to 5" in told


def dots(*counts: int) -> AnnotatedImage:
    """A photo with a mask of so many separate pixels each."""
    masks = []
    for row, count in enumerate(counts):
        mask = np.zeros((9, 20), bool)
        mask[2 * row, : 2 * count : 2] = True
        masks.append(Mask(mask_to_rle(mask)))
    return AnnotatedImage(file_name="a.png", hw=(9, 20), masks=tuple(masks))


def test_one_mask_of_many_parts_may_be_many_objects() -> None:
    (told,) = doubts([dots(7), dots(6), dots(1)], {}, {})
    assert told.startswith(
        "Every image has a single mask, which is trained as one object, but typically consists of 6"
    )
    assert list(doubts([dots(2), dots(3), dots(9)], {}, {})) == []  # few parts as a rule
    assert list(doubts([dots(7), dots(6, 1)], {}, {})) == []  # objects have numbers here
