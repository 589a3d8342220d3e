"""Arrays and tensors as segment-anything has them: prompts in model pixels in, masks out.

Letters: B prompts, C masks a prompt, P clicks, H W the photo, m a mask's side.

segment-anything's classes over any model: its signatures in, its arrays and records out.

    from anymask.sam import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry

Source: the public interface of segment-anything (Apache-2.0), written anew. Deviations: coordinates
off the photo and boxes without area are errors; the thresholds of mask generation are the model's
own unless they are given; `point_grids` is not taken. `pipeline` answers as that of transformers
for "mask-generation".

Letters: B prompts, C masks a prompt, P clicks, H W the photo, S the model's side, m a mask's side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from anymask import load
from anymask.base import FloatArray, InputError, PromptError, UintImage, need_packages
from anymask.images import ImageSource, load_image
from anymask.masks import (
    Features,
    Geometry,
    ModelSpec,
    OutputMode,
    Prompt,
    boxes_to_model,
    geometry,
    logits_to_image,
    points_to_model,
)
from anymask.models.rules import BUNDLED_MODELS, DEFAULT_VIDEO_MODEL, default_model
from anymask.segment import Model, Prediction

if TYPE_CHECKING:
    import torch

    from anymask.keywords import GridDict


Answer = tuple[NDArray[Any], FloatArray, FloatArray]  # masks, qualities, low-resolution logits


class ResizeLongestSide:
    """Photos and prompts in the pixels of the model; sizes are (H, W) of the photo.

    Args:
        target: The model's side, or the model's own way to see a photo.
    """

    def __init__(self, target: int | ModelSpec) -> None:
        self._spec = (
            target if isinstance(target, ModelSpec) else ModelSpec(name="", image_side=int(target))
        )
        self.target_length = self._spec.image_side

    def apply_image(self, image: UintImage) -> UintImage:
        """(H, W, 3) -> (h, w, 3)."""
        height, width = self._place((image.shape[0], image.shape[1])).input_hw
        how = cv2.INTER_AREA if (height < image.shape[0]) else cv2.INTER_LINEAR
        return cv2.resize(image, (width, height), interpolation=how).astype(np.uint8, copy=False)

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

    Raises InputError where all are None or empty, or not of one number of objects; PromptError.

    Args:
        given: point_coords (B, P, 2), point_labels (B, P), boxes (B, 4), masks (B, 1, m, m),
            each or None; labels of -1 are no points.
        scale_xy: Pixels of the coordinates per pixel of the photo.
    """
    coords, labels, boxes, masks = (None if part is None else to_array(part) for part in given)
    boxes = boxes.reshape(-1, 4) if boxes is not None and boxes.size % 4 == 0 else boxes
    scale = np.array(scale_xy)
    rows = next((part for part in (coords, boxes, masks) if part is not None), ())
    if not len(rows):
        raise InputError(
            "The prompt batch is empty. Pass points, boxes or masks for at least one object."
        )
    for part, axes in ((coords, (3,)), (labels, (2,)), (boxes, (2,)), (masks, (3, 4))):
        if part is not None and (part.ndim not in axes or len(part) != len(rows)):
            shapes = ", ".join(
                str(array if array is None else tuple(array.shape)) for array in given
            )
            raise InputError(
                f"Invalid prompt batch: {shapes}. Expected points (B, P, 2), labels "
                "(B, P), boxes (B, 4) and masks (B, 1, m, m), or None for those that "
                "are not used, for the same B objects. Add the batch axis with "
                "[None]."
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
            f"Invalid mask prompt of shape {mask.shape}. Expected (1, m, m). Pass the "
            "logits of one previous mask: logits[i : i + 1]"
        )
    return mask.reshape(mask.shape[-2:])


def answer_arrays(answer: Prediction, return_logits: bool) -> Answer:
    """Masks (C, H, W), qualities (C,) and logits (C, m, m) in the model's own order.

    Args:
        return_logits: Float logits in place of bool masks.
    """
    ordered = answer.picked(np.argsort(answer.order, kind="stable").tolist())
    whole = logits_to_image(ordered.logits, ordered.geometry) if return_logits else ordered.masks
    return whole, ordered.scores, ordered.logits


def answer_tensors(
    answers: Sequence[Prediction], return_logits: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same of B prompts, stacked. Raises MissingExtra without torch."""
    arrays = [answer_arrays(answer, return_logits) for answer in answers]
    masks, quality, logits = (to_tensor(np.stack(part)) for part in zip(*arrays, strict=True))
    return masks, quality, logits


def to_array(given: Any) -> NDArray[Any]:
    """A tensor, on whatever device, or anything else that is an array."""
    return np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)


def to_tensor(array: NDArray[Any]) -> torch.Tensor:
    """Raises MissingExtra without torch."""
    need_packages(("torch",), "torch", "Returning a tensor")
    import torch

    return torch.as_tensor(array)


__all__ = [
    "MaskGeneration",
    "ResizeLongestSide",
    "SamAutomaticMaskGenerator",
    "SamModel",
    "SamPredictor",
    "build_sam",
    "build_sam_vit_b",
    "build_sam_vit_h",
    "build_sam_vit_l",
    "pipeline",
    "sam_model_registry",
]


@dataclass(frozen=True)
class EncoderSize:
    """The side of the square in which the model sees a photo."""

    img_size: int


@dataclass
class SamModel:
    """A model with the methods that scripts call on one: `to(device)`, `eval()`."""

    model: Model  # The open model
    name: str = DEFAULT_VIDEO_MODEL  # Of the catalogue
    checkpoint: str | Path | None = None  # Its weights; None: those of the store, or of the package

    def to(self, device: object = "cpu") -> SamModel:
        """The same model on another device; it is opened there anew."""
        if str(device) != self.device:
            self.model = load(self.name, self.checkpoint, str(device))
        return self

    def eval(self) -> SamModel:
        """The model itself: it is never in training."""
        return self

    @property
    def device(self) -> str:
        """Where the model computes, where it says so."""
        return str(getattr(self.model.runtime, "device", "cpu"))

    @property
    def mask_threshold(self) -> float:
        """Logits above it are object."""
        return self.model.spec.mask_threshold

    @property
    def image_encoder(self) -> EncoderSize:
        """What scripts ask for the model's side: `sam.image_encoder.img_size`."""
        return EncoderSize(self.model.spec.image_side)

    def __call__(
        self, batched_input: Sequence[Mapping[str, Any]], multimask_output: bool
    ) -> list[dict[str, torch.Tensor]]:
        """Several photos, each with its prompts; photos and coordinates as resized by `transform`.

        Returns masks (B, C, H, W), iou_predictions (B, C), low_res_logits (B, C, m, m) of each.
        Raises PromptError, ImageError, and MissingExtra without torch.

        Args:
            batched_input: Image (3, h, w), original_size (H, W), and any of point_coords (B, P,
                2), point_labels (B, P), boxes (B, 4), mask_inputs (B, 1, m, m).
            multimask_output: True: three masks a prompt; False: one.
        """
        return [self._forward(photo, multimask_output) for photo in batched_input]

    def _forward(self, one: Mapping[str, Any], several: bool) -> dict[str, torch.Tensor]:
        height, width = one["original_size"]
        features = _encode_resized(self.model, one["image"], (height, width))
        rows, columns = one["image"].shape[-2:]
        scale = (columns / width, rows / height)
        keys = ("point_coords", "point_labels", "boxes", "mask_inputs")
        prompts = batch_prompts(tuple(one.get(key) for key in keys), scale)
        answers = self.model.segment(features, prompts=prompts, multimask=bool(several))
        names = ("masks", "iou_predictions", "low_res_logits")
        return dict(zip(names, answer_tensors(answers, False), strict=True))


def _encode_resized(model: Model, image: torch.Tensor, original_size: tuple[int, int]) -> Features:
    """A resized photo, (3, h, w); coordinates of the embedding are those of the original."""
    pixels = to_array(image).transpose(1, 2, 0).round().clip(0, 255).astype(np.uint8)
    features = model.encode(pixels)
    height, width = (int(side) for side in original_size)
    return replace(features, geometry=replace(features.geometry, image_hw=(height, width)))


def build_sam(name: str = "sam_vit_h", checkpoint: str | Path | None = None) -> SamModel:
    """Open a model of the catalogue, as the functions of `sam_model_registry` do.

    segment-anything's own takes no name and opens ViT-H: `build_sam(checkpoint=FILE)`.
    """
    return SamModel(load(name, checkpoint), name, checkpoint)


# segment-anything's names, and the model that is always there.
sam_model_registry: dict[str, Callable[..., SamModel]] = {
    "default": partial(build_sam, "sam_vit_h"),
    "vit_h": partial(build_sam, "sam_vit_h"),
    "vit_l": partial(build_sam, "sam_vit_l"),
    "vit_b": partial(build_sam, "sam_vit_b"),
    "vit_t": partial(build_sam, "mobile_sam"),
    **{name: partial(build_sam, name) for name in BUNDLED_MODELS},
}
build_sam_vit_h = sam_model_registry["vit_h"]
build_sam_vit_l = sam_model_registry["vit_l"]
build_sam_vit_b = sam_model_registry["vit_b"]


def _open(model: SamModel | Model | str | None) -> Model:
    """Any model: open already, or by name."""
    if isinstance(model, SamModel):
        return model.model
    if isinstance(model, Model):
        return model
    if model is None or isinstance(model, str):
        return load(model)
    raise InputError(
        f"A model is required, but a value of type {type(model).__name__} was passed. "
        "Pass anymask.load(...), sam_model_registry[...](...) or a model name."
    )


class SamPredictor:
    """Predict masks for one image. Methods raise InputError before `set_image`."""

    def __init__(self, sam_model: SamModel | Model | str | None = None) -> None:
        self.model = _open(sam_model)
        self.transform = ResizeLongestSide(self.model.spec)
        self._embedding: Features | None = None

    def __repr__(self) -> str:
        features = self._embedding
        image = (
            "no image"
            if features is None
            else f"an image of {features.image_hw[1]}x{features.image_hw[0]}"
        )
        return f"<SamPredictor: {self.model.name!r}, {image}>"

    def set_image(self, image: ImageSource, image_format: Literal["RGB", "BGR"] = "RGB") -> None:
        """Encode an image: (H, W, 3) uint8, or any source that `Model.encode` supports.

        Raises ImageError; InputError for another format.
        """
        if image_format not in ("RGB", "BGR"):
            raise InputError(f"Invalid image_format {image_format!r}. Use 'RGB' or 'BGR'.")
        self._embedding = self.model.encode(image, bgr=image_format == "BGR")

    def set_torch_image(
        self, transformed_image: torch.Tensor, original_image_size: tuple[int, ...]
    ) -> None:
        """Encode an image that `transform` has resized.

        Raises InputError for another shape.

        Args:
            transformed_image: (1, 3, h, w) colors from 0 to 255; the longer side is the
                model's.
            original_image_size: (H, W) of the image, whose pixels masks and prompts refer to.
        """
        shape, side = tuple(transformed_image.shape), self.model.spec.image_side
        if len(shape) != 4 or shape[:2] != (1, 3) or max(shape[2:]) != side:
            raise InputError(
                f"Invalid image of shape {shape}. Expected one resized image (1, 3, h, w) with a "
                f"longer side of {side}. Resize it with .transform, or pass the image to "
                ".set_image(...)."
            )
        height, width = original_image_size
        self._embedding = _encode_resized(self.model, transformed_image[0], (height, width))

    def reset_image(self) -> None:
        """Remove the image and its embedding."""
        self._embedding = None

    @property
    def is_image_set(self) -> bool:
        """Whether there is a photo."""
        return self._embedding is not None

    @property
    def original_size(self) -> tuple[int, int]:
        """(H, W) of the photo."""
        return self._seen.image_hw

    @property
    def input_size(self) -> tuple[int, int]:
        """(h, w) that the photo fills in the model's square."""
        return self._seen.geometry.input_hw

    @property
    def device(self) -> str:
        """Where the model computes."""
        return SamModel(self.model).device

    @property
    def _seen(self) -> Features:
        if self._embedding is None:
            raise InputError("No image was set. Call .set_image(...) before you predict masks.")
        return self._embedding

    def predict(
        self,
        point_coords: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask_input: NDArray[Any] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> Answer:
        """The masks of one prompt, in pixels of the photo.

        Returns masks (C, H, W), their qualities (C,) and their logits (C, m, m), in the model's
        own order. Raises PromptError.

        Args:
            point_coords: (P, 2) x, y.
            point_labels: (P,) 1 on the object, 0 off it.
            box: (4,) x0, y0, x1, y1.
            mask_input: (1, m, m) logits of an earlier answer.
            multimask_output: True: three masks; False: one.
            return_logits: True: float logits (C, H, W) instead of bool masks.
        """
        start = None if mask_input is None else single_mask(mask_input)
        corners = None if box is None else np.asarray(box, np.float64).reshape(-1)
        prompt = Prompt.of(point_coords, point_labels, corners, start)
        (answer,) = self._ask([prompt], multimask_output)
        return answer_arrays(answer, return_logits)

    def predict_torch(
        self,
        point_coords: torch.Tensor | None,
        point_labels: torch.Tensor | None,
        boxes: torch.Tensor | None = None,
        mask_input: torch.Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The masks of B prompts; coordinates are the model's, see `transform`.

        point_coords (B, P, 2), point_labels (B, P), boxes (B, 4), mask_input (B, 1, m, m)

        Returns masks (B, C, H, W), qualities (B, C), logits (B, C, m, m). Raises PromptError, and
        MissingExtra without torch.
        """
        parts = (point_coords, point_labels, boxes, mask_input)
        prompts = batch_prompts(parts, self._seen.geometry.scale_xy)
        return answer_tensors(self._ask(prompts, multimask_output), return_logits)

    def get_image_embedding(self) -> torch.Tensor:
        """The encoder's first map, (1, C, h, w). Raises MissingExtra without torch."""
        return to_tensor(self._seen.features[None])

    def _ask(self, prompts: list[Prompt], several: bool) -> list[Prediction]:
        return self.model.segment(self._seen, prompts=prompts, multimask=bool(several))


# segment-anything's and transformers' words, and what `Model.everything` calls them.
OUR_SETTINGS = {
    "points_per_side": "grid",
    "points_per_crop": "grid",
    "pred_iou_thresh": "score",
    "stability_score_thresh": "stability",
    "crops_n_layers": "crop_n_layers",
}


@dataclass
class SamAutomaticMaskGenerator:
    """The masks of everything in a photo, as a list of records.

    The settings are segment-anything's, in its order and with its defaults; None of the thresholds:
    the model's own. `output_mode` is "binary_mask", "uncompressed_rle" or "coco_rle".

    Raises InputError for values out of range.
    """

    model: SamModel | Model | str | None = None
    points_per_side: int | None = 32
    points_per_batch: int = 64
    pred_iou_thresh: float | None = None
    stability_score_thresh: float | None = None
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    point_grids: Sequence[NDArray[Any]] | None = None
    min_mask_region_area: int = 0
    output_mode: OutputMode = "binary_mask"
    opened: Model = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.point_grids is not None or self.points_per_side is None:
            raise InputError("Custom point grids are not supported. Use points_per_side.")
        if self.output_mode not in ("binary_mask", "uncompressed_rle", "coco_rle"):
            raise InputError(
                f"Invalid output_mode {self.output_mode!r}. Use 'binary_mask', 'uncompressed_rle' "
                "or 'coco_rle'."
            )
        self.opened = _open(default_model() if self.model is None else self.model)

    def generate(self, image: ImageSource) -> list[dict[str, Any]]:
        """A record for each mask: segmentation, area, bbox (x, y, w, h), predicted_iou,
        point_coords, stability_score, crop_box (x, y, w, h). Raises ImageError, InputError.
        """
        given = ("model", "point_grids", "output_mode", "opened")
        settings = {
            OUR_SETTINGS.get(name, name): value
            for name, value in vars(self).items()
            if name not in given and value is not None
        }
        grid: GridDict = {"mode": "exact", **settings}  # type: ignore[typeddict-item]  # fields above
        masks = self.opened.everything(image, **grid, tile=None)
        return [record.to_sa1b(None, self.output_mode) for record in masks]


# transformers.


@dataclass(frozen=True)
class MaskGeneration:
    """What `pipeline("mask-generation")` gives: called with a photo, or a list of them."""

    model: Model

    def __call__(
        self, inputs: ImageSource | list[ImageSource], points_per_batch: int = 64, **settings: Any
    ) -> Any:
        """{"masks": [(H, W) bool, ...], "scores": (N,) float32}; a list of them for a list.

        Args:
            settings: points_per_crop (clicks along a side), pred_iou_thresh,
                stability_score_thresh, crops_n_layers, ... as transformers has them, or those
                of `Model.everything`.
        """
        if isinstance(inputs, list):
            return [self(image, points_per_batch, **settings) for image in inputs]
        named = {OUR_SETTINGS.get(name, name): value for name, value in settings.items()}
        image = load_image(inputs)
        masks = self.model.everything(image, points_per_batch=points_per_batch, **named)
        return masks.to_pipeline()


def pipeline(
    task: str = "mask-generation", model: SamModel | Model | str | None = None
) -> MaskGeneration:
    """transformers' way to call it. Raises InputError for another task."""
    if task != "mask-generation":
        raise InputError(f"Unknown task {task!r}. Use 'mask-generation'.")
    return MaskGeneration(_open(model))
