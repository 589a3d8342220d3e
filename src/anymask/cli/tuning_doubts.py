"""Doubts about a fine-tuning's data, which only their owner can settle: photos in, lines out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from anymask.cli.held_out import evenly
from anymask.data.pages import read_pages
from anymask.data.planes import TIFF
from anymask.primitives.rle import rle_to_mask

if TYPE_CHECKING:
    from anymask.data.annotations import AnnotatedImage

PHOTOS = 50  # that are looked at for masks of many parts
MANY = 4  # parts of a lone mask, from which on they may be objects


def doubts(
    photos: Sequence[AnnotatedImage], names: Mapping[str, str], channels: Mapping[str, Any]
) -> Iterator[str]:
    """What may be meant otherwise than it is learned.

    names     what their owner calls the photos, by their names
    channels  those that are learned from together, as a recipe has them; of photos none
    """
    if not channels:
        yield from _stacks(photos, names)
    yield from _lone_masks(evenly(photos, PHOTOS))


def _stacks(photos: Sequence[AnnotatedImage], names: Mapping[str, str]) -> Iterator[str]:
    """Pictures with several pages or channels, of which one page is learned from."""
    files = [one.source for one in photos if isinstance(one.source, Path)]
    held = ((file.name, read_pages(file)) for file in files if file.suffix.lower() in TIFF)
    stacks = [(name, pages) for name, pages in held if pages.count > 1]
    if stacks:
        name, pages = stacks[0]
        yield (
            f"{len(stacks)} pictures are stacks, as {names.get(name, name)}"
            f"{pages.axes_in_words()}: only the first page of each is learned from; where pages "
            f"are channels, --channels {pages.count} learns from all"
        )


def _lone_masks(photos: Sequence[AnnotatedImage]) -> Iterator[str]:
    """One mask a photo, of many parts: objects that have no numbers of their own, as in black and
    white masks."""
    if any(len(photo.rles) != 1 for photo in photos):
        return
    parts = [_count_parts(photo) for photo in photos]
    if parts and np.median(parts) >= MANY:
        yield (
            f"every photo has one mask, of {np.median(parts):.0f} parts as a rule: all of them are "
            "learned as one object; if each is an object, give each a number of its own "
            "(skimage.measure.label numbers the parts of a black and white mask)"
        )


def _count_parts(photo: AnnotatedImage) -> int:
    mask = rle_to_mask(photo.rles[0]).view(np.uint8)
    return cv2.connectedComponents(mask)[0] - 1
