"""Windows of edges to learn from: a model's answers for photos, stored; training tensors out.

A folder of windows holds, row by row of `rows.jsonl`:

    photos.bin  (S, S, 3) uint8         truths.bin  (S, S) bits
    cells.bin   (n, n) float16, at the row's offset

The truth counts only where the answer means it: see `edge_target`. Letters: S the side of a window,
n its cells.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from anymask.base import BoolArray, DataError, FloatArray, UintImage, parse_json
from anymask.masks import EDGE_SIDE as SIDE
from anymask.masks import Prompt, iou
from anymask.models.edge_refiner import clues
from anymask.segment.prediction import (
    EdgeWindow,
    window_image,
    window_logits,
    window_mask,
    window_prompt,
)

ROWS, IMAGES, TRUTHS, CELLS = "rows.jsonl", "photos.bin", "truths.bin", "cells.bin"
HELD_OUT = 10  # one in so many photos is kept for judging
MEANT = 0.5  # IoU from which an answer means the object
LEAVE = 0.5  # weight of pixels that should stay as they are
FAR = 3  # cells around an error beyond the edge's reach that are left as they are
LARGEST = 30.0  # logits that are stored


@dataclass(frozen=True, kw_only=True)
class WindowRow:
    """One line of `rows.jsonl`.

    Attributes:
        group: Group of related images, which is held out as a whole.
        kind: Name of the dataset, or kind of composed image.
        iou: IoU of the prediction with the ground truth, in the image.
    """

    group: str
    kind: str
    iou: float
    x: int
    y: int
    cells: int
    pixel: tuple[float, float]
    offset: int
    points: list[list[float]] | None
    labels: list[int] | None
    box: list[float] | None

    @property
    def window(self) -> EdgeWindow:
        """Where it lies."""
        return EdgeWindow(self.x, self.y, self.cells, self.pixel)

    @property
    def prompt(self) -> Prompt:
        """What was asked."""
        return Prompt(
            points=None if self.points is None else np.array(self.points, np.float32),
            labels=None if self.labels is None else np.array(self.labels, np.int64),
            box=None if self.box is None else np.array(self.box, np.float32),
        )

    @property
    def held_out(self) -> bool:
        """Whether it is kept for judging."""
        return zlib.crc32(self.group.encode()) % HELD_OUT == 0


class WindowStore:
    """A folder of windows, to read. Raises DataError for a folder of other things."""

    def __init__(self, folder: Path) -> None:
        if not (folder / ROWS).is_file():
            raise DataError(
                f"{folder}: wanted a folder of windows (with {ROWS}), such as `research.nano "
                "refiner` leaves in its run's folder; there is none"
            )
        lines = (folder / ROWS).read_text(encoding="utf-8").splitlines()
        self.rows = [WindowRow(**parse_json(line, folder / ROWS)) for line in lines]
        self.images = np.memmap(folder / IMAGES, np.uint8, "r").reshape(-1, SIDE, SIDE, 3)
        self.truths = np.memmap(folder / TRUTHS, np.uint8, "r").reshape(-1, SIDE * SIDE // 8)
        self.cells = np.memmap(folder / CELLS, np.float16, "r")

    def image(self, place: int) -> UintImage:  # (S, S, 3)
        """The window of the photo."""
        return np.array(self.images[place])

    def truth(self, place: int) -> BoolArray:  # (S, S)
        """The window of the true mask."""
        return np.unpackbits(self.truths[place]).reshape(SIDE, SIDE).astype(np.bool_)

    def logits(self, place: int) -> FloatArray:  # (n, n)
        """The answer's cells."""
        row = self.rows[place]
        start = row.offset // 2
        flat = self.cells[start : start + row.cells**2]
        return flat.reshape(row.cells, row.cells).astype(np.float32)


class WindowWriter:
    """A folder of windows, written one after the other."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files = [(folder / name).open("wb") for name in (ROWS, IMAGES, TRUTHS, CELLS)]

    def __enter__(self) -> WindowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()

    def add(
        self,
        image: UintImage,
        truth: BoolArray,
        logits: FloatArray,
        window: EdgeWindow,
        details: tuple[Prompt, float, str, str],
    ) -> None:
        """One answer: photo (H, W, 3), truth (H, W), its logits (m, m), and prompt, IoU, group and
        kind."""
        rows, images, truths, cells = self._files
        prompt, fit, group, kind = details
        row = WindowRow(
            group=group,
            kind=kind,
            iou=round(fit, 4),
            offset=cells.tell(),
            points=None if prompt.points is None else prompt.points.tolist(),
            labels=None if prompt.labels is None else prompt.labels.tolist(),
            box=None if prompt.box is None else prompt.box.tolist(),
            **asdict(window),
        )
        inside = np.clip(window_logits(logits, window), -LARGEST, LARGEST)
        cells.write(inside.astype(np.float16).tobytes())
        images.write(window_image(image, window).tobytes())
        truths.write(np.packbits(window_mask(truth, window)).tobytes())
        rows.write((json.dumps(asdict(row)) + "\n").encode())


@dataclass(frozen=True, eq=False)
class EdgeBatch:
    """Windows, or parts of windows, ready for the network.

    Attributes:
        clues: Inputs (B, CLUES, s, s), see `models.edge_refiner.clues`.
        wide: Coarse logits (B, 1, s, s).
        target: Target (B, 1, s, s), 0 or 1.
        weight: Weight of each pixel (B, 1, s, s).
    """

    clues: Tensor
    wide: Tensor
    target: Tensor
    weight: Tensor

    @classmethod
    def of(cls, parts: Sequence[Tensor]) -> EdgeBatch:
        """Stacked rows of `training_window`."""
        whole = torch.stack(list(parts))
        return cls(whole[:, :-3], whole[:, -3:-2], whole[:, -2:-1], whole[:, -1:])


def training_window(
    store: WindowStore, place: int, rng: Generator | None, side: int = SIDE, spoiled: float = 0.25
) -> Tensor:  # -> (CLUES + 3, s, s)
    """One window as the fields of EdgeBatch, one map after the other.

    Args:
        rng: Random rotations, colors and crops around a place of the edge. None: the unchanged
            window.
        spoiled: Share of windows whose logits are derived from the ground truth instead
            (`spoiled_cells`).
    """
    image, truth, cells = store.image(place), store.truth(place), store.logits(place)
    prompt, fit = window_prompt(store.rows[place].prompt, store.rows[place].window), None
    if rng is not None and rng.random() < spoiled and truth.any():
        cells, fit = spoiled_cells(truth, len(cells), rng), 1.0
        prompt = prompt if rng.random() < 0.5 else np.zeros_like(prompt)
    if rng is not None:
        image = other_colors(image, rng)
        image, truth, cells, prompt = _turned(image, truth, cells, prompt, rng)
    planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float()
    given = (planes[None], torch.from_numpy(cells)[None, None], torch.from_numpy(prompt)[None])
    seen = clues(*given)[0]
    wide, gate = seen[3].numpy() * 4, seen[4].numpy()
    target, weight = edge_target(wide, truth, gate, SIDE / len(cells), fit)
    maps = torch.cat(
        [seen, torch.from_numpy(np.stack([wide, target.astype(np.float32), weight]))], dim=0
    )
    if rng is None or side == SIDE:
        return maps
    return _part(maps, gate, side, rng)


def edge_target(
    wide: FloatArray, truth: BoolArray, gate: FloatArray, cell: float, fit: float | None = None
) -> tuple[BoolArray, FloatArray]:  # (S, S) each
    """What the edge should become, and how much each pixel counts.

    The truth where the answer's edge is an edge of the truth; the answer itself where the two part
    for good, that is near an error beyond the gate's reach, or everywhere if their IoU is low: a
    click may mean something else than the photo's annotator, and is to be left alone then.

    Args:
        cell: Width of a cell in pixels.
        fit: IoU, if it is known.
    """
    coarse: BoolArray = wide > 0
    if (iou(coarse, truth) if fit is None else fit) < MEANT:
        return coarse, gate * np.float32(LEAVE)
    errors = ((coarse != truth) & (gate < 0.05)).view(np.uint8)
    errors = cv2.morphologyEx(errors, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    size = 2 * round(FAR * cell) + 1
    far = cv2.dilate(errors, np.ones((size, size), np.uint8)) > 0
    weight = np.where(far, gate * np.float32(LEAVE), gate)
    return np.where(far, coarse, truth), weight.astype(np.float32)


def spoiled_cells(truth: BoolArray, cells: int, rng: Generator) -> FloatArray:  # (S, S) -> (n, n)
    """Logits such as a coarse decoder might give for a mask: blurred, moved, uneven."""
    exact = truth.astype(np.float32)
    axis = np.arange(SIDE, dtype=np.float32)
    step = SIDE / cells
    shift = [_smooth(rng, SIDE, int(rng.integers(2, 9))) * rng.uniform(0, 1.2) * step for _ in "xy"]
    moved = cv2.remap(exact, axis[None] + shift[0], axis[:, None] + shift[1], cv2.INTER_LINEAR)
    low = max(4, round(cells / rng.uniform(1, 2)))
    small = cv2.resize(moved, (low, low), interpolation=cv2.INTER_AREA)
    small = cv2.resize(small, (cells, cells), interpolation=cv2.INTER_LINEAR)
    blurred = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.3, 1.2))
    threshold = rng.uniform(0.3, 0.65) * min(1.0, 1.2 * float(blurred.max()) + 1e-3)
    logits = (blurred - threshold) * np.float32(rng.uniform(6, 20))
    logits += _smooth(rng, cells, max(2, cells // 6)) * np.float32(rng.uniform(0, 1))
    return np.ascontiguousarray(logits, np.float32)


def _smooth(rng: Generator, side: int, cells: int) -> FloatArray:  # (side, side)
    rough = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(rough, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)


def other_colors(image: UintImage, rng: Generator) -> UintImage:
    """Brightness, contrast and tint of its own; sometimes gray."""
    if rng.random() < 0.1:
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    gain = np.exp(rng.uniform(-0.3, 0.3, (1, 1, 3)) * rng.random() + rng.uniform(-0.35, 0.35))
    shift = rng.uniform(-20, 20)
    return np.clip(image * gain.astype(np.float32) + shift, 0, 255).astype(np.uint8)


def _turned(
    image: UintImage, truth: BoolArray, cells: FloatArray, prompt: FloatArray, rng: Generator
) -> tuple[UintImage, BoolArray, FloatArray, FloatArray]:
    turns, flip = int(rng.integers(4)), rng.random() < 0.5

    def turned(plane: NDArray[Any]) -> NDArray[Any]:
        around = np.rot90(plane, turns)
        return np.ascontiguousarray(around[:, ::-1] if flip else around)

    maps = np.ascontiguousarray(turned(prompt.transpose(1, 2, 0)).transpose(2, 0, 1))
    return turned(image), turned(truth), turned(cells), maps


def _part(maps: Tensor, gate: FloatArray, side: int, rng: Generator) -> Tensor:
    """A square around some place near the edge."""
    ys, xs = np.nonzero(gate > 0.5)
    if len(ys):
        chosen = int(rng.integers(len(ys)))
        y, x = int(ys[chosen]), int(xs[chosen])
    else:
        y = x = SIDE // 2
    top, left = (int(np.clip(at - side // 2, 0, SIDE - side)) for at in (y, x))
    return maps[:, top : top + side, left : left + side].clone()
