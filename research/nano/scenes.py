"""Composed scenes: a random generator in, pictures of shapes or pages with exact masks out.

Four kinds: cut-outs of labelled objects pasted on other photos; textured shapes on textures, sharp
or faint; many small alike things side by side (cells, leaves); pages with blocks of writing.
Letters: S the side of the scene, M masks. Pictures are uint8 RGB, masks uint8 0/1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from anymask.base import UintImage

Scene = tuple[UintImage, UintImage]  # (S, S, 3), (M, S, S)
Image = Callable[[], UintImage]  # hands out some photo
CutOut = Callable[[], tuple[UintImage, UintImage]]  # (h, w, 3) and (h, w) of one object
MINIMUM = 24  # pixels of a mask that remains visible


def compose(side: int, rng: Generator, pixels: Image, cut_out: CutOut) -> Scene:
    """One scene of a random kind; nearly always with a mask."""
    pick = rng.random()
    if pick < 0.35:
        image, masks = pasted(side, rng, pixels, cut_out)
    elif pick < 0.65:
        image, masks = shapes(side, rng, pixels)
    elif pick < 0.87:
        image, masks = crowd(side, rng, pixels)
    else:
        image, masks = page(side, rng, pixels)
    return (image, masks) if len(masks) else shapes(side, rng, pixels)


def pasted(side: int, rng: Generator, pixels: Image, cut_out: CutOut) -> Scene:
    """Real objects on a foreign photo, later ones in front."""
    canvas = cover(pixels(), side, rng)
    masks: list[UintImage] = []
    for _ in range(int(rng.integers(2, 9))):
        image, mask = cut_out()
        length = side * np.exp(rng.uniform(np.log(0.08), np.log(0.7)))
        scale = length / max(mask.shape)
        size = tuple(max(2, int(s * scale)) for s in mask.shape[::-1])
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        soft = np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=how), np.float32)
        color = cv2.resize(image, size, interpolation=how).astype(np.float32)
        if rng.random() < 0.5:
            soft, color = soft[:, ::-1], color[:, ::-1]
        if rng.random() < 0.3:
            color = (color * np.exp(rng.uniform(-0.4, 0.4))).clip(0, 255)
        place(canvas, masks, color, soft, rng)
    return canvas, visible(masks, side)


def place(
    canvas: UintImage,
    masks: list[UintImage],
    color: NDArray[np.float32],
    soft: NDArray[np.float32],
    rng: Generator,
) -> None:
    """Paste one object at a random spot, which may lie over the edge."""
    side = canvas.shape[0]
    h, w = soft.shape
    y, x = int(rng.integers(-h // 3, side - h // 2)), int(rng.integers(-w // 3, side - w // 2))
    y0, x0, y1, x1 = max(y, 0), max(x, 0), min(y + h, side), min(x + w, side)
    if y1 <= y0 or x1 <= x0:
        return
    alpha = soft[y0 - y : y1 - y, x0 - x : x1 - x]
    part = canvas[y0:y1, x0:x1]
    mixed = part + (color[y0 - y : y1 - y, x0 - x : x1 - x] - part) * alpha[..., None]
    canvas[y0:y1, x0:x1] = mixed.astype(np.uint8)
    cover_up(masks, alpha > 0.5, (y0, x0), side)


def cover_up(
    masks: list[UintImage], new: NDArray[np.bool_], corner: tuple[int, int], side: int
) -> None:
    """Take the new object's pixels away from those behind it, then append it."""
    y, x = corner
    window = np.s_[y : y + new.shape[0], x : x + new.shape[1]]
    for mask in masks:
        mask[window][new] = 0
    full = np.zeros((side, side), np.uint8)
    full[window] = new
    masks.append(full)


def visible(masks: Sequence[UintImage], side: int) -> UintImage:
    """Those that are still to be seen, stacked: (M, S, S)."""
    kept = [mask for mask in masks if int(mask.sum()) >= MINIMUM]
    return np.stack(kept) if kept else np.zeros((0, side, side), np.uint8)


def cover(image: UintImage, side: int, rng: Generator) -> UintImage:
    """A random crop of a photo as a background (S, S, 3)."""
    h, w = image.shape[:2]
    crop = int(min(h, w) * rng.uniform(0.4, 1.0))
    y, x = int(rng.integers(0, h - crop + 1)), int(rng.integers(0, w - crop + 1))
    part = np.ascontiguousarray(image[y : y + crop, x : x + crop])
    return cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


# --- textures


def texture(side: int, rng: Generator, image: Image) -> NDArray[np.float32]:
    """(S, S, 3) to fill a shape with: a photo, a flat colour, a gradient, noise or stripes."""
    kind = rng.random()
    color = rng.uniform(0, 255, 3).astype(np.float32)
    if kind < 0.35:
        return cover(image(), side, rng).astype(np.float32)
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    if kind < 0.55:
        return np.broadcast_to(color, (side, side, 3)).copy()
    if kind < 0.7:
        slope = ramp[:, None] * rng.uniform(-50, 50) + ramp[None] * rng.uniform(-50, 50)
        return color + slope[..., None].astype(np.float32)
    if kind < 0.9:
        cells = int(np.exp(rng.uniform(np.log(4), np.log(side / 2))))
        noise = rng.standard_normal((cells, cells, 1), dtype=np.float32) * rng.uniform(5, 45)
        return color + cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)[..., None]
    angle, pace = rng.uniform(0, np.pi), rng.uniform(6, 50)
    phase = (ramp[:, None] * np.sin(angle) + ramp[None] * np.cos(angle)) * pace
    return color + (np.sin(phase) * rng.uniform(10, 60))[..., None].astype(np.float32)


# --- shapes


def blob(radius: float, rng: Generator, *, rough: float, corners: int) -> NDArray[np.float32]:
    """Outline points (n, 2) of a wobbly or a cornered shape around the origin."""
    if corners:
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radii = radius * rng.uniform(0.5, 1.0, corners)
    else:
        angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        radii = np.full(72, radius)
        for wave in range(2, 7):
            radii = radii + radius * rough / wave * rng.standard_normal() * np.cos(
                wave * angles + rng.uniform(0, 2 * np.pi)
            )
    squeeze, tilt = np.exp(rng.uniform(-0.7, 0.0)), rng.uniform(0, 2 * np.pi)
    x, y = radii * np.cos(angles), radii * np.sin(angles) * squeeze
    turned = [x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y * np.cos(tilt)]
    return np.stack(turned, axis=1).astype(np.float32)


def drawn(side: int, outline: NDArray[np.float32], center: NDArray[np.float64]) -> UintImage:
    """The outline filled at a place: (S, S)."""
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [np.round((outline + center) * 16).astype(np.int32)], 1, shift=4)
    return mask


def fill(
    canvas: UintImage, mask: UintImage, paint: NDArray[np.float32], soften: float, strength: float
) -> UintImage:
    """Paint inside a mask, with a soft edge and some of the ground shining through."""
    alpha = mask.astype(np.float32) * strength
    if soften > 0:
        alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), soften), np.float32)
    mixed = canvas + (paint - canvas) * alpha[..., None]
    return mixed.clip(0, 255).astype(np.uint8)


def shapes(side: int, rng: Generator, image: Image) -> Scene:
    """A few shapes of any size; some with rings or parts inside, some faint against the ground."""
    canvas = texture(side, rng, image).clip(0, 255).astype(np.uint8)
    masks: list[UintImage] = []
    for _ in range(int(rng.integers(1, 7))):
        radius = side * np.exp(rng.uniform(np.log(0.03), np.log(0.4)))
        corners = int(rng.integers(3, 9)) if rng.random() < 0.35 else 0
        center = rng.uniform(0.05, 0.95, 2) * side
        mask = drawn(side, blob(radius, rng, rough=rng.uniform(0, 0.5), corners=corners), center)
        if rng.random() < 0.15:
            inner = blob(radius * 0.45, rng, rough=0.2, corners=0)
            mask = mask & (1 - drawn(side, inner, center))
        strength = 1.0 if rng.random() < 0.6 else rng.uniform(0.25, 0.8)
        soften = 0.0 if rng.random() < 0.5 else rng.uniform(0.4, 0.4 + side / 160)
        canvas = fill(canvas, mask, texture(side, rng, image), soften, strength)
        cover_up(masks, mask.astype(bool), (0, 0), side)
    return canvas, visible(masks, side)


def crowd(side: int, rng: Generator, image: Image) -> Scene:
    """Many alike things, apart, touching or overlapping: nuclei, fruit, the leaves of a rosette."""
    canvas = texture(side, rng, image).clip(0, 255).astype(np.uint8)
    paint, masks = texture(side, rng, image), list[UintImage]()
    size = side * np.exp(rng.uniform(np.log(0.02), np.log(0.12)))
    rosette, squeeze = rng.random() < 0.4, rng.uniform(0.35, 1.0)
    rough, soften = rng.uniform(0, 0.3), rng.uniform(0, 1.2)
    middle = rng.uniform(0.35, 0.65, 2) * side
    for i in range(int(rng.integers(6, 40 if not rosette else 16))):
        radius = size * np.exp(rng.uniform(-0.35, 0.35)) * (1.8 if rosette else 1)
        outline = blob(radius, rng, rough=rough, corners=0) * [1.0, squeeze]
        angle = rng.uniform(0, 2 * np.pi) if not rosette else i * 2.4 + rng.uniform(-0.3, 0.3)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        away = np.array([np.cos(angle), np.sin(angle)]) * radius * rng.uniform(0.8, 1.4)
        center = middle + away if rosette else rng.uniform(0, 1, 2) * side
        mask = drawn(side, (outline @ turn).astype(np.float32), center)
        tone = np.exp(rng.uniform(-0.25, 0.25))
        shade = paint * tone + rng.uniform(-12, 12, 3).astype(np.float32)
        canvas = fill(canvas, mask, shade.astype(np.float32), soften, 1.0)
        if rng.random() < 0.7:
            outer = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
            dark = (paint * tone * rng.uniform(0.5, 0.9)).astype(np.float32)
            canvas = fill(canvas, outer.astype(np.uint8), dark, 0.0, rng.uniform(0.2, 0.7))
        cover_up(masks, mask.astype(bool), (0, 0), side)
    return canvas, visible(masks, side)


# --- pages


def page(side: int, rng: Generator, image: Image) -> Scene:
    """A page in columns: paragraphs, headings, figures, tables; a mask is one block."""
    paper, ink = rng.uniform(215, 255), rng.uniform(0, 90)
    canvas = np.full((side, side, 3), paper, np.uint8)
    masks: list[UintImage] = []
    columns = int(rng.integers(1, 4))
    gap = int(side * rng.uniform(0.015, 0.05)) + 2
    width = (side - gap * (columns + 1)) // columns
    line = max(2, int(side * rng.uniform(0.008, 0.03)))
    for column in range(columns):
        x, y = gap + column * (width + gap), gap
        while y < side - gap - 2 * line:
            height = int(side * np.exp(rng.uniform(np.log(0.03), np.log(0.35))))
            y1 = min(y + max(height, line + 1), side - gap)
            block = canvas[y:y1, x : x + width]
            if block.size and rng.random() < 0.92:
                kind = rng.random()
                if kind < 0.2:
                    block[:] = cover(image(), max(block.shape[:2]), rng)[: block.shape[0], :width]
                elif kind < 0.32:
                    write_table(block, rng, ink, line)
                else:
                    write(block, rng, ink, line)
                mask = np.zeros((side, side), np.uint8)
                mask[y:y1, x : x + width] = 1
                masks.append(mask)
            y = y1 + max(2, int(line * rng.uniform(0.8, 2.5)))
    return canvas, visible(masks, side)


def write(block: UintImage, rng: Generator, ink: float, line: int) -> None:
    """Rows of strokes with gaps between words, the last row short."""
    rows = list(range(0, max(block.shape[0] - line // 2, 1), line))
    thick = max(1, line // 2)
    for y in rows:
        end = block.shape[1] if y != rows[-1] else int(block.shape[1] * rng.uniform(0.3, 1))
        x = 0
        while x < end:
            word = int(line * rng.uniform(0.6, 3.5)) + 1
            stroke = block[y : y + thick, x : min(x + word, end)]
            grain = rng.random((stroke.shape[0], stroke.shape[1], 1)) < 0.65
            stroke[:] = np.where(grain, ink, stroke)
            x += word + max(1, line // 3)


def write_table(block: UintImage, rng: Generator, ink: float, line: int) -> None:
    """Rules and short entries."""
    h, w = block.shape[:2]
    columns = int(rng.integers(2, 6))
    for y in range(0, h, line * 2):
        block[y : y + 1] = ink
        for c in range(columns):
            x = c * w // columns
            entry = block[
                y + line // 2 : y + line, x : x + int(w / columns * rng.uniform(0.3, 0.8))
            ]
            grain = rng.random((*entry.shape[:2], 1)) < 0.6
            entry[:] = np.where(grain, ink, entry)
    block[-1:] = ink
