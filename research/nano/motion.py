"""Clips of made motion: labelled photos in, short videos with the true masks of some objects out.

A clip is a photo under a moving camera, its own labelled objects bending and moving in it, and
objects cut out of other photos that move over it: one of them may be there twice (look-alikes),
a later one may cross the first (occlusion). Light, blur and noise change from frame to frame.

Letters: T frames, N objects, H W a frame, h w a layer. Places are x, y in pixels; a matrix (2, 3)
leads from a layer's pixels to the frame's.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from anymask.base import BoolArray, FloatArray, UintImage
from anymask.masks import rle_to_mask
from anymask.training.samples import TrainingImages

Floats = NDArray[np.float64]

FRAME_HW = (288, 512)
FRAMES = 6
OWN, PASTED = 3, 3  # objects of the photo, and pasted ones, at most
SMALLEST = 0.002  # share of the frame that an object fills on the first frame
TWICE, CROSSED, SINGLE = 0.35, 0.35, 0.3  # clips with a look-alike, an occluder, no pasted object
COARSE = 5  # cells along the longer side of what bends


@dataclass(frozen=True, eq=False)
class MadeClip:
    """Frames (T, H, W, 3) and where each object is seen on them (T, N, H, W)."""

    frames: UintImage
    masks: BoolArray


@dataclass(frozen=True, eq=False)
class Layer:
    """A picture that moves: colours (h, w, 3), planes (h, w, M) 0..1, a matrix and a bend a frame.

    The first plane is its alpha; each further one is an object on it.
    """

    colors: UintImage
    planes: FloatArray
    matrices: list[Floats]
    bends: list[FloatArray]


def make_clip(
    source: TrainingImages, rng: Generator, hw: tuple[int, int] = FRAME_HW, frames: int = FRAMES
) -> MadeClip:
    """One clip with an object at least."""
    while True:
        layers = _layers(source, rng, hw, frames)
        images = np.empty((frames, *hw, 3), np.uint8)
        masks = []
        light = _wander(rng, frames, 3, 0.06) + _wander(rng, frames, 1, 0.1)
        spread = rng.uniform(0, 1.2) if rng.random() < 0.3 else 0.0
        for time in range(frames):
            drawn, planes = draw_frame(layers, time, hw)
            # Light, blur and noise of one frame.
            image = drawn * np.exp(light[time]).astype(np.float32)
            if spread:
                image = np.asarray(
                    cv2.GaussianBlur(image, (0, 0), 0.1 + spread * rng.random()), np.float32
                )
            noise = rng.normal(0, 3, (*drawn.shape[:2], 1)).astype(np.float32)
            images[time] = (image + noise).clip(0, 255).astype(np.uint8)
            masks.append(planes)
        seen = np.stack(masks) > 0.5
        areas = seen[0].mean(axis=(1, 2))
        kept = np.flatnonzero((areas > SMALLEST) & (areas < 0.6))
        if len(kept):
            return MadeClip(images, seen[:, kept])


def _layers(
    source: TrainingImages, rng: Generator, hw: tuple[int, int], frames: int
) -> list[Layer]:
    """The photo, then what moves over it."""
    pace = np.exp(rng.uniform(np.log(0.0015), np.log(0.04)))  # of the longer side, a frame
    camera = _camera(rng, frames, hw, pace * rng.uniform(0, 1))
    layers = [_ground(source, rng, hw, camera)]
    if rng.random() < SINGLE and layers[0].planes.shape[-1] > 1:
        count = 0
    else:
        count = int(rng.integers(1, PASTED + 1))
    for number in range(count):
        layers.append(_moving(source.cut_out(rng), rng, hw, camera, pace))
        if number == 0 and rng.random() < TWICE:
            # The same thing a second time, somewhat lighter or darker, on another way.
            layer = layers[-1]
            gain = np.exp(rng.uniform(-0.15, 0.15, 3))
            colors = (layer.colors * gain).clip(0, 255).astype(np.uint8)
            planes = layer.planes[..., 0]
            if rng.random() < 0.5:
                colors, planes = colors[:, ::-1].copy(), planes[:, ::-1].copy()
            scale = float(np.sqrt(abs(np.linalg.det(layer.matrices[0][:, :2]))))
            start = rng.uniform(0.1, 0.9, 2) * [hw[1], hw[0]]
            layers.insert(
                int(rng.integers(1, 3)),
                _on_its_way(colors, planes, start, rng, (camera, pace, scale)),
            )
    if count and rng.random() < CROSSED:
        layers.append(_crossing(source, layers[1], rng, hw, frames))
    return layers


def _camera(rng: Generator, frames: int, hw: tuple[int, int], pace: float) -> list[Floats]:
    """Homogeneous matrices (3, 3) of a camera that turns, nears and goes sideways."""
    middle = np.array([hw[1], hw[0]]) / 2
    turn = _wander(rng, frames, 1, rng.uniform(0, 0.03))[:, 0]
    near = _wander(rng, frames, 1, rng.uniform(0, 0.04))[:, 0]
    aside = _path(rng, frames, pace * max(hw))
    return [
        similarity(turn[n], float(np.exp(near[n])), middle, middle + aside[n])
        for n in range(frames)
    ]


def similarity(turn: float, scale: float, middle: Floats, place: Floats) -> Floats:  # -> (3, 3)
    """A turn and a scale around a middle, which goes to a place."""
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    matrix = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]], np.float64)
    matrix[:2, 2] = place - matrix[:2, :2] @ middle
    return matrix


def _ground(
    source: TrainingImages, rng: Generator, hw: tuple[int, int], camera: list[Floats]
) -> Layer:
    """A photo that fills the frame, with some of its objects."""
    sample = source.source.sample(rng, 0)
    image = sample.image()
    order = rng.permutation(len(sample.rles))[:OWN]
    masks = [rle_to_mask(sample.rles[n]).astype(np.float32) for n in order]
    planes = np.stack([np.ones(image.shape[:2], np.float32), *masks], axis=-1)
    fit = max(hw[0] / image.shape[0], hw[1] / image.shape[1]) * np.exp(rng.uniform(0, 0.3))
    middle = np.array(image.shape[1::-1]) / 2
    slack = np.maximum(middle * fit - np.array([hw[1], hw[0]]) / 2, 0)
    place = np.array([hw[1], hw[0]]) / 2 + rng.uniform(-1, 1, 2) * slack
    base = similarity(0, float(fit), middle, place)
    if rng.random() < 0.5:
        base = base @ np.array([[-1.0, 0, image.shape[1]], [0, 1, 0], [0, 0, 1]])
    matrices = [(one @ base)[:2] for one in camera]
    strength = rng.uniform(0, 0.02) * max(image.shape) if rng.random() < 0.6 else 0.0
    bends = _bends(rng, image.shape[:2], len(camera), strength)
    return Layer(image, planes, matrices, bends)


def _moving(
    cut: tuple[UintImage, UintImage],
    rng: Generator,
    hw: tuple[int, int],
    camera: list[Floats],
    pace: float,
) -> Layer:
    """A cut-out with a way of its own."""
    colors, mask = cut
    length = max(hw) * np.exp(rng.uniform(np.log(0.08), np.log(0.55)))
    scale = length / max(mask.shape)
    if scale > 1 or scale < 0.5:
        size = [max(4, round(side * scale)) for side in mask.shape[::-1]]
        colors = np.asarray(cv2.resize(colors, size, interpolation=cv2.INTER_AREA), np.uint8)
        mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        scale = 1.0
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (3, 3), 0.6)
    start = rng.uniform(0.1, 0.9, 2) * [hw[1], hw[0]]
    return _on_its_way(colors, np.asarray(alpha, np.float32), start, rng, (camera, pace, scale))


def _on_its_way(
    colors: UintImage,
    alpha: FloatArray,
    start: Floats,
    rng: Generator,
    moved: tuple[list[Floats], float, float],
) -> Layer:
    """A layer from its start on; `moved` has camera, pace and scale."""
    camera, pace, scale = moved
    frames, side = len(camera), max(alpha.shape)
    way = start + _path(rng, frames, pace * FRAME_HW[1])
    turn = _wander(rng, frames, 1, rng.uniform(0, 0.12))[:, 0]
    grown = _wander(rng, frames, 1, rng.uniform(0, 0.06))[:, 0]
    middle = np.array(alpha.shape[::-1]) / 2
    matrices = [
        (camera[n] @ similarity(turn[n], float(scale * np.exp(grown[n])), middle, way[n]))[:2]
        for n in range(frames)
    ]
    bends = _bends(rng, alpha.shape, frames, rng.uniform(0, 0.05) * side)
    planes = np.stack([alpha, alpha], axis=-1)
    return Layer(colors, planes, matrices, bends)


def _crossing(
    source: TrainingImages, target: Layer, rng: Generator, hw: tuple[int, int], frames: int
) -> Layer:
    """Something that moves over the target's place in the middle of the clip."""
    colors, mask = source.cut_out(rng)
    alpha = mask.astype(np.float32)
    when = int(rng.integers(1, frames))
    middle = np.array(target.planes.shape[1::-1]) / 2
    there = target.matrices[when] @ np.append(middle, 1)
    wide = max(target.planes.shape[:2]) * float(
        np.sqrt(abs(np.linalg.det(target.matrices[when][:, :2])))
    )
    scale = max(wide * rng.uniform(0.4, 1.3) / max(mask.shape), 0.05)
    angle, speed = rng.uniform(0, 2 * np.pi), wide * rng.uniform(0.15, 0.6)
    step = speed * np.array([np.cos(angle), np.sin(angle)])
    own = np.array(mask.shape[::-1]) / 2
    matrices = [similarity(0, scale, own, there + (n - when) * step)[:2] for n in range(frames)]
    planes = np.stack([alpha, alpha], axis=-1)
    return Layer(colors, planes, matrices, _bends(rng, mask.shape, frames, 0.0))


def _path(rng: Generator, frames: int, pace: float) -> Floats:  # -> (T, 2)
    """A way that begins at 0 0, in steps of about `pace` that change slowly."""
    angle = rng.uniform(0, 2 * np.pi)
    step = pace * rng.uniform(0.3, 1.6) * np.array([np.cos(angle), np.sin(angle)])
    steps = [np.zeros(2)]
    for _ in range(frames - 1):
        steps.append(step.copy())
        step = step + rng.normal(0, 0.3 * pace, 2)
    return np.cumsum(steps, axis=0)


def _wander(rng: Generator, frames: int, count: int, step: float) -> Floats:  # -> (T, count)
    """Random walks that begin at 0."""
    steps = rng.normal(0, step, (frames, count)) + rng.normal(0, step / 2, (1, count))
    steps[0] = 0
    return np.cumsum(steps, axis=0)


def _bends(
    rng: Generator, hw: tuple[int, ...], frames: int, strength: float
) -> list[FloatArray]:  # each (h, w, 2), or (0,)
    """Smooth displacements in a layer's pixels that grow with time."""
    if strength <= 0:
        return [np.zeros(0, np.float32)] * frames
    begin, further = (rng.normal(0, 1, (COARSE, COARSE, 2)) for _ in "ab")
    bends = []
    for time in range(frames):
        angle = time / max(frames - 1, 1) * np.pi / 2
        coarse = strength * (np.sin(angle) * begin + (1 - np.cos(angle)) * further)
        size = (hw[1], hw[0])
        wide = cv2.resize(coarse.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
        bends.append(np.asarray(wide, np.float32))
    return bends


def draw_frame(
    layers: list[Layer], time: int, hw: tuple[int, int]
) -> tuple[FloatArray, FloatArray]:  # -> (H, W, 3), (N, H, W)
    """One frame, the later layers in front."""
    canvas, shown = np.zeros((*hw, 3), np.float32), list[FloatArray]()
    for layer in layers:
        colors, planes = _placed(layer, time, hw, first=layer is layers[0])
        alpha = planes[..., :1]
        canvas = canvas + (colors - canvas) * alpha
        shown = [plane * (1 - alpha[..., 0]) for plane in shown]
        shown += [planes[..., n] for n in range(1, planes.shape[-1])]
    return canvas, np.stack(shown)


def _placed(
    layer: Layer, time: int, hw: tuple[int, int], first: bool
) -> tuple[FloatArray, FloatArray]:
    """A layer's colours and planes in the frame's pixels; the first one fills it."""
    back = cv2.invertAffineTransform(layer.matrices[time])
    columns, rows = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in hw[::-1]))
    x = np.asarray(back[0, 0] * columns + back[0, 1] * rows + back[0, 2], np.float32)
    y = np.asarray(back[1, 0] * columns + back[1, 1] * rows + back[1, 2], np.float32)
    bend = layer.bends[time]
    if bend.size:
        moved = cv2.remap(bend, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        x, y = x + moved[..., 0], y + moved[..., 1]
    colors = cv2.remap(layer.colors, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    planes = cv2.remap(layer.planes, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    planes = np.asarray(planes, np.float32).reshape(*hw, -1)
    if first:
        planes[..., 0] = 1
    return np.asarray(colors, np.float32), planes
