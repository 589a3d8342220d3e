"""Draw masks and prompts: overlays, outlines, contact sheets.

Images are (H, W, 3) uint8 RGB; every function returns a new one. Colors are RGB 0..255; mask i of a
list always has color i of `colors`.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from anymask.base import BoolArray, InputError, UintImage

Color = tuple[int, int, int]

SMALL_IMAGE = 400  # pixels of the longest side

# Far apart in hue and readable on images; the first is for a single mask.
_COLORS: tuple[Color, ...] = (
    (30, 144, 255), (255, 112, 67), (102, 204, 80), (186, 85, 211), (255, 202, 40),
    (0, 200, 190), (240, 70, 120), (140, 110, 250), (190, 220, 60), (255, 150, 200),
)  # fmt: skip
_POSITIVE: Color = (60, 200, 90)
_NEGATIVE: Color = (235, 60, 60)
_BOX: Color = (255, 255, 255)
_DARK: Color = (24, 26, 30)
_LIGHT: Color = (236, 238, 242)


def colors(n: int) -> list[Color]:
    """First n colors of a fixed sequence."""
    golden = 0.618034  # of the hue circle: neighbours in the list stay far apart
    more = (
        colorsys.hsv_to_rgb((index * golden) % 1, 0.55 + 0.4 * (index % 3) / 2, 0.95)
        for index in range(len(_COLORS), n)
    )
    return [*_COLORS[:n], *[(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in more]]


def _check_image(image: UintImage) -> UintImage:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(
            f"Invalid image of type {image.dtype} and shape {image.shape}. Expected uint8 (H, W, "
            "3). Read it with anymask.load_image."
        )
    return image


Crop = tuple[BoolArray, tuple[int, int]]  # a mask in a window of the image, and its first pixel


def _crops(masks: ArrayLike, image: UintImage) -> list[Crop]:
    """Masks (K, H, W) within their bounding boxes, which are empty for empty masks."""
    stack = np.asarray(masks, np.bool_)
    if stack.size == 0:
        return []
    stack = stack[None] if stack.ndim == 2 else stack
    if stack.ndim != 3 or stack.shape[1:] != image.shape[:2]:
        raise InputError(
            f"The masks have the shape {stack.shape}, but the image has the size "
            f"{image.shape[:2]}. Resize one of them."
        )
    boxes = [cv2.boundingRect(mask.view(np.uint8)) for mask in stack]
    return [
        (mask[y : y + height, x : x + width], (x, y))
        for mask, (x, y, width, height) in zip(stack, boxes, strict=True)
    ]


def line_width(image_hw: tuple[int, int]) -> int:
    """Line width in pixels, proportional to the image size."""
    return max(1, round(max(image_hw) / 600))


def overlay(
    image: UintImage,
    masks: ArrayLike,
    *,
    alpha: float = 0.45,
    palette: Sequence[Color] | None = None,
    outline: bool = True,
) -> UintImage:  # (H, W, 3), (K, H, W) or (H, W)
    """Draw translucent masks with outlines, the largest first so that small ones stay visible.

    Args:
        image: Image (H, W, 3) uint8 RGB.
        masks: Masks (K, H, W) or (H, W).
        alpha: Opacity of the masks, 0..1.
        palette: One color per mask. Defaults to `colors`.
        outline: Whether to draw outlines.

    Raises:
        InputError: Image and masks differ in size, or the palette is too short.
    """
    return draw_crops(image, _crops(masks, _check_image(image)), alpha, palette, outline)


def draw_crops(
    image: UintImage,
    crops: Sequence[Crop],
    alpha: float = 0.45,
    palette: Sequence[Color] | None = None,
    outline: bool = True,
) -> UintImage:  # (H, W, 3)
    """`overlay` of masks given as windows (h, w) of the image and their first pixels (x, y)."""
    tints = _palette(palette, len(crops))
    out, thick = image.copy(), line_width((image.shape[0], image.shape[1]))
    values = np.arange(256, dtype=np.float32)[:, None] * np.float32(1 - alpha)
    areas = np.array([np.count_nonzero(mask) for mask, _ in crops])
    for index in np.argsort(-areas, kind="stable"):
        if not areas[index]:
            continue
        mask, (x, y) = crops[index]
        tint = np.array(tints[index], np.float32) * alpha
        tinted = (values + tint).round().astype(np.uint8)[None]  # output of each input value
        patch = out[y : y + mask.shape[0], x : x + mask.shape[1]]
        cv2.copyTo(cv2.LUT(patch, tinted), mask.view(np.uint8), patch)
        if outline:
            _draw_outline(out, mask, (x, y), tints[index], thick)
    return out


def _palette(palette: Sequence[Color] | None, n: int) -> list[Color]:
    if palette is None:
        return colors(n)
    if len(palette) < n:
        raise InputError(
            f"The palette has {len(palette)} colors for {n} masks. Pass one color per mask, or "
            "omit the palette."
        )
    return list(palette)


def contours(
    image: UintImage,
    masks: ArrayLike,
    *,
    palette: Sequence[Color] | None = None,
    width: int | None = None,
) -> UintImage:  # (H, W, 3), (K, H, W) or (H, W)
    """Draw outlines of masks, holes included, with a thin white edge.

    Args:
        image: Image (H, W, 3) uint8 RGB.
        masks: Masks (K, H, W) or (H, W).
        palette: One color per mask. Defaults to `colors`.
        width: Line width in pixels. Defaults to `line_width`. On images of less than SMALL_PICTURE
            pixels the line has no white edge, which would be as wide as the objects.
    """
    crops = _crops(masks, _check_image(image))
    tints = _palette(palette, len(crops))
    thick = line_width((image.shape[0], image.shape[1])) if width is None else width
    out = image.copy()
    for (mask, corner), color in zip(crops, tints, strict=True):
        _draw_outline(out, mask, corner, color, thick)
    return out


def _draw_outline(
    out: UintImage, mask: BoolArray, corner: tuple[int, int], color: Color, thick: int
) -> None:
    """Draw the outline of one mask (h, w), whose first pixel is the corner, in place."""
    if not mask.size:
        return
    rings, _ = cv2.findContours(
        mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=corner
    )
    lines = [_smooth(line) for line in rings]
    if max(out.shape[:2]) >= SMALL_IMAGE:
        cv2.polylines(out, lines, True, (255, 255, 255), thick + 2, cv2.LINE_AA, shift=4)
    cv2.polylines(out, lines, True, color, thick, cv2.LINE_AA, shift=4)


def _smooth(line: NDArray[Any]) -> NDArray[np.int32]:
    """Smooth a chain of pixels into a line in 1/16 pixels."""
    chain = line.reshape(-1, 2)
    if len(chain) <= 8:
        return np.asarray((chain * 16)[:, None], np.int32)
    ring = np.concatenate([chain[-2:], chain, chain[:2]])
    sums = ring[:-4] + ring[1:-3] + ring[2:-2] + ring[3:-1] + ring[4:]
    return np.asarray((sums * (16 / 5)).round()[:, None], np.int32)


def marks(
    image: UintImage,
    points: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    boxes: ArrayLike | None = None,
) -> UintImage:  # (H, W, 3), (P, 2), (P,), (N, 4)
    """Draw a prompt: green discs with a plus for foreground points, red ones with a minus for
    background points, boxes as white lines with a dark edge.
    """
    out = _check_image(image).copy()
    size = line_width((image.shape[0], image.shape[1]))
    for x0, y0, x1, y1 in np.asarray([] if boxes is None else boxes).reshape(-1, 4):
        corners = (round(x0), round(y0)), (round(x1), round(y1))
        cv2.rectangle(out, *corners, _DARK, size + 2, cv2.LINE_AA)
        cv2.rectangle(out, *corners, _BOX, size, cv2.LINE_AA)
    xy = np.asarray([] if points is None else points, np.float64).reshape(-1, 2)
    kinds = np.ones(len(xy)) if labels is None else np.asarray(labels).reshape(-1)
    for (x, y), kind in zip(xy.round().astype(int).tolist(), kinds, strict=True):
        radius = 4 * size + 2
        cv2.circle(out, (x, y), radius + size, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(out, (x, y), radius, _POSITIVE if kind == 1 else _NEGATIVE, -1, cv2.LINE_AA)
        arm = radius // 2
        cv2.line(out, (x - arm, y), (x + arm, y), (255, 255, 255), size, cv2.LINE_AA)
        if kind == 1:
            cv2.line(out, (x, y - arm), (x, y + arm), (255, 255, 255), size, cv2.LINE_AA)
    return out


def contact_sheet(
    images: Sequence[tuple[UintImage, str]], *, columns: int | None = None, cell: int = 480
) -> UintImage:
    """Arrange images with titles on one white sheet (H, W, 3).

    Args:
        images: Images (H, W, 3) and their titles.
        columns: Images per row. Defaults to a nearly square arrangement.
        cell: Maximum width and height of an image in pixels.

    Raises:
        InputError: The list is empty.
    """
    if not images:
        raise InputError("A contact sheet requires at least one image.")
    n = len(images)
    across = min(n, columns or int(np.ceil(np.sqrt(n))))
    small = [(_fit(_check_image(image), cell), title) for image, title in images]
    rows = [small[start : start + across] for start in range(0, n, across)]
    gap, band = max(8, cell // 40), max(18, cell // 16)
    heights = [max(image.shape[0] for image, _ in row) + band for row in rows]
    size = (across * (cell + gap) + gap, sum(heights) + gap * (len(rows) + 1))
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=band * 0.62)
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for index, (image, title) in enumerate(row):
            left = gap + index * (cell + gap)
            across_by, down_by = cell - image.shape[1], height - band - image.shape[0]
            sheet.paste(Image.fromarray(image), (left + across_by // 2, top + down_by // 2))
            middle = (left + cell / 2, top + height - band / 2)
            pen.text(middle, _shorten(title, font, cell), _DARK, font, anchor="mm")
        top += height + gap
    return np.array(sheet)


def _fit(image: UintImage, cell: int) -> UintImage:
    """Resize an image so that its longest side has `cell` pixels."""
    scale = cell / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(image, size, interpolation=kind).astype(np.uint8, copy=False)
    return resized.reshape(size[1], size[0], 3)


def _shorten(title: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Shorten a title with an ellipsis if it is wider than `width`."""
    short = title
    while short and font.getlength(short if short == title else short + "…") > width:
        short = short[:-1]
    return short if short == title else short + "…"
