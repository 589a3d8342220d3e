"""Arrays and tensors as segment-anything has them: prompts in model pixels in, masks out.

Letters: B prompts, C masks a prompt, P clicks, H W the photo, m a mask's side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from anymask.primitives.candidates import Candidates
from anymask.primitives.errors import InputError, MissingExtra, PromptError
from anymask.primitives.prompts import Prompt
from anymask.primitives.resize import boxes_to_model, geometry, logits_to_image, points_to_model
from anymask.primitives.spec import Geometry, ModelSpec
from anymask.primitives.types import FloatArray, UintImage

if TYPE_CHECKING:
    import torch

Answer = tuple[NDArray[Any], FloatArray, FloatArray]  # masks, qualities, low-resolution logits


class ResizeLongestSide:
    """Photos and prompts in the pixels of the model; sizes are (H, W) of the photo.

    target  the model's side, or the model's own way to see a photo
    """

    def __init__(self, target: int | ModelSpec) -> None:
        self._spec = (
            target if isinstance(target, ModelSpec) else ModelSpec(name="", image_side=int(target))
        )
        self.target_length = self._spec.image_side

    def apply_image(self, image: UintImage) -> UintImage:
        """(H, W, 3) -> (h, w, 3)."""
        height, width = self._place((image.shape[0], image.shape[1])).input_hw
        shrinks = height < image.shape[0]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        resized = cv2.resize(image, (width, height), interpolation=how)
        return resized.astype(np.uint8, copy=False)

    def apply_coords(self, coords: ArrayLike, original_size: tuple[int, int]) -> FloatArray:
        """(..., 2) -> (..., 2)."""
        return points_to_model(coords, self._place(original_size))

    def apply_boxes(self, boxes: ArrayLike, original_size: tuple[int, int]) -> FloatArray:
        """(B, 4) -> (B, 4)."""
        return boxes_to_model(boxes, self._place(original_size))

    def apply_coords_torch(
        self, coords: torch.Tensor, original_size: tuple[int, int]
    ) -> torch.Tensor:
        """(..., 2) -> (..., 2)."""
        return to_tensor(self.apply_coords(to_array(coords), original_size))

    def apply_boxes_torch(
        self, boxes: torch.Tensor, original_size: tuple[int, int]
    ) -> torch.Tensor:
        """(B, 4) -> (B, 4)."""
        return to_tensor(self.apply_boxes(to_array(boxes), original_size))

    def _place(self, original_size: tuple[int, int]) -> Geometry:
        return geometry((original_size[0], original_size[1]), self._spec)


def batch_prompts(given: tuple[Any, ...], scale_xy: tuple[float, float]) -> list[Prompt]:
    """A prompt for each row of the tensors.

    given     point_coords (B, P, 2), point_labels (B, P), boxes (B, 4), masks (B, 1, m, m), each
              or None; labels of -1 are no points
    scale_xy  pixels of the coordinates per pixel of the photo

    Raises InputError where all are None or empty, or not of one number of objects; PromptError.
    """
    coords, labels, boxes, masks = (None if part is None else to_array(part) for part in given)
    boxes = boxes.reshape(-1, 4) if boxes is not None and boxes.size % 4 == 0 else boxes
    scale = np.array(scale_xy)
    rows = next((part for part in (coords, boxes, masks) if part is not None), ())
    if not len(rows):
        raise InputError("a batch needs points, boxes or masks of at least one object")
    for part, axes in ((coords, (3,)), (labels, (2,)), (boxes, (2,)), (masks, (3, 4))):
        if part is not None and (part.ndim not in axes or len(part) != len(rows)):
            shapes = ", ".join(str(one if one is None else tuple(one.shape)) for one in given)
            raise InputError(
                "wanted points (B, P, 2), labels (B, P), boxes (B, 4), masks (B, 1, m, m) or None, "
                f"of the same B objects; got {shapes}; add the first axis with [None]"
            )
    prompts = []
    for row in range(len(rows)):
        kept: Any = slice(None) if labels is None else labels[row] >= 0
        prompts.append(
            Prompt.of(
                points=None if coords is None else (coords[row] / scale)[kept],
                labels=None if labels is None else labels[row][kept],
                box=None if boxes is None else boxes[row] / [*scale, *scale],
                mask=None if masks is None else single_mask(masks[row]),
            )
        )
    return prompts


def single_mask(given: Any) -> NDArray[Any]:
    """A mask prompt, (1, m, m) or (m, m) -> (m, m). Raises PromptError for several."""
    mask = to_array(given)
    if mask.ndim < 2 or mask.size != mask.shape[-2] * mask.shape[-1]:
        raise PromptError(
            f"wanted one mask, (1, m, m), got the shape {mask.shape}; choose one of an answer's: "
            "logits[i : i + 1]"
        )
    return mask.reshape(mask.shape[-2:])


def answer_arrays(answer: Candidates, return_logits: bool) -> Answer:
    """Masks (C, H, W), qualities (C,) and logits (C, m, m) in the model's own order.

    return_logits  float logits in place of bool masks
    """
    own = answer.picked(np.argsort(answer.order, kind="stable").tolist())
    whole = logits_to_image(own.logits, own.geometry) if return_logits else own.masks
    return whole, own.quality, own.logits


def answer_tensors(
    answers: Sequence[Candidates], return_logits: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same of B prompts, stacked. Raises MissingExtra without torch."""
    found = [answer_arrays(one, return_logits) for one in answers]
    masks, quality, logits = (to_tensor(np.stack(part)) for part in zip(*found, strict=True))
    return masks, quality, logits


def to_array(given: Any) -> NDArray[Any]:
    """A tensor, on whatever device, or anything else that is an array."""
    return np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)


def to_tensor(array: NDArray[Any]) -> torch.Tensor:
    """Raises MissingExtra without torch."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", "torch", "a tensor as answer") from error
    return torch.as_tensor(array)
