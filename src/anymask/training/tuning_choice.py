"""Weights between two networks: a start and what was learned from it in, a network between out.

A straight line leads from weights to those that were tuned from them, and a network on it often
answers new pictures better than both ends (Wortsman et al. 2022, "Robust fine-tuning of zero-shot
models", section 3): it keeps more of what the start had learned from many pictures.

Which weights a fine-tuning ends with.

All weights that a run may end with answer the same held-out masks: those of its last step and those
of its best judgement, each a quarter of the way back to the start (`training.blending`) and as they
are. The first of these is written, unless a later one is surely better on the mean over the clicks.
The start stays where nothing gained. One or two held-out photos cannot tell that; then the start
stays only where it is surely better: few labels are worth more than what they say of themselves.

Doubts about a fine-tuning's data, which only their owner can settle.

Contact sheet of a fine-tuning's data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch import nn

from anymask.base import write_whole
from anymask.evaluation import jpeg_bytes
from anymask.images import TIFF, read_pages, shown_picture
from anymask.masks import contact_sheet, contours, rle_to_mask
from anymask.training.held_out import (
    Measured,
    TuningOutcome,
    evenly,
    gained,
    measure,
    model_of,
    surely_better,
)
from anymask.training.tuned_weights import starting_module

if TYPE_CHECKING:
    from anymask.base import UintImage
    from anymask.formats import AnnotatedImage
    from anymask.masks import ChannelMix
    from anymask.training.recipe import Recipe


@torch.no_grad()
def blend(learned: nn.Module, start: nn.Module, share: float) -> nn.Module:
    """`learned` itself, its numbers now `share` of the way from those of `start`.

    share  0 to 1: of what was learned; 1 changes nothing

    What `start` has not, or has in another shape, stays as it was learned; so do whole numbers.
    """
    old = start.state_dict()
    for name, value in learned.state_dict().items():
        first = old.get(name)
        if first is not None and first.shape == value.shape and value.is_floating_point():
            value.copy_(first.to(value).lerp(value, share))
    return learned


SHARES = (0.75, 1.0)  # of what was learned


@dataclass(frozen=True)
class TuningEnd:
    """Weights that a run may end with.

    judged  whether they are those of the best judgement, not of the last step
    share   of what was learned; the rest is of the start
    """

    judged: bool = False
    share: float = 1.0

    def in_words(self) -> str:
        """Which weights were written."""
        when = "best judgement" if self.judged else "last step"
        back = f", {1 - self.share:.0%} of the way back to the start" if self.share < 1 else ""
        return f"weights: those of the {when}{back}"


def choose_end(
    folder: Path,
    recipe: Recipe,
    state: dict[str, Any],
    held: Sequence[AnnotatedImage],
    before: Measured,
) -> tuple[nn.Module, TuningOutcome, TuningEnd]:
    """The network to write, what it brought, and where it is from: the start if nothing gained.

    state  of the run's last checkpoint

    Classes are only in what was learned, which is kept then.
    """
    best: tuple[Measured, TuningEnd] | None = None
    for end in ends_of(recipe, state):  # one network at a time: a large one has gigabytes
        measured = measure(model_of(network_at(folder, recipe, state, end)), held)
        if best is None or surely_better(measured, best[0]):
            best = (measured, end)
    assert best is not None  # a run has a last step
    trained, end = best
    if recipe.classes or is_kept(before, trained):
        module = network_at(folder, recipe, state, end)
        return module, TuningOutcome(before, trained, trained, started=False), end
    kept = measure(model_of(starting_module(folder, recipe)), held)
    outcome = TuningOutcome(before, trained, kept, started=True)
    return starting_module(folder, recipe), outcome, end


def is_kept(before: Measured, trained: Measured) -> bool:
    """Whether what was learned is written, not the start."""
    if before.is_of_few:
        return not surely_better(before, trained)
    return gained(before, trained)


def ends_of(recipe: Recipe, state: dict[str, Any]) -> Iterator[TuningEnd]:
    """What a run may end with.

    Adapters, and what is added to a network, are not in the start: there is no way back for them.
    """
    whole = recipe.learn in ("all", "decoder") and not recipe.classes
    best = state.get("best")
    apart = best is not None and best["step"] != state["progress"]["step"]
    for judged in (False, True) if apart else (False,):
        for share in SHARES if whole else (1.0,):
            yield TuningEnd(judged, share)


def network_at(folder: Path, recipe: Recipe, state: dict[str, Any], end: TuningEnd) -> nn.Module:
    """The finished network at one end of a run."""
    from anymask.training.trainee import trained_module

    learned = trained_module(state_at(state, end))
    return learned if end.share == 1 else blend(learned, starting_module(folder, recipe), end.share)


def state_at(state: dict[str, Any], end: TuningEnd) -> dict[str, Any]:
    """A checkpoint whose averaged weights are those of an end."""
    average = state["best"]["average"] if end.judged else state["average"]
    return state | {"average": average, "best": None}


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


SHEET_PHOTOS = 24
CELL = 320  # pixels of a photo on the sheet
MOST_MASKS = 200  # that are outlined on one photo


def write_sheet(
    path: Path,
    photos: Sequence[AnnotatedImage],
    mix: ChannelMix | None = None,
    names: Mapping[str, str] | None = None,
) -> None:
    """Photos at equal distances, each with the outlines of its masks, as a JPEG.

    mix    how pictures of other channels are seen
    names  what their owner calls the photos, by their names

    Raises ImageError, DataError for a photo that cannot be opened.
    """
    if path.is_file():
        return
    known = names or {}
    cells = [
        (outlined(photo, mix), f"{known.get(photo.name, photo.name)}: {len(photo.rles)} masks")
        for photo in evenly(photos, SHEET_PHOTOS)
    ]
    write_whole(path, jpeg_bytes(contact_sheet(cells, cell=CELL)))


def outlined(photo: AnnotatedImage, mix: ChannelMix | None = None) -> UintImage:
    """The photo, about as large as its cell, with the outlines of its masks."""
    image = shown_picture(photo.picture(mix), mix)
    scale = min(1.0, 2 * CELL / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    masks = [
        cv2.resize(rle_to_mask(rle).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        for rle in photo.rles[:MOST_MASKS]
    ]
    return contours(small, np.stack(masks))
