"""Windows around a mask for edge refinement.

A window is a square of low-resolution cells around the object. The edge network
(`models/edge_refiner.py`) receives the image inside it at `SIDE` x `SIDE` pixels, the cells, and
the prompt as maps; its output is added to the logits of the image.

Letters: H W the image, m the side of low-resolution logits, n the cells of the window.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from anymask.base import BoolArray, FloatArray, UintImage
from anymask.masks import Geometry, Prompt

SIDE = 256  # pixels of a window
MARGIN, SHARE = 4, 0.12  # around the object: minimum cells, and share of its longer side
FEWEST = 16  # minimum cells of a window
SPOT = 5.0  # sigma of a click in window pixels


@dataclass(frozen=True)
class EdgeWindow:
    """A square of cells, which may extend beyond the logits.

    Attributes:
        x: Column of its first cell.
        y: Row of its first cell.
        cells: Number n of cells along a side.
        pixel: Width and height of a cell in image pixels.
    """

    x: int
    y: int
    cells: int
    pixel: tuple[float, float]

    @property
    def to_photo(self) -> FloatArray:  # (2, 3)
        """Affine map from window pixels to image pixels, with pixel centres at integers."""
        (px, py), step = self.pixel, self.cells / SIDE
        return np.array(
            [
                [step * px, 0, (self.x + step / 2) * px - 0.5],
                [0, step * py, (self.y + step / 2) * py - 0.5],
            ],
            np.float32,
        )


def window_around(logits: FloatArray, geometry: Geometry) -> EdgeWindow | None:  # (m, m)
    """Window of the object above 0, or None if there is no object in the image."""
    side = logits.shape[-1]
    rows, columns = geometry.filled_cells(side)
    shown = logits[:rows, :columns] > 0
    ys, xs = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    if not len(ys):
        return None
    longer = int(max(xs[-1] - xs[0], ys[-1] - ys[0])) + 1
    margin = max(MARGIN, round(SHARE * longer))
    x0, x1 = max(int(xs[0]) - margin, 0), min(int(xs[-1]) + 1 + margin, columns)
    y0, y1 = max(int(ys[0]) - margin, 0), min(int(ys[-1]) + 1 + margin, rows)
    cells = max(x1 - x0, y1 - y0, FEWEST)
    cell = geometry.side / side
    pixel = (cell / geometry.scale_xy[0], cell / geometry.scale_xy[1])
    return EdgeWindow((x0 + x1 - cells) // 2, (y0 + y1 - cells) // 2, cells, pixel)


def window_logits(logits: FloatArray, window: EdgeWindow) -> FloatArray:  # (m, m) -> (n, n)
    """Cells of the window, replicated beyond the logits."""
    rows = np.clip(np.arange(window.y, window.y + window.cells), 0, logits.shape[0] - 1)
    columns = np.clip(np.arange(window.x, window.x + window.cells), 0, logits.shape[1] - 1)
    return np.ascontiguousarray(logits[np.ix_(rows, columns)], np.float32)


def window_photo(photo: UintImage, window: EdgeWindow) -> UintImage:
    """Image in the window, (H, W, 3) -> (SIDE, SIDE, 3), by area mean if it shrinks."""
    return _in_window(photo, window)


def window_mask(mask: BoolArray, window: EdgeWindow) -> BoolArray:  # (H, W) -> (SIDE, SIDE)
    """Mask of the image in the window."""
    half: BoolArray = _in_window(mask.view(np.uint8) * np.uint8(255), window) > 127
    return half


def _in_window(image: UintImage, window: EdgeWindow) -> UintImage:
    matrix = window.to_photo
    (x0, y0), (x1, y1) = (matrix @ (end, end, 1) for end in (-1.0, float(SIDE)))
    height, width = image.shape[:2]
    left, top = (int(np.clip(np.floor(v), 0, most - 1)) for v, most in ((x0, width), (y0, height)))
    right, bottom = (int(np.clip(np.ceil(v) + 1, low + 1, most))
                     for v, low, most in ((x1, left, width), (y1, top, height)))  # fmt: skip
    part = image[top:bottom, left:right]
    small = [
        max(1, round(length / max(1.0, float(step))))
        for length, step in ((right - left, matrix[0, 0]), (bottom - top, matrix[1, 1]))
    ]
    scale = np.array([small[0] / (right - left), small[1] / (bottom - top)])
    if small != [right - left, bottom - top]:
        part = np.asarray(cv2.resize(part, small, interpolation=cv2.INTER_AREA), np.uint8)
    inside = matrix.astype(np.float64) - [[0, 0, left], [0, 0, top]]
    inside *= scale[:, None]
    inside[:, 2] += (scale - 1) / 2  # pixel centres
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    drawn = cv2.warpAffine(part, inside, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(drawn, np.uint8)


def window_prompt(prompt: Prompt, window: EdgeWindow) -> FloatArray:  # -> (2, SIDE, SIDE)
    """Prompt maps: clicks (1 foreground, -1 background), box (1 inside, -1 outside, 0 none)."""
    maps = np.zeros((2, SIDE, SIDE), np.float32)
    step = np.array(window.pixel) * window.cells / SIDE
    corner = np.array([window.x, window.y]) * window.pixel
    axis = np.arange(SIDE, dtype=np.float32)
    if prompt.points is not None and prompt.labels is not None:
        places = (prompt.points + 0.5 - corner) / step - 0.5
        for (x, y), label in zip(places.tolist(), prompt.labels.tolist(), strict=True):
            across, down = (np.exp(-(((axis - at) / SPOT) ** 2) / 2) for at in (x, y))
            spot = np.outer(down, across).astype(np.float32)
            maps[0] += spot if label > 0 else -spot
    if prompt.box is not None:
        (x0, y0), (x1, y1) = ((prompt.box.reshape(2, 2) - corner) / step).tolist()
        across, down = (
            (axis + 0.5 > low) & (axis + 0.5 < high) for low, high in ((x0, x1), (y0, y1))
        )
        maps[1] = 2 * np.outer(down, across).astype(np.float32) - 1
    return maps


def add_change(logits: FloatArray, change: FloatArray, window: EdgeWindow) -> None:
    """Add a window's correction (SIDE, SIDE) to the logits of an image (H, W), in place."""
    matrix = window.to_photo.astype(np.float64)
    height, width = logits.shape
    (x0, y0), (x1, y1) = (matrix @ (end, end, 1) for end in (-0.5, SIDE - 0.5))
    left, top = (int(np.clip(np.ceil(v), 0, most)) for v, most in ((x0, width), (y0, height)))
    right, bottom = (
        int(np.clip(np.floor(v) + 1, 0, most)) for v, most in ((x1, width), (y1, height))
    )
    if right <= left or bottom <= top:
        return
    inside = np.array(
        [
            [1 / matrix[0, 0], 0, (left - matrix[0, 2]) / matrix[0, 0]],
            [0, 1 / matrix[1, 1], (top - matrix[1, 2]) / matrix[1, 1]],
        ]
    )
    logits[top:bottom, left:right] += cv2.warpAffine(
        change,
        inside,
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
