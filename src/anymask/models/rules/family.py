"""The interface of a model family, and shared functions: decoder prompts and validation.

A family defines what the network itself does not: which of the decoder's T masks are returned for a
prompt and in which order, whether it is decoded again, and default thresholds. All functions use
NumPy in model space.

Letters: N prompts, P points, T masks of the decoder, K candidates, m the side of a mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, FloatArray, IntArray, PromptError
from anymask.masks import (
    CORNERS,
    NO_POINT,
    CropRefinement,
    Decode,
    Geometry,
    GridDefaults,
    ModelPrompts,
    ModelSpec,
    Multimask,
    Ordered,
    Prompt,
    PromptKind,
    Ranking,
    Tables,
    TokenRoles,
    boxes_to_model,
    logits_to_masks,
    mask_to_model,
    points_to_model,
)


class Family(Protocol):
    """Rules of a model: ambiguous prompts, candidate masks, and their order.

    Attributes:
        spec: Specification of the model.
        grid: Default thresholds of automatic mask generation.
        tables: Learned parameters besides the network's weights, by name.
        roles: Assignment of masks to prompts in training.
        closer: Parameters of the second prediction from a crop for an unambiguous prompt, or None
            if the family does not gain from it.
        stepwise: Whether several clicks of one call are decoded one after the other, each with the
            logits of the one before. False for all at once, as in the reference code.
        graded: Whether the candidates are levels of granularity. Then `granularity` selects among
            all of them, not only among those with a score near the best.
    """

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def grid(self) -> GridDefaults: ...

    @property
    def tables(self) -> Tables: ...

    @property
    def roles(self) -> TokenRoles: ...

    @property
    def closer(self) -> CropRefinement | None: ...

    @property
    def stepwise(self) -> bool: ...

    @property
    def graded(self) -> bool: ...

    def candidates(self, logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N, T, m, m), (N, T) -> the K candidates of ambiguous prompts, in the model's order."""
        ...

    def answer(
        self,
        decode: Decode,
        prompts: ModelPrompts,
        place: Geometry,
        multimask: Multimask,
        ranking: Ranking,
    ) -> list[Ordered]:
        """Decode N prompts on one image, and order the candidates of each.

        Args:
            decode: The decoder.
            prompts: N prompts.
            place: Position of the image in model space.
            multimask: "auto": candidates for a single click, one mask for an unambiguous prompt;
                True,
                False: the candidates or the one mask, as in the family's reference code.
            ranking: "own": ordered by predicted IoU, also for families with a learned ranking.
        """
        ...


# --- prompts
#
# A decoder requires N prompts of equal length, so prompts are grouped by their number of points.
# Padding is the same as in the reference code, so that a prediction does not depend on the other
# prompts of a batch.

KIND_NAMES: dict[PromptKind, str] = {
    "point": "positive points",
    "negative_point": "negative points",
    "box": "boxes",
    "mask": "mask prompts",
    "words": "words",
    "example": "examples",
    "embedding": "embeddings",
}


def check_prompt(prompt: Prompt, image_hw: tuple[int, int], spec: ModelSpec) -> Prompt:
    """Validate a prompt, and clip its box to the image, before anything is computed.

    A lasso becomes a box and a mask.

    Raises:
        PromptError: The prompt is not supported, or its points or box are outside the image.
    """
    prompt = prompt.drawn_in(image_hw, spec.accepts)
    refused = prompt.kinds - spec.accepts
    if refused:
        raise PromptError(
            f"{spec.name} does not support {_listed(refused)}. It supports "
            f"{_listed(spec.accepts)}. Omit the unsupported prompts, or use another model (see "
            "`anymask models list`)."
        )
    height, width = image_hw
    points, box = prompt.points, prompt.box
    count = (0 if points is None else len(points)) + 2 * (box is not None)
    if spec.fixed_points and count > spec.fixed_points:
        raise PromptError(
            f"{spec.name} supports at most {spec.fixed_points} points (a box counts as two), but "
            f"{count} were given. Pass fewer points."
        )
    if points is not None:
        outside = ((points < 0) | (points >= (width, height))).any(axis=1)
        if outside.any():
            x, y = points[outside][0].tolist()
            raise PromptError(
                f"Point ({x:g}, {y:g}) is outside the image. Points are (x, y) pixels of the "
                f"upright image, with 0 <= x < {width} and 0 <= y < {height}."
            )
    if box is None:
        return prompt
    cut: FloatArray = np.clip(box, 0, np.array([width, height] * 2, np.float32))
    if cut[0] >= cut[2] or cut[1] >= cut[3]:
        raise PromptError(
            f"Box ({', '.join(f'{value:g}' for value in box.tolist())}) is outside the image of "
            f"{width} x {height} pixels. Boxes are x0, y0, x1, y1 in pixels."
        )
    return replace(prompt, box=cut)


def _listed(some: frozenset[PromptKind]) -> str:
    return " and ".join(name for kind, name in KIND_NAMES.items() if kind in some)


def group_prompts(
    prompts: Sequence[Prompt], geometry: Geometry, spec: ModelSpec, most: int
) -> Iterator[tuple[list[int], ModelPrompts]]:
    """Batches of prompts with the same number of points, at most `most` each, with indices."""
    tokens = [_tokens(prompt, geometry, spec) for prompt in prompts]
    places: dict[tuple[int, ...], list[int]] = {}
    for place, (coords, _) in enumerate(tokens):
        vectors = prompts[place].embedding
        shape = () if vectors is None else vectors.shape
        places.setdefault((len(coords), *shape), []).append(place)
    for same in places.values():
        for start in range(0, len(same), most):
            batch = same[start : start + most]
            masks, has_mask = _masks([prompts[place] for place in batch], geometry, spec)
            coords = np.stack([tokens[place][0] for place in batch])
            labels = np.stack([tokens[place][1] for place in batch])
            given = [one for place in batch if (one := prompts[place].embedding) is not None]
            vectors = np.stack(given) if given else None
            yield batch, ModelPrompts(coords, labels, masks, has_mask, vectors)


def _tokens(
    prompt: Prompt, geometry: Geometry, spec: ModelSpec
) -> tuple[FloatArray, IntArray]:  # -> (P, 2), (P,)
    """Clicks, then box corners, then "no point" tokens as in the family's reference code."""
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
        missing = max(missing, 1)  # a decoder requires at least one token
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
    """Resize a mask of any size to the image, by nearest pixel.

    Args:
        mask: Bool or integers (nonzero is foreground), or floats: a soft mask if all are within
            0..1, thresholded at 0.5; else logits, those of (mask_side, mask_side) in model space.
        geometry: Position of the image in model space.
        mask_side: Side of the model's masks.
        threshold: Logits above it are foreground.
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
