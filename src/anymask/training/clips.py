"""Training samples of video memory: windows of consecutive annotated frames of clips.

Source: Ravi et al. 2024 (SAM 2, arXiv:2408.00714, appendix D.2): up to three objects; the first
frame is prompted by a mask, a box or a click; half of the windows run backwards. Deviations:
windows of `WINDOW_FRAMES` frames instead of 8; no later clicks; no augmentation, so that frames are
encoded once.

Letters: T frames, N objects, S input side, m side of a mask, P points.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from anymask import models
from anymask.base import BoolArray, DataError
from anymask.evaluation import open_clips, tight_box
from anymask.formats import Clip, read, role_of
from anymask.masks import (
    Geometry,
    ModelSpec,
    empty_rle,
    geometry,
    image_to_model,
    points_to_model,
    rle_area,
    rle_to_mask,
)
from anymask.models.video_model import FramePrompts
from anymask.training.recipe import Recipe

WINDOW_FRAMES = 4  # of a window
MAX_WINDOW_OBJECTS = 3  # maximum number of a window
MIN_FRAMES = 3  # annotated frames of a usable clip
MASK_SHARE, BOX_SHARE = 0.5, 0.25  # of the prompts; the rest are clicks
BOX_NOISE = 0.1  # standard deviation of a box corner, relative to the side of the box
WINDOW_TRIES = 50  # windows that are drawn to find one with an object on its first frame


@dataclass(frozen=True, eq=False)
class ClipBatch:
    """A window of a clip with its objects."""

    images: Tensor  # Normalized frames (T, 3, S, S)
    targets: Tensor  # Share of each object in the cells (T, N, m, m), 0..1
    void: Tensor  # Ignored cells (T, m, m)
    given: Tensor | None  # Masks (N, 1, S, S) of the first frame as the prompt, or None
    prompts: FramePrompts | None  # Boxes or clicks on the first frame, or None

    def part(self, first: int, count: int) -> ClipBatch:
        """Return the batch: a step has one window, which is not divided."""
        return self


def training_clips(data: Path, skipped: list[str] | None = None) -> list[Clip]:
    """Open the clips of a folder: of its split `train` if there is one, else of the default.

    Raises as `usable_parts`, or InputError for a dataset without videos.

    Args:
        data: Folder of clips.
        skipped: Gets the names of skipped clips.
    """
    return usable_parts(open_clips(data, split_of(data, "train")), skipped)


def validation_clips(data: Path) -> list[Clip]:
    """Open the clips of the split `val` beside a split `train` that have enough annotated frames,
    which those of some datasets do not; [] without them."""
    split = split_of(data, "val") if split_of(data, "train") else None
    clips = open_clips(data, split) if split else []
    return [clip for clip in clips if len(clip.annotations) >= MIN_FRAMES]


def split_of(data: Path, role: str) -> str | None:
    """Name of the split `train` or `val` of a dataset of videos; None without it."""
    names = () if any(data.glob("*/masks")) else read(data).splits
    return next((name for name in names if role_of(name) == role), None)


def usable_parts(clips: Sequence[Clip], skipped: list[str] | None = None) -> list[Clip]:
    """Reduce clips to their annotated frames. Clips with fewer than `MIN_FRAMES` are skipped.

    Raises DataError if all are skipped.

    Args:
        clips: Clips.
        skipped: Gets the names of skipped clips.
    """
    usable = [clip for clip in clips if len(clip.annotations) >= MIN_FRAMES]
    if skipped is not None and usable:
        skipped += [clip.name for clip in clips if len(clip.annotations) < MIN_FRAMES]
    return [annotated_part(clip) for clip in usable or clips]


def annotated_part(clip: Clip, count: int | None = None) -> Clip:
    """Return a clip of the first `count` annotated frames. Raises DataError for too few."""
    numbers = sorted(clip.annotations)[:count]
    if len(numbers) < MIN_FRAMES:
        raise DataError(
            f"{clip.name}: The clip has {len(numbers)} annotated frames. Annotate {MIN_FRAMES}."
        )
    frames = tuple(clip.frames[number] for number in numbers)
    annotations = dict(enumerate(clip.annotations[number] for number in numbers))
    return replace(clip, frames=frames, annotations=annotations)


def clips_hash(clips: Sequence[Clip]) -> str:
    """Return a hash of the names of clips and frames, and of the content of all mask files."""
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(f"{clip.name} {[path.name for path in clip.frames]}".encode())
        for number, path in sorted(clip.annotations.items()):
            for file in [folder / path.name for folder in clip.layers.values()] or [path]:
                digest.update(f"{number}".encode() + (file.read_bytes() if file.is_file() else b""))
    return digest.hexdigest()


def clip_batches(
    recipe: Recipe, data: Path, first_step: int, without: frozenset[str]
) -> Iterator[ClipBatch]:
    """Yield the window of each step, which depends on the seed and the step only.

    Raises DataError if no window has an object, or a file is invalid.

    Args:
        data: Folder of clips.
        without: Names of clips that are held out.
    """
    clips = [clip for clip in training_clips(data) if clip.name not in without]
    if not clips:
        raise DataError(f"{data} contains no clips to train on: all of them are held out.")
    spec = frame_spec(models.spec(recipe.model), recipe.stages[0].side)
    for step in range(first_step, recipe.steps):
        yield draw_window(clips, spec, np.random.default_rng([recipe.seed, step]))


def frame_spec(spec: ModelSpec, side: int) -> ModelSpec:
    """Return the preprocessing of a frame at an input side, as the tracker has it."""
    return replace(spec, image_side=side, mask_side=side // 4, resample="pillow_bicubic")


def draw_window(clips: Sequence[Clip], spec: ModelSpec, rng: Generator) -> ClipBatch:
    """Draw a window with an object on its first frame. Raises DataError if none is found."""
    for _ in range(WINDOW_TRIES):
        clip = clips[int(rng.integers(len(clips)))]
        start = int(rng.integers(max(0, len(clip.frames) - WINDOW_FRAMES) + 1))
        numbers = range(len(clip.frames))[start : start + WINDOW_FRAMES]
        if rng.random() < 0.5:
            numbers = numbers[::-1]
        first = clip.frame(numbers[0]).by_id().items()
        if objects := [number for number, rle in first if rle_area(rle)]:
            chosen = rng.permutation(objects)[:MAX_WINDOW_OBJECTS]
            return read_window(clip, numbers, sorted(chosen.tolist()), spec, rng)
    raise DataError(
        f"No object was found in {WINDOW_TRIES} windows of {len(clips)} clips. Check that the mask "
        "files contain objects: pixels with the number of an object, and 0 for the background."
    )


def read_window(
    clip: Clip, numbers: Sequence[int], objects: Sequence[int], spec: ModelSpec, rng: Generator
) -> ClipBatch:
    """Read frames and masks of a window, and draw its prompt. Raises DataError or ImageError."""
    images, targets, void = [], [], []
    first: list[BoolArray] = []
    for number in numbers:
        image, frame = clip.image(number), clip.frame(number)
        if image.shape[:2] != frame.hw:
            raise DataError(
                f"{clip.name}, frame {number}: The image has the size (height, width) = "
                f"{image.shape[:2]}, but its masks have {frame.hw}."
            )
        rles, nothing = frame.by_id(), empty_rle(frame.hw)
        masks = [rle_to_mask(rles.get(object_id, nothing)) for object_id in objects]
        first = first or masks
        images.append(image_to_model(image, spec))
        targets.append(np.stack([_shares(mask, spec.mask_side) for mask in masks]))
        void.append(_shares(rle_to_mask(frame.ignore or nothing), spec.mask_side) > 0)
    given, prompts = draw_prompt(first, geometry(first[0].shape, spec), spec, rng)
    return ClipBatch(
        images=torch.from_numpy(np.stack(images)),
        targets=torch.from_numpy(np.stack(targets)),
        void=torch.from_numpy(np.stack(void)),
        given=given,
        prompts=prompts,
    )


def draw_prompt(
    masks: Sequence[BoolArray], where: Geometry, spec: ModelSpec, rng: Generator
) -> tuple[Tensor | None, FramePrompts | None]:
    """Draw masks, boxes or clicks as the prompt of N objects with masks (H, W)."""
    kind = rng.random()
    if kind < MASK_SHARE:
        whole = np.stack([_shares(mask, spec.image_side) for mask in masks])
        return torch.from_numpy((whole >= 0.5).astype(np.float32))[:, None], None
    if kind < MASK_SHARE + BOX_SHARE:
        boxes = np.stack([_noisy_box(mask, rng) for mask in masks])
        points, labels = boxes.reshape(-1, 2, 2), [2, 3]
    else:
        inside = [np.argwhere(mask) for mask in masks]
        points = np.stack([places[rng.integers(len(places))][None, ::-1] for places in inside])
        labels = [1]
    coords = points_to_model(points.astype(np.float32), where)
    return None, FramePrompts(torch.from_numpy(coords), torch.tensor([labels] * len(masks)))


def _noisy_box(mask: BoolArray, rng: Generator) -> np.ndarray:  # (H, W) -> (4,)
    box = tight_box(mask)
    moved = box + rng.normal(0, BOX_NOISE, 4) * np.tile(box[2:] - box[:2], 2)
    return np.asarray(moved.clip(0, 2 * mask.shape[::-1]))


def _shares(mask: BoolArray, side: int) -> np.ndarray:  # (H, W) -> (side, side), 0..1
    return cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
