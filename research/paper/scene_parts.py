"""Parts of rendered scenes: a random generator in, textures, soft shapes and light out.

Shapes are drawn OVER times larger and averaged, so that a pixel at the border is covered in part,
as in a photo; a pixel belongs to the mask when at least half of it is covered. Colours are 0..1.
Letters: H W the picture, P corners.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, UintImage

SCENE_HW = (384, 512)
OVER = 4
HALF = 0.5

Field = NDArray[np.float32]  # (H, W) or (H, W, 3)
Rng = np.random.Generator
Corners = NDArray[np.float64]  # (P, 2) x, y in pixels


def clouds(rng: Rng, size: float, octaves: int = 4, stretch: float = 1.0) -> Field:  # -> (H, W)
    """Soft noise in 0..1 with details of `size` pixels and finer; `stretch` makes it wider."""
    total: Field = np.zeros(SCENE_HW, np.float32)
    for octave in range(octaves):
        cell = max(size / 2**octave, 1.0)
        rows, columns = (int(SCENE_HW[0] / cell) + 2, int(SCENE_HW[1] / (cell * stretch)) + 2)
        grid = rng.random((rows, columns), np.float32)
        total += (
            np.asarray(cv2.resize(grid, SCENE_HW[::-1], interpolation=cv2.INTER_CUBIC)) / 2**octave
        )
    low, high = np.quantile(total, (0.01, 0.99))
    return np.asarray(np.clip((total - low) / max(high - low, 1e-6), 0, 1), np.float32)


def colour(rng: Rng, hue: float | None = None, dull: float = 0.5, light: float = 0.5) -> Field:
    """One RGB colour (3,): the hue 0..1 or any, greyer with `dull`, brighter with `light`."""
    hue = float(rng.random()) if hue is None else hue % 1
    hsv = np.array([[[360 * hue, 1 - dull, light]]], np.float32)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0], np.float32)


def texture(rng: Rng, first: Field, second: Field, size: float, stretch: float = 1.0) -> Field:
    """Two colours mixed by soft noise, with grain: (H, W, 3)."""
    mix = clouds(rng, size, stretch=stretch)[..., None]
    grain = 0.03 * rng.standard_normal((*SCENE_HW, 1), np.float32)
    return np.asarray(first * mix + second * (1 - mix) + grain, np.float32)


def room(rng: Rng) -> Field:
    """A wall and a table with things in soft focus: a background with something to see through."""
    hue = float(rng.random())
    wall = texture(rng, colour(rng, hue, 0.7, 0.75), colour(rng, hue + 0.1, 0.6, 0.5), 90)
    table = texture(rng, colour(rng, 0.08, 0.5, 0.55), colour(rng, 0.07, 0.4, 0.35), 18, 12)
    edge = int(SCENE_HW[0] * rng.uniform(0.62, 0.75))
    picture = np.where(np.arange(SCENE_HW[0])[:, None, None] < edge, wall, table)
    for _ in range(9):
        x, y = rng.uniform(0, SCENE_HW[1]), edge - rng.uniform(-10, 150)
        size = rng.uniform(14, 46)
        thing = blob(rng, (x, y), size, rough=0.15)
        picture = over(picture, colour(rng, None, 0.25, rng.uniform(0.3, 0.9)), coverage([thing]))
    return np.asarray(cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.2), np.float32)


# --- shapes


def blob(rng: Rng, centre: tuple[float, float], size: float, rough: float = 0.25) -> Corners:
    """A closed smooth outline around `centre`, about `size` pixels in radius."""
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    radius = np.ones_like(angle)
    for wave in range(2, 6):
        radius += rough * rng.normal() / wave * np.cos(wave * angle + rng.uniform(0, 6.3))
    flat, turn = rng.uniform(0.65, 1), rng.uniform(0, np.pi)
    x, y = size * radius * np.cos(angle), flat * size * radius * np.sin(angle)
    return np.stack(
        [
            centre[0] + x * np.cos(turn) - y * np.sin(turn),
            centre[1] + x * np.sin(turn) + y * np.cos(turn),
        ],
        axis=1,
    )


def creature(rng: Rng, centre: tuple[float, float], size: float) -> list[Corners]:
    """A body on four legs, with head and tail."""
    x, y = centre
    way = rng.choice((-1, 1))
    parts = [ellipse((x, y), (size, 0.5 * size), rng.uniform(-0.15, 0.15))]
    head = (x + way * 1.1 * size, y - rng.uniform(0.2, 0.6) * size)
    parts.append(ellipse(head, (0.36 * size, 0.28 * size), way * 0.4))
    neck = [(x + way * 0.6 * size, y - 0.3 * size), (x + way * 0.7 * size, y + 0.15 * size)]
    parts.append(
        np.array([*neck, (head[0], head[1] + 0.2 * size), (head[0], head[1] - 0.2 * size)])
    )
    for place in (-0.7, -0.45, 0.4, 0.68):
        top, wide = x + place * size, 0.1 * size
        foot = top + rng.uniform(-0.15, 0.15) * size
        low = y + rng.uniform(0.95, 1.1) * size
        parts.append(
            np.array([(top - wide, y), (top + wide, y), (foot + wide, low), (foot - wide, low)])
        )
    tail = x - way * 0.9 * size
    parts.append(
        np.array(
            [
                (tail, y - 0.2 * size),
                (tail, y),
                (tail - way * 0.7 * size, y - rng.uniform(0, 0.6) * size),
            ]
        )
    )
    return parts


def ellipse(centre: tuple[float, float], radii: tuple[float, float], turn: float) -> Corners:
    """An outline of 80 corners."""
    angle = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    x, y = radii[0] * np.cos(angle), radii[1] * np.sin(angle)
    across, down = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    return np.stack([centre[0] + across, centre[1] + down], axis=1)


def coverage(polygons: Sequence[Corners]) -> Field:  # -> (H, W) in 0..1
    """How much of each pixel lies in any of the polygons."""
    return _draw(polygons, 0, lambda canvas, line: cv2.fillPoly(canvas, [line], 255))


def strokes(lines: Sequence[Corners], width: float) -> Field:  # -> (H, W) in 0..1
    """How much of each pixel lies on any of the lines, `width` pixels wide."""
    thick = max(round(width * OVER), 1)
    return _draw(
        lines, width, lambda canvas, line: cv2.polylines(canvas, [line], False, 255, thick)
    )


def _draw(
    shapes: Sequence[Corners], width: float, draw: Callable[[NDArray[Any], Any], Any]
) -> Field:
    """Drawn OVER times larger, in the window that the shapes need, and averaged."""
    corners = np.concatenate(shapes)
    low = np.maximum(np.floor(corners.min(axis=0) - width - 1), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=0) + width + 2), SCENE_HW[::-1]).astype(int)
    cover = np.zeros(SCENE_HW, np.float32)
    if (high <= low).any():
        return cover
    wide, tall = (int(side) for side in high - low)
    canvas = np.zeros((tall * OVER, wide * OVER), np.uint8)
    for shape in shapes:
        draw(canvas, np.round((shape - low) * OVER).astype(np.int32))
    small = cv2.resize(canvas, (wide, tall), interpolation=cv2.INTER_AREA)
    cover[low[1] : high[1], low[0] : high[0]] = np.asarray(small, np.float32) / 255
    return cover


def inside(cover: Field) -> BoolArray:
    """The pixels that belong to a shape."""
    mask: BoolArray = cover >= HALF
    return mask


# --- light


def over(picture: Field, paint: Field, alpha: Field) -> Field:
    """Paint (3,) or (H, W, 3) over a picture where alpha (H, W) is 1."""
    return np.asarray(picture * (1 - alpha[..., None]) + paint * alpha[..., None], np.float32)


def depth_inside(mask: BoolArray) -> Field:  # (H, W) -> (H, W)
    """Pixels to the border; 0 outside."""
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance, np.float32)


def soft(field: Field, sigma: float) -> Field:
    """Blurred."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.float32)


def picture_of(field: Field) -> UintImage:
    """0..1 as bytes."""
    return np.asarray(np.clip(field * 255 + 0.5, 0, 255), np.uint8)
