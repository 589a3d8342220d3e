"""Made clips to learn from, as a model sees them: rehearsals stored, training tensors out.

A folder of clips holds one `NUMBER.npz` a clip:

    keys middle fine  (T, C, ..) float16, see `memory_question.FrameMaps`
    hints             (T, N, 5, 4h, 4w) float16
    parts truths      (T, N, G, 16) and (T, N, 4h, 4w) uint8, 0..255
    memories          (T, N, R)

Letters: T frames, N objects, G cells, h w their grid, B questions, M remembered cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from anymask.base import BoolArray, DataError, UintImage, whole_file
from anymask.models.rules import ANCHOR, FINE_CELLS, RECENT
from anymask.training import Recipe
from anymask.training.samples import TrainingImages
from research.nano.motion import make_clip
from research.nano.rehearsal import Rehearsal

HELD_OUT = 12  # one in so many clips is kept for judging
FOLLOWED = 3  # objects of a clip
CUT = 16  # coarse cells of the part of a frame that is learned from
KEPT = 0.4  # of the remembered cells away from the object
FORGOTTEN = 0.25  # of the questions lack some of their memories
ABSENT = -1.0  # the kind of cells that fill up a batch

# Follows objects through frames (T, H, W, 3) from their masks (N, H, W).
Rehearsing = Callable[[UintImage, BoolArray], Rehearsal]


def gather_clips(
    data: Path,
    folder: Path,
    rehearse: Rehearsing,
    numbers: range,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Make clips, follow their objects and store what was asked; those that are there stay.

    Raises ConfigError, DataError for the sets.

    Args:
        data: Folder of the datasets for shipped weights.
        on_progress: Progress callable (clips done, all clips).
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = TrainingImages(Recipe(), data)
    for done, number in enumerate(numbers):
        path = folder / f"{number:06}.npz"
        if not path.is_file():
            rng = np.random.default_rng([2, number])
            clip = make_clip(source, rng)
            chosen = rng.permutation(clip.masks.shape[1])[:FOLLOWED]
            masks = clip.masks[:, chosen]
            store_clip(path, rehearse(clip.frames, masks[0]), masks)
        if on_progress is not None:
            on_progress(done + 1, len(numbers))


def store_clip(path: Path, rehearsal: Rehearsal, masks: BoolArray) -> None:
    """One clip with its true masks (T, N, H, W)."""
    size = (rehearsal.hints.shape[-1], rehearsal.hints.shape[-2])
    truths = [
        [cv2.resize(mask.view(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) for mask in row]
        for row in masks
    ]
    keys, middle, fine = (
        np.stack([getattr(one, name) for one in rehearsal.maps]).astype(np.float16)
        for name in ("keys", "middle", "fine")
    )
    with whole_file(path) as file:
        np.savez(
            file,
            keys=keys,
            middle=middle,
            fine=fine,
            hints=rehearsal.hints.astype(np.float16),
            parts=(rehearsal.parts * 255).round().astype(np.uint8),
            truths=np.array(truths, np.uint8),
            memories=rehearsal.memories,
        )


class ClipStore:
    """A folder of clips, to read. Raises DataError for a folder without."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("[0-9]*.npz"))
        if not self.paths:
            raise DataError(
                f"{folder}: wanted a folder of clips (NUMBER.npz), such as `research.nano memory` "
                "leaves in its run's folder; there is none"
            )

    @property
    def learned(self) -> list[Path]:
        """Clips to learn from."""
        return [one for one in self.paths if int(one.stem) % HELD_OUT] or self.paths

    @property
    def held_out(self) -> list[Path]:
        """Clips that are kept for judging."""
        return [one for one in self.paths if not int(one.stem) % HELD_OUT] or self.paths


@dataclass(frozen=True, eq=False)
class MemoryBatch:
    """Questions with the truth.

    Attributes:
        keys: Keys of the frame (B, K, h, w).
        middle: Second feature map (B, C, 2h, 2w).
        fine: Third feature map (B, C, 4h, 4w).
        hints: Hints (B, 5, 4h, 4w).
        memory: Keys (B, M, K), labels (B, M, 16) and kinds (B, M) of the memories.
        target: Target (B, 1, 4h, 4w), 0..1.
    """

    keys: Tensor
    middle: Tensor
    fine: Tensor
    hints: Tensor
    memory: tuple[Tensor, Tensor, Tensor]
    target: Tensor

    @property
    def given(self) -> tuple[Tensor, ...]:
        """What the network takes."""
        return (self.keys, self.middle, self.fine, self.hints, *self.memory)

    @classmethod
    def of(cls, rows: list[MemoryBatch]) -> MemoryBatch:
        """Several, their memories filled up to the longest."""
        longest = max(row.memory[2].shape[1] for row in rows)
        memories = [_filled(row.memory, longest) for row in rows]
        one, two, three = (torch.cat(column) for column in zip(*memories, strict=True))
        keys, middle, fine, hints = (
            torch.cat([getattr(row, name) for row in rows])
            for name in ("keys", "middle", "fine", "hints")
        )
        target = torch.cat([row.target for row in rows])
        return cls(keys, middle, fine, hints, (one, two, three), target)


def _filled(memory: tuple[Tensor, Tensor, Tensor], length: int) -> tuple[Tensor, ...]:
    keys, labels, kinds = memory
    more = (0, length - kinds.shape[1])
    wide = (F.pad(one, (0, 0, *more)) for one in (keys, labels))
    return (*wide, F.pad(kinds, more, value=ABSENT))


def read_questions(path: Path, time: int | None, rng: Generator | None) -> list[MemoryBatch]:
    """The questions of one frame of a clip, one an object.

    Args:
        time: Index of the frame; None: random.
        rng: Drops memories and crops around the object at random. None: no augmentation.
    """
    with np.load(path) as clip:
        memories = clip["memories"]
        if time is None:
            assert rng is not None
            time = int(rng.integers(1, len(memories)))
        arrays = {name: clip[name] for name in ("keys", "parts")}
        arrays |= {name: clip[name][time] for name in ("middle", "fine", "hints", "truths")}
    return [
        _question(arrays, time, number, [int(one) for one in frames if one >= 0], rng)
        for number, frames in enumerate(memories[time])
    ]


def _question(
    arrays: dict[str, NDArray[Any]], time: int, number: int, known: list[int], rng: Generator | None
) -> MemoryBatch:
    truth, window = arrays["truths"][number], np.s_[:, :]
    if rng is not None:
        window = _window(truth, arrays["keys"].shape[-2:], rng)
        if len(known) > 1 and rng.random() < FORGOTTEN:
            known = known[:1] if rng.random() < 0.5 else [known[0], known[-1]]
    cells = [arrays["keys"][frame].reshape(len(arrays["keys"][0]), -1).T for frame in known]
    labels = [arrays["parts"][frame, number] for frame in known]
    if rng is not None:
        kept = [_some_cells(one, arrays["keys"].shape[-2:], rng) for one in labels]
        cells, labels = (
            [one[rows] for one, rows in zip(many, kept, strict=True)] for many in (cells, labels)
        )
    kinds = [
        np.full(len(one), RECENT if frame else ANCHOR, np.float32)
        for frame, one in zip(known, cells, strict=True)
    ]
    memory = (
        _tensor(np.concatenate(cells)),
        _tensor(np.concatenate(labels)) / 255,
        _tensor(np.concatenate(kinds)),
    )
    maps = (arrays["keys"][time], arrays["middle"], arrays["fine"], arrays["hints"][number])
    keys, middle, fine, hints = (
        _cut(one, window, step)
        for one, step in zip(maps, (1, 2, FINE_CELLS, FINE_CELLS), strict=True)
    )
    return MemoryBatch(
        keys, middle, fine, hints, memory, _cut(truth[None], window, FINE_CELLS) / 255
    )


def _window(truth: UintImage, grid_hw: tuple[int, ...], rng: Generator) -> tuple[slice, slice]:
    """Coarse rows and columns around some place of the object, or anywhere."""
    ys, xs = np.nonzero(truth > 127)
    chosen = int(rng.integers(len(ys))) if len(ys) else 0
    places = (ys[chosen], xs[chosen]) if len(ys) else rng.integers(0, truth.shape)
    slices = []
    for place, length in zip(places, grid_hw, strict=True):
        side = min(CUT, length)
        low = int(place) // FINE_CELLS - int(rng.integers(0, side))
        low = int(np.clip(low, 0, length - side))
        slices.append(slice(low, low + side))
    return slices[0], slices[1]


def _some_cells(
    labels: NDArray[Any], grid_hw: tuple[int, ...], rng: Generator
) -> NDArray[Any]:  # (G, 16)
    """The remembered cells at the object, and some of the others."""
    there = (labels.max(axis=1) > 0).astype(np.uint8).reshape(grid_hw)
    near = cv2.dilate(there, np.ones((5, 5), np.uint8)).reshape(-1) > 0
    return np.flatnonzero(near | (rng.random(len(labels)) < KEPT))


def _cut(planes: NDArray[Any], window: tuple[slice, slice], step: int) -> Tensor:
    rows, columns = (
        slice(*(None if at is None else at * step for at in (one.start, one.stop)))
        for one in window
    )
    return _tensor(planes[:, rows, columns])


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))[None]
