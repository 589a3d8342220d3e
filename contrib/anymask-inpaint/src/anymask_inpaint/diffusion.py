"""Generative fill by a diffusion model for inpainting, from a folder in the layout of diffusers.

The mask is dilated, so that no rim of the old object stays. A crop around it, padded by reflection
where it leaves the image, is scaled to the side of the model. The result is blended with a soft
edge inside the dilated mask; all pixels outside of it are unchanged. Nothing is downloaded, only
safetensors files are loaded, and no code of the folder is executed.

Letters: H W an image, s the side of the crop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from anymask.base import BoolArray, InputError, UintImage, WeightsError, import_offline
from anymask.runtime import import_torch
from anymask_inpaint.inpainting import Filler

Pipeline = Callable[..., Any]  # of diffusers: prompt, image, mask_image, ... -> images

MARGIN = 0.04  # dilation of the mask, relative to its longest side
AROUND = 1.6  # side of the crop, relative to the longest side of the dilated mask
SIDE = 512  # side of the model's input, if it does not declare one
STEP = 8  # input sides are multiples of it
INDEX = "model_index.json"


def open_diffusion(folder: str | Path, prompt: str, seed: int = 0) -> Filler:
    """Load a diffusion model for inpainting as a function that fills a mask by a text prompt.

    Args:
        folder: Folder with a model_index.json and safetensors files, such as a local copy of
            stable-diffusion-2-inpainting.
        prompt: Description of the new content.
        seed: Seed of the random numbers. The same seed gives the same image on one machine.

    Raises:
        InputError: The prompt is empty, or diffusers is not installed.
        WeightsError: The folder is not such a model.
    """
    path = Path(folder).expanduser()
    if not prompt.strip():
        raise InputError("The fill prompt is empty. Describe the new content, such as 'a plant'.")
    if not (path / INDEX).is_file():
        raise WeightsError(
            f"{str(path)!r} is not a folder of diffusers: {INDEX} is missing. Pass a local copy of "
            "a model for inpainting, such as stable-diffusion-2-inpainting."
        )
    torch = import_torch()
    try:
        diffusers = import_offline("diffusers")
    except ImportError as error:
        raise InputError(
            "Generative fill requires the package diffusers, which is not installed. Install it "
            "with: pip install diffusers transformers 'anymask[torch]'"
        ) from error
    try:
        pipeline = diffusers.AutoPipelineForInpainting.from_pretrained(
            str(path), local_files_only=True, use_safetensors=True
        )
    except Exception as error:  # diffusers raises arbitrary exceptions
        raise WeightsError(
            f"{str(path)!r} cannot be loaded as a model for inpainting. Check that it is complete, "
            "is an inpainting model, and contains safetensors files."
        ) from error

    def generate(source_image: Image.Image, mask: Image.Image) -> Image.Image:
        random = torch.Generator().manual_seed(seed)
        found = pipeline(
            prompt=prompt, image=source_image, mask_image=mask, width=source_image.width,
            height=source_image.height, generator=random,
        )  # fmt: skip
        image: Image.Image = found.images[0]
        return image

    side = input_side(pipeline)
    return lambda image, mask: fill_by(image, mask, generate, side)


def input_side(pipeline: Any) -> int:
    """Side of the images that a pipeline was trained with."""
    network = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    size = getattr(getattr(network, "config", None), "sample_size", None)
    scale = getattr(pipeline, "vae_scale_factor", STEP)
    return size * scale if isinstance(size, int) and isinstance(scale, int) else SIDE


def fill_by(
    image: UintImage,
    mask: BoolArray,
    generate: Callable[[Image.Image, Image.Image], Image.Image],
    side: int = SIDE,
) -> UintImage:
    """Fill a mask by a generator of images.

    Args:
        image: Image (H, W, 3).
        mask: Mask (H, W) of the old content.
        generate: Function of a square RGB image and its mask (255: fill), of a multiple of 8
            pixels.
        side: Side of these squares.

    Raises:
        InputError: The mask is empty.
    """
    if not mask.any():
        raise InputError("The mask is empty. Pass the mask of an object.")
    reach, hole = dilated(mask)
    (top, left), crop = _crop(hole)
    height, width = mask.shape
    more = (
        max(0, -top), max(0, top + crop - height), max(0, -left), max(0, left + crop - width),
    )  # fmt: skip
    seen = cv2.copyMakeBorder(image, *more, cv2.BORDER_REFLECT_101)
    covered = cv2.copyMakeBorder(hole, *more, cv2.BORDER_CONSTANT, value=0)
    y, x = top + more[0], left + more[2]
    size = max(STEP, side // STEP * STEP)
    how = cv2.INTER_AREA if crop > size else cv2.INTER_CUBIC
    source_image = cv2.resize(seen[y : y + crop, x : x + crop], (size, size), interpolation=how)
    place = cv2.resize(
        covered[y : y + crop, x : x + crop], (size, size), interpolation=cv2.INTER_NEAREST
    )
    made = generate(Image.fromarray(source_image), Image.fromarray(place * np.uint8(255)))
    drawn = np.asarray(made.convert("RGB").resize((crop, crop), Image.Resampling.LANCZOS))
    filled = seen.copy()
    filled[y : y + crop, x : x + crop] = drawn
    filled = filled[more[0] : more[0] + height, more[2] : more[2] + width]
    inside = cv2.distanceTransform(np.pad(hole, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    alpha = np.where(mask, 1.0, np.clip(inside / (reach + 1), 0, 1))[..., None]
    mixed: UintImage = np.rint(filled * alpha + image * (1 - alpha)).astype(np.uint8)
    return mixed


def dilated(mask: BoolArray) -> tuple[int, UintImage]:
    """Margin in pixels, and the dilated mask (H, W) of 0 and 1."""
    _, _, width, height = cv2.boundingRect(mask.astype(np.uint8))
    reach = max(2, round(MARGIN * max(width, height)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    return reach, np.asarray(cv2.dilate(mask.astype(np.uint8), disc), np.uint8)


def _crop(hole: UintImage) -> tuple[tuple[int, int], int]:
    """Corner (y, x) and side of a square around the hole; it may leave the image."""
    x, y, width, height = cv2.boundingRect(hole)
    side = math.ceil(AROUND * max(width, height))
    limits = zip((y, x), (height, width), hole.shape, strict=True)
    corner = [
        min(max(first + length // 2 - side // 2, 0), whole - side)
        if side <= whole
        else (whole - side) // 2
        for first, length, whole in limits
    ]
    return (corner[0], corner[1]), side
