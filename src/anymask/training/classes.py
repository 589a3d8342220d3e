"""Semantic classes: label maps from labelled masks, and the loss of a class head.

Letters: B images, K classes, s the side of the low-resolution masks. A map holds 0 for background,
else 1 to K in the recipe's order.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anymask.base import InputError, UintImage
from anymask.formats import AnnotatedImage
from anymask.masks import UNLABELED, rle_merge, rle_to_mask

DICE = 0.8  # weight of the Dice loss; the rest is cross-entropy (SAMed, section 3.4)
MAX_CLASSES = 100


def class_names(
    labels: Sequence[str], expected: Sequence[str] | None, listed: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the classes of a run, in order: those requested, or all labels of the masks.

    Raises InputError for a class without masks, and for too many classes.

    Args:
        listed: Class list of the dataset, which defines the order.
    """
    used = {label or UNLABELED for label in labels}
    first = [name for name in listed if name in used]
    known = first + sorted(used - set(first))
    for name in expected or ():
        if name not in known:
            raise InputError(
                f"Unknown class {name!r}: no mask has this label. Use: {', '.join(known[:20])}."
            )
    names = tuple(expected or known)
    if not 1 <= len(names) <= MAX_CLASSES or len(set(names)) < len(names):
        raise InputError(
            f"Invalid number of classes: {len(names)}. Set 1 to {MAX_CLASSES} different labels."
        )
    return names


def class_masks(image: AnnotatedImage, classes: Sequence[str]) -> UintImage:  # -> (K, H, W) 0, 1
    """Return one mask for each class: the union of all masks with its label."""
    masks = np.zeros((len(classes), *image.hw), np.uint8)
    for number, name in enumerate(classes):
        rles = [mask.rle for mask in image.objects if (mask.label or UNLABELED) == name]
        if rles:
            masks[number] = rle_to_mask(rle_merge(rles))
    return masks


def class_numbers(masks: UintImage, small: tuple[int, int]) -> UintImage:  # (K, S, S) -> (s, s)
    """Return the majority class of each cell; 0 for background."""
    shares = [
        cv2.resize(mask * np.uint8(255), small, interpolation=cv2.INTER_AREA).astype(np.int64)
        for mask in masks
    ]
    background = np.maximum(0, 255 - np.sum(shares, axis=0))
    return np.argmax(np.stack([background, *shares]), axis=0).astype(np.uint8)


def class_loss(logits: Tensor, numbers: Tensor) -> Tensor:
    """Cross-entropy and dice of a label map: (B, 1 + K, s, s), (B, s, s) -> ()."""
    entropy = F.cross_entropy(logits, numbers)
    given = logits.softmax(1)[:, 1:].flatten(2)
    expected = F.one_hot(numbers, logits.shape[1]).permute(0, 3, 1, 2)[:, 1:].flatten(2).to(given)
    both, all_of_it = (given * expected).sum((0, 2)), (given + expected).sum((0, 2))
    shown = expected.sum((0, 2)) > 0
    dice = 1 - (2 * both + 1) / (all_of_it + 1)
    mean = (dice * shown).sum() / torch.clamp(shown.sum(), min=1)
    return (1 - DICE) * entropy + DICE * mean
