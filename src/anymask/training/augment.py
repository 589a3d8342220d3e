"""Data augmentation: crops, flips and color changes of an image and its masks.

Letters: H W the image, M masks, S the training side. Images are uint8 RGB, or have the channels of
the data; masks are uint8 0/1.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.random import Generator

from anymask.base import UintImage
from anymask.masks import ModelSpec

Pair = tuple[UintImage, UintImage]  # (H, W, 3), (M, H, W)

SMALLEST_PART, STRETCH = 0.35, 0.2  # random crops: minimum part of the shorter side; log of ratio
NEARNESS = 0.3  # maximum log of the random scale of a crop at scale
FINEST_CROP = SMALLEST_PART * math.exp(-STRETCH)  # minimum side, relative to the shorter side
FINEST_AT_SCALE = math.exp(NEARNESS)  # maximum magnification relative to inference


def fit_square(
    image: UintImage,
    masks: UintImage,
    side: int,
    rng: Generator,
    spec: ModelSpec,
    at_scale: float = 0.0,
) -> Pair:
    """Crop at random and resize to (S, S), or resize the whole image as for inference.

    Args:
        at_scale: Probability of `crop_at_scale`, if S is less than the model's input side.
    """
    if side < spec.image_side and at_scale and rng.random() < at_scale:
        return crop_at_scale(image, masks, side, rng, spec)
    if rng.random() < 0.45:
        if spec.fit == "square":
            return resize(image, masks, (side, side))
        return letterbox(image, masks, side, spec)
    h, w = image.shape[:2]
    crop = min(h, w) * np.exp(rng.uniform(np.log(SMALLEST_PART), 0.0))
    stretch = np.exp(rng.uniform(-STRETCH, STRETCH))
    ch, cw = (int(np.clip(crop * f, 16, s)) for f, s in ((stretch, h), (1 / stretch, w)))
    y, x = int(rng.integers(0, h - ch + 1)), int(rng.integers(0, w - cw + 1))
    window = np.s_[y : y + ch, x : x + cw]
    return resize(image[window], masks[(slice(None), *window)], (side, side))


def crop_at_scale(
    image: UintImage, masks: UintImage, side: int, rng: Generator, spec: ModelSpec
) -> Pair:
    """Crop a square so that objects in (S, S) have the size that they have at inference.

    At inference the longest side of an image becomes `spec.image_side` pixels; the crop covers S of
    these, times exp(-0.3) to exp(0.3).
    """
    h, w = image.shape[:2]
    crop = side / spec.image_side * max(h, w) * np.exp(rng.uniform(-NEARNESS, NEARNESS))
    crop = int(np.clip(crop, 1, min(h, w)))
    y, x = int(rng.integers(0, h - crop + 1)), int(rng.integers(0, w - crop + 1))
    window = np.s_[y : y + crop, x : x + crop]
    return resize(image[window], masks[(slice(None), *window)], (side, side))


def letterbox(image: UintImage, masks: UintImage, side: int, spec: ModelSpec) -> Pair:
    """Resize the longest side to S and pad with the mean color, which is normalized to zero."""
    h, w = image.shape[:2]
    scale = side / max(h, w)
    nh, nw = max(1, int(h * scale + 0.5)), max(1, int(w * scale + 0.5))
    image, masks = resize(image, masks, (nh, nw))
    canvas = np.full((side, side, 3), np.array(spec.mean).astype(np.uint8))
    canvas[:nh, :nw] = image
    return canvas, np.pad(masks, ((0, 0), (0, side - nh), (0, side - nw)))


def resize(image: UintImage, masks: UintImage, hw: tuple[int, int]) -> Pair:
    """Resize to (h, w): the image by area or linearly, masks thresholded at one half."""
    how = cv2.INTER_AREA if hw[0] < image.shape[0] else cv2.INTER_LINEAR
    out = np.empty((len(masks), *hw), np.uint8)
    for i, mask in enumerate(masks):
        out[i] = cv2.resize(np.ascontiguousarray(mask) * 255, hw[::-1], interpolation=how) > 127
    return resize_planes(image, hw, how), out


def resize_planes(image: UintImage, hw: tuple[int, int], how: int) -> UintImage:  # -> (h, w, C)
    """Resize an image of any number of channels; OpenCV supports four at a time.

    Args:
        how: OpenCV interpolation flag.
    """
    few = (image[..., first : first + 4] for first in range(0, image.shape[2], 4))
    parts = [cv2.resize(np.ascontiguousarray(part), hw[::-1], interpolation=how) for part in few]
    planes = np.concatenate([part.reshape(*hw, -1) for part in parts], axis=2)
    return planes.astype(np.uint8, copy=False)


def turn(image: UintImage, masks: UintImage, rng: Generator, turns: float = 0.12) -> Pair:
    """Mirror with probability 0.5; flip upside down and transpose with probability `turns` each.

    The masks are views, because only a crop of them is copied later.
    """
    if rng.random() < 0.5:
        image, masks = image[:, ::-1], masks[:, :, ::-1]
    if rng.random() < turns:
        image, masks = image[::-1], masks[:, ::-1]
    if rng.random() < turns:
        image, masks = image.transpose(1, 0, 2), masks.transpose(0, 2, 1)
    return np.ascontiguousarray(image), masks


def recolor(image: UintImage, rng: Generator) -> UintImage:
    """Randomly change brightness, contrast, gamma, saturation, gray, inversion, blur and grain."""
    image = shade(image, rng, inversion=0.06)
    if rng.random() < 0.5:
        saturation = 0.0 if rng.random() < 0.35 else np.exp(rng.uniform(-0.7, 0.5))
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
        gains = np.exp(rng.uniform(-0.12, 0.12, 3)).astype(np.float32)
        image = ((gray + (image - gray) * saturation) * gains).clip(0, 255).astype(np.uint8)
    return damage(image, rng)


def brighten(image: UintImage, rng: Generator) -> UintImage:
    """Augment channels that are not colors: brightness, gamma, gains, blur and grain."""
    image = shade(image, rng, inversion=0.0)
    if rng.random() < 0.5:
        gains = np.exp(rng.uniform(-0.12, 0.12, image.shape[2])).astype(np.float32)
        image = (image * gains).clip(0, 255).astype(np.uint8)
    return soften(image, rng)


def shade(image: UintImage, rng: Generator, inversion: float) -> UintImage:
    """Change brightness, contrast and gamma of all channels; invert with a given probability."""
    table = np.arange(256, dtype=np.float32) / 255
    if rng.random() < 0.7:
        table = table ** np.exp(rng.uniform(-0.5, 0.5))
        table = (table - 0.5) * np.exp(rng.uniform(-0.5, 0.35)) + 0.5 + rng.uniform(-0.15, 0.15)
    if rng.random() < inversion:
        table = 1 - table
    shaded = cv2.LUT(image, (table.clip(0, 1) * 255).astype(np.uint8))
    return np.asarray(shaded, np.uint8).reshape(image.shape)


def damage(image: UintImage, rng: Generator) -> UintImage:
    """Simulate camera and file artifacts: blur, grain, compression."""
    image = soften(image, rng)
    if rng.random() < 0.1:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return image


def soften(image: UintImage, rng: Generator) -> UintImage:
    """Randomly add blur and grain."""
    if rng.random() < 0.15:
        blurred = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.6)))
        image = blurred.reshape(image.shape).astype(np.uint8)
    if rng.random() < 0.15:
        grain = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(2, 14)
        image = (image + grain).clip(0, 255).astype(np.uint8)
    return image
