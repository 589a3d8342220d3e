"""Prompts for a decoder: a `Prompt` in image pixels in, checked `ModelPrompts` in model pixels out.

Letters: N prompts, P points, m the side of a low-resolution mask.

A decoder takes N prompts of equal length at once, so prompts are grouped by their number of points;
nothing is padded that the reference code would not pad, so that a prompt's answer does not depend
on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, FloatArray, IntArray, PromptError
from anymask.masks import (
    Geometry,
    ModelPrompts,
    ModelSpec,
    Prompt,
    PromptKind,
    boxes_to_model,
    logits_to_masks,
    mask_to_model,
    points_to_model,
)
from anymask.models.rules.family import CORNERS, NO_POINT

KIND_NAMES: dict[PromptKind, str] = {
    "point": "positive clicks",
    "negative_point": "negative clicks",
    "box": "boxes",
    "mask": "mask prompts",
    "words": "words",
    "example": "examples",
}


def check_prompt(prompt: Prompt, image_hw: tuple[int, int], spec: ModelSpec) -> Prompt:
    """The prompt, its box cut at the photo's border; nothing is computed before this has passed.

    Raises PromptError for what the model was not made for, and for points or boxes off the photo.
    """
    refused = prompt.kinds - spec.accepts
    if refused:
        raise PromptError(
            f"{spec.name} takes {_listed(spec.accepts)}, got {_listed(refused)}; "
            "leave them out or take another model of `anymask models list`"
        )
    if spec.fixed_points and n_points(prompt) > spec.fixed_points:
        raise PromptError(
            f"{spec.name} takes at most {spec.fixed_points} points (a box counts as two), got "
            f"{n_points(prompt)}; leave some out"
        )
    _check_points(prompt, image_hw)
    box = _box_on_photo(prompt.box, image_hw)
    return prompt if box is None else replace(prompt, box=box)


def n_points(prompt: Prompt) -> int:
    """Clicks, and two for a box."""
    clicks = 0 if prompt.points is None else len(prompt.points)
    return clicks + 2 * (prompt.box is not None)


def _listed(some: frozenset[PromptKind]) -> str:
    return " and ".join(name for kind, name in KIND_NAMES.items() if kind in some)


def _check_points(prompt: Prompt, image_hw: tuple[int, int]) -> None:
    if prompt.points is None:
        return
    height, width = image_hw
    outside = ((prompt.points < 0) | (prompt.points >= (width, height))).any(axis=1)
    if outside.any():
        x, y = prompt.points[outside][0].tolist()
        raise PromptError(
            f"points must lie on the photo, 0 <= x < {width} and 0 <= y < {height}; "
            f"got ({x:g}, {y:g}); points are (x, y) in pixels of the photo, upright"
        )


def _box_on_photo(box: FloatArray | None, image_hw: tuple[int, int]) -> FloatArray | None:
    if box is None:
        return None
    height, width = image_hw
    cut: FloatArray = np.clip(box, 0, np.array([width, height] * 2, np.float32))
    if cut[0] >= cut[2] or cut[1] >= cut[3]:
        raise PromptError(
            f"a box must overlap the photo of {width} x {height} pixels; got "
            f"({', '.join(f'{value:g}' for value in box.tolist())}); boxes are x0, y0, x1, y1"
        )
    return cut


def group_prompts(
    prompts: Sequence[Prompt], geometry: Geometry, spec: ModelSpec, most: int
) -> Iterator[tuple[list[int], ModelPrompts]]:
    """Batches of prompts with equally many points, at most `most` each, and their places."""
    tokens = [_tokens(prompt, geometry, spec) for prompt in prompts]
    places: dict[int, list[int]] = {}
    for place, (coords, _) in enumerate(tokens):
        places.setdefault(len(coords), []).append(place)
    for same in places.values():
        for start in range(0, len(same), most):
            batch = same[start : start + most]
            masks, has_mask = _masks([prompts[place] for place in batch], geometry, spec)
            coords = np.stack([tokens[place][0] for place in batch])
            labels = np.stack([tokens[place][1] for place in batch])
            yield batch, ModelPrompts(coords, labels, masks, has_mask)


def _tokens(
    prompt: Prompt, geometry: Geometry, spec: ModelSpec
) -> tuple[FloatArray, IntArray]:  # -> (P, 2), (P,)
    """Clicks, then box corners, then "no point" where the family's reference code puts it."""
    coords = np.zeros((0, 2), np.float32)
    labels: list[int] = []
    if prompt.points is not None and prompt.labels is not None:
        coords = points_to_model(prompt.points, geometry)
        labels = prompt.labels.tolist()
    if prompt.box is not None:
        coords = np.concatenate([coords, boxes_to_model(prompt.box, geometry).reshape(2, 2)])
        labels += CORNERS
    missing = spec.fixed_points - len(labels)
    if not labels or (spec.pad_point and (prompt.box is None or spec.pad_box)):
        missing = max(missing, 1)  # a decoder needs at least one token
    if missing > 0:
        coords = np.concatenate([coords, np.zeros((missing, 2), np.float32)])
        labels += [NO_POINT] * missing
    return coords, np.array(labels, np.int64)


def _masks(
    prompts: Sequence[Prompt], geometry: Geometry, spec: ModelSpec
) -> tuple[FloatArray, FloatArray]:  # -> (N, 1, m, m), (N,)
    masks = np.zeros((len(prompts), 1, spec.mask_side, spec.mask_side), np.float32)
    has_mask = np.zeros(len(prompts), np.float32)
    for place, prompt in enumerate(prompts):
        if prompt.mask is not None:
            masks[place] = mask_to_model(prompt.mask, geometry, spec.mask_side)
            has_mask[place] = 1
    return masks, has_mask


def mask_on_photo(
    mask: NDArray[Any], geometry: Geometry, mask_side: int, threshold: float
) -> BoolArray:  # (h, w) -> (H, W)
    """A mask of any size laid over the whole photo, nearest pixel.

    mask  bool, or integers (not 0 = object), or floats: all within 0..1 they are a soft mask, cut
          at a half; else logits, those of (mask_side, mask_side) in model space
    """
    if mask.dtype.kind == "f":
        soft = mask.min(initial=0) >= 0 and mask.max(initial=0) <= 1
        if not soft and mask.shape == (mask_side, mask_side):
            mask = logits_to_masks(mask[None].astype(np.float32), geometry, threshold)[0]
        else:
            mask = mask > (0.5 if soft else threshold)
    boolean: BoolArray = mask.astype(np.bool_)
    if boolean.shape == geometry.image_hw:
        return boolean
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(geometry.image_hw, boolean.shape, strict=True)
    )
    stretched: BoolArray = boolean[rows[:, None], columns[None, :]]
    return stretched
