"""Augmentation: a photo and its masks in, both cropped, flipped and recolored out.

Letters: H W the photo, M masks, S the training side. Pictures are uint8 RGB, or of the channels
that they have; masks are uint8 0/1.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.random import Generator

from anymask.base import UintImage
from anymask.masks import ModelSpec

Pair = tuple[UintImage, UintImage]  # (H, W, 3), (M, H, W)

SMALLEST_PART, STRETCH = 0.35, 0.2  # of a random crop: of the shorter side; sides' ratio, its log
NEARNESS = 0.3  # by which a crop at scale is larger or smaller, its log
FINEST_CROP = SMALLEST_PART * math.exp(-STRETCH)  # a crop's side, of the photo's shorter one
FINEST_AT_SCALE = math.exp(NEARNESS)  # things are at most so much larger than the model sees them


def fit_square(
    image: UintImage,
    masks: UintImage,
    side: int,
    rng: Generator,
    spec: ModelSpec,
    at_scale: float = 0.0,
) -> Pair:
    """A random crop stretched to (S, S), or at times the whole photo as the model sees it.

    Args:
        at_scale: Part of the pictures that are cut as `crop_at_scale` does, where S is less
            than the side that the model sees photos at.
    """
    if side < spec.image_side and at_scale and rng.random() < at_scale:
        return crop_at_scale(image, masks, side, rng, spec)
    if rng.random() < 0.45:
        if spec.fit == "square":
            return resize(image, masks, (side, side))
        return letterbox(image, masks, side, spec)
    h, w = image.shape[:2]
    part = np.exp(rng.uniform(np.log(SMALLEST_PART), 0.0))
    stretch = np.exp(rng.uniform(-STRETCH, STRETCH))
    crop = min(h, w) * part
    ch, cw = (int(np.clip(crop * f, 16, s)) for f, s in ((stretch, h), (1 / stretch, w)))
    y, x = int(rng.integers(0, h - ch + 1)), int(rng.integers(0, w - cw + 1))
    window = np.s_[y : y + ch, x : x + cw]
    return resize(image[window], masks[(slice(None), *window)], (side, side))


def crop_at_scale(
    image: UintImage, masks: UintImage, side: int, rng: Generator, spec: ModelSpec
) -> Pair:
    """A part of the photo in (S, S) whose things are as large as the model will see them.

    A photo's longest side is `spec.image_side` pixels for the model; so many of its pixels as S of
    those are cut out, times e^-.3 to e^.3.
    """
    h, w = image.shape[:2]
    crop = side / spec.image_side * max(h, w) * np.exp(rng.uniform(-NEARNESS, NEARNESS))
    crop = int(np.clip(crop, 1, min(h, w)))
    y, x = int(rng.integers(0, h - crop + 1)), int(rng.integers(0, w - crop + 1))
    window = np.s_[y : y + crop, x : x + crop]
    return resize(image[window], masks[(slice(None), *window)], (side, side))


def letterbox(image: UintImage, masks: UintImage, side: int, spec: ModelSpec) -> Pair:
    """Longest side to S; the rest the model's mean color, which it sees as zero."""
    h, w = image.shape[:2]
    scale = side / max(h, w)
    nh, nw = max(1, int(h * scale + 0.5)), max(1, int(w * scale + 0.5))
    image, masks = resize(image, masks, (nh, nw))
    canvas = np.empty((side, side, 3), np.uint8)
    canvas[:] = np.array(spec.mean).astype(np.uint8)
    canvas[:nh, :nw] = image
    room = np.zeros((len(masks), side, side), np.uint8)
    room[:, :nh, :nw] = masks
    return canvas, room


def resize(image: UintImage, masks: UintImage, hw: tuple[int, int]) -> Pair:
    """Both to (h, w): the photo by area or linear, masks by the half rule."""
    h, w = hw
    shrinks = h < image.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    photo = resize_planes(image, hw, how)
    out = np.empty((len(masks), h, w), np.uint8)
    for i, mask in enumerate(masks):
        soft = cv2.resize(np.ascontiguousarray(mask) * 255, (w, h), interpolation=how)
        out[i] = soft > 127
    return photo, out


def resize_planes(image: UintImage, hw: tuple[int, int], how: int) -> UintImage:  # -> (h, w, C)
    """A picture of any number of channels at another size; OpenCV takes four of them at a time.

    Args:
        how: OpenCV's interpolation.
    """
    few = (image[..., first : first + 4] for first in range(0, image.shape[2], 4))
    parts = [cv2.resize(np.ascontiguousarray(one), hw[::-1], interpolation=how) for one in few]
    planes = np.concatenate([part.reshape(*hw, -1) for part in parts], axis=2)
    return planes.astype(np.uint8, copy=False)


def turn(image: UintImage, masks: UintImage, rng: Generator, turns: float = 0.12) -> Pair:
    """Mirror half of the time; upside down and by a quarter in a part `turns` of the times each.

    The masks are a view: only what is cut out of them is worth a copy.
    """
    if rng.random() < 0.5:
        image, masks = image[:, ::-1], masks[:, :, ::-1]
    if rng.random() < turns:
        image, masks = image[::-1], masks[:, ::-1]
    if rng.random() < turns:
        image, masks = image.transpose(1, 0, 2), masks.transpose(0, 2, 1)
    return np.ascontiguousarray(image), masks


def recolour(image: UintImage, rng: Generator) -> UintImage:
    """Brightness, contrast, gamma, saturation, gray, inversion, blur, grain: each at times."""
    image = shade(image, rng, inversion=0.06)
    if rng.random() < 0.5:
        saturation = 0.0 if rng.random() < 0.35 else np.exp(rng.uniform(-0.7, 0.5))
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
        gains = np.exp(rng.uniform(-0.12, 0.12, 3)).astype(np.float32)
        image = ((gray + (image - gray) * saturation) * gains).clip(0, 255).astype(np.uint8)
    return damage(image, rng)


def brighten(image: UintImage, rng: Generator) -> UintImage:
    """What becomes of channels that are no colors: brightness, gamma, gains, blur and grain."""
    image = shade(image, rng, inversion=0.0)
    if rng.random() < 0.5:
        gains = np.exp(rng.uniform(-0.12, 0.12, image.shape[2])).astype(np.float32)
        image = (image * gains).clip(0, 255).astype(np.uint8)
    return soften(image, rng)


def shade(image: UintImage, rng: Generator, inversion: float) -> UintImage:
    """Brightness, contrast and gamma of all channels alike; light for dark in a part of them."""
    table = np.arange(256, dtype=np.float32) / 255
    if rng.random() < 0.7:
        table = table ** np.exp(rng.uniform(-0.5, 0.5))
        table = (table - 0.5) * np.exp(rng.uniform(-0.5, 0.35)) + 0.5 + rng.uniform(-0.15, 0.15)
    if rng.random() < inversion:
        table = 1 - table
    levels = (table.clip(0, 1) * 255).astype(np.uint8)
    shaded: UintImage = cv2.LUT(image, levels).astype(np.uint8, copy=False)
    return shaded.reshape(image.shape)


def damage(image: UintImage, rng: Generator) -> UintImage:
    """What cameras and files do: blur, grain, compression."""
    image = soften(image, rng)
    if rng.random() < 0.1:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return image


def soften(image: UintImage, rng: Generator) -> UintImage:
    """Blur and grain, each at times."""
    if rng.random() < 0.15:
        sigma = float(rng.uniform(0.4, 1.6))
        image = cv2.GaussianBlur(image, (0, 0), sigma).reshape(image.shape).astype(np.uint8)
    if rng.random() < 0.15:
        grain = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(2, 14)
        image = (image + grain).clip(0, 255).astype(np.uint8)
    return image
