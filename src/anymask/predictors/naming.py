"""Names of masks: a photo, masks and a choice of names in, the likeliest names of each out.

Letters: n masks, D the length of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from anymask.data.record_list import MaskRecords
from anymask.predictors.own_names import read_own_names
from anymask.primitives.candidates import Candidates
from anymask.primitives.close_up import close_up
from anymask.primitives.errors import InputError, PromptError
from anymask.primitives.name_table import ChosenNames, LabelSuggestion
from anymask.primitives.records import MaskRecord
from anymask.primitives.rle import Rle, mask_to_rle
from anymask.primitives.types import FloatArray, UintImage
from anymask.runtimes.protocol import ImageRuntime, MaskNaming, require

Names = str | Path | Sequence[str] | ChosenNames | None
FoundMasks = TypeVar("FoundMasks", Candidates, MaskRecords)
Nameable = Candidates | Sequence[MaskRecord] | ArrayLike

MOST_AT_ONCE = 256  # masks whose close-ups are held


def choose_names(runtime: ImageRuntime, names: Names) -> ChosenNames:
    """The names to choose from: a list, a file of one's own names, what was chosen before, or all
    that were learned.

    Raises ModelError for a model without names, InputError for a name that is not known.
    """
    table = require(runtime, MaskNaming).name_table()
    if isinstance(names, ChosenNames):
        return names
    if isinstance(names, str | Path):
        return read_own_names(Path(names), table)
    return table.chosen(names)


def naming_network(runtime: ImageRuntime) -> str:
    """What names the network of names. Raises ModelError for a model without one."""
    return require(runtime, MaskNaming).name_table().network


def mask_vectors(
    runtime: ImageRuntime, photo: UintImage, rles: Sequence[Rle]
) -> FloatArray:  # -> (n, D)
    """The vectors of masks of a photo. Raises ModelError for a model without names."""
    naming = require(runtime, MaskNaming)
    found = []
    for start in range(0, len(rles), MOST_AT_ONCE):
        seen = [close_up(photo, rle) for rle in rles[start : start + MOST_AT_ONCE]]
        told, _ = naming.look(
            np.stack([one.photo for one in seen]), np.stack([one.mask for one in seen])
        )
        found.append(told)
    return np.concatenate(found) if found else np.zeros((0, 0), np.float32)


def suggest_labels(
    runtime: ImageRuntime, photo: UintImage, masks: Nameable, names: Names, top: int
) -> list[list[LabelSuggestion]]:
    """What `Model.suggest_labels` answers."""
    if type(top) is not int or top < 1:
        raise InputError(f"top must be a whole number from 1 on, got {top!r}")
    chosen, rles = choose_names(runtime, names), _rles_of(masks, photo.shape[:2])
    if not rles:
        return []
    return chosen.suggest(mask_vectors(runtime, photo, rles), top)


def with_labels(
    runtime: ImageRuntime, photo: UintImage, found: FoundMasks, names: Names
) -> FoundMasks:
    """What `Model.with_labels` answers: empty masks have no name."""
    rles = _rles_of(found, photo.shape[:2])
    told = suggest_labels(runtime, photo, found, names, 1)
    labels = [
        (one[0].label, one[0].probability) if len(rle.counts) > 1 else (None, None)
        for one, rle in zip(told, rles, strict=True)
    ]
    if isinstance(found, Candidates):
        items = zip(found.items, labels, strict=True)
        return replace(
            found,
            items=tuple(replace(one, label=a, label_probability=b) for one, (a, b) in items),
        )
    records = [
        replace(record, label=a, label_probability=b)
        for record, (a, b) in zip(found, labels, strict=True)
    ]
    return MaskRecords(records, image_hw=found.image_hw, picture=found.picture)


def _rles_of(masks: Nameable, image_hw: tuple[int, ...]) -> list[Rle]:
    """The run-lengths of masks. Raises PromptError for masks of another photo, or of no shape."""
    if isinstance(masks, Candidates):
        rles = masks.rles()
    elif isinstance(masks, list | tuple) and not any(np.ndim(one) for one in masks):
        rles = [one.rle for one in masks if isinstance(one, MaskRecord)]
    else:
        planes = np.asarray(masks)
        planes = planes[None] if planes.ndim == 2 else planes
        if planes.ndim != 3 or planes.dtype.kind not in "bui":
            raise PromptError(
                "masks must be an answer, records, or an array (H, W) or (n, H, W) of bool or "
                f"whole numbers, got {planes.dtype} of the shape {planes.shape}"
            )
        rles = [mask_to_rle(plane != 0) for plane in planes]
    for rle in rles:
        if rle.size != tuple(image_hw):
            raise PromptError(
                f"the masks are of a photo of (H, W) = {rle.size}, this one is {tuple(image_hw)}; "
                "give the photo that they were made for"
            )
    return rles
