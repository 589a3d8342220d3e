"""All training photos decoded in memory that processes share, and composed scenes beside them.

A GPU learns faster than a processor can prepare pictures, so that nothing is prepared: photos and
masks are decoded once and copied to the GPU as they are, and a training picture is no more than
some numbers (which photo, which masks, which crop), drawn by processes beside (`draw_crops`).
Composed scenes (research/nano/scenes.py) are made by other processes for as long as the run lasts;
their places in the pool come round again.

Letters: n photos and scenes, m masks, B pictures of a batch, K masks a picture, S its side.
"""

from __future__ import annotations

import io
import math
import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from anymask.base import UintImage
from anymask.masks.rle import rle_to_mask, string_to_rle
from research.nano.scenes import MINIMUM, compose
from research.small.pack_images import SIDE, PackedImage, read_images

SCENE, SCENES, SCENE_MASKS = 384, 3072, 12  # a scene's side, how many are kept, masks of each
SYNTHETIC = 0.28  # of the pictures
LEAST, MOST = 32, 0.97  # pixels of a mask in a training picture, part of it
MODEL_SIDE = 512  # at which the model will see photos
FORK = get_context("fork")


def shared(shape: Sequence[int], kind: type[np.generic] = np.uint8) -> NDArray[Any]:
    """An array of zeros that forked processes see, too."""
    count = math.prod(shape)
    memory = mmap.mmap(-1, max(1, count * np.dtype(kind).itemsize))
    return np.frombuffer(memory, kind, count).reshape(shape)


class Crops(NamedTuple):
    """What a batch shows.

    Attributes:
        images: Indices in the pool (B,).
        masks: Indices in the pool (B, K).
        geometry: (B, 9): left, top, source pixels per output pixel along x and y, whether the
            output is transposed, mirrored, flipped; width and height of the source.
    """

    images: NDArray[np.int64]
    masks: NDArray[np.int64]
    geometry: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ImagePool:
    """Photos, behind them scenes; their masks.

    pixels (n, 480, 480, 3), each in its upper left; hws (n, 2); starts, counts (n,) of its masks
    bits (m, 480, 60) masks, 8 pixels a byte; boxes (m, 4) x, y, w, h; areas (m,)
    ready (SCENES,) 1 where a scene is whole
    photos, drawn: how many photos and masks are no scenes
    sets, chances: members and chance of each
    """

    pixels: UintImage
    hws: NDArray[np.int32]
    starts: NDArray[np.int64]
    counts: NDArray[np.int32]
    bits: NDArray[np.uint8]
    boxes: NDArray[np.int32]
    areas: NDArray[np.int64]
    ready: NDArray[np.uint8]
    images: int
    drawn: int
    sets: list[NDArray[np.int64]]
    chances: NDArray[np.float64]

    def image(self, rng: Generator) -> UintImage:
        """Any photo."""
        number = self.some(rng)
        h, w = self.hws[number]
        return self.pixels[number, :h, :w]

    def some(self, rng: Generator) -> int:
        """The place of any photo, each set by its chance."""
        members = self.sets[int(rng.choice(len(self.sets), p=self.chances))]
        return int(members[rng.integers(len(members))])

    def cut_out(self, rng: Generator) -> tuple[UintImage, UintImage]:
        """One object of at least 400 pixels, in its box."""
        for _ in range(30):
            number = self.some(rng)
            mask = int(self.starts[number] + rng.integers(self.counts[number]))
            h, w = self.hws[number]
            if 400 <= self.areas[mask] <= 0.6 * h * w:
                break
        whole = np.unpackbits(self.bits[mask, :h], axis=1)
        x, y, wide, high = self.boxes[mask]
        window = np.s_[y : y + high, x : x + wide]
        return self.pixels[number][window], np.ascontiguousarray(whole[window])

    def put_mask(self, place: int, mask: UintImage) -> None:
        """Keep one mask (h, w) of 0 and 1."""
        h, w = mask.shape
        row = np.zeros((h, SIDE), np.uint8)
        row[:, :w] = mask
        self.bits[place, :h] = np.packbits(row, axis=1)
        self.areas[place] = mask.sum(dtype=np.int64)
        self.boxes[place] = cv2.boundingRect(mask)

    def put_scene(self, slot: int, image: UintImage, masks: UintImage) -> None:
        """Keep a scene (S, S, 3) with its masks (M, S, S) in the place of an earlier one."""
        self.ready[slot] = 0
        place, first = self.images + slot, self.drawn + slot * SCENE_MASKS
        side = image.shape[0]
        self.pixels[place, :side, :side], self.hws[place] = image, (side, side)
        self.bits[first : first + SCENE_MASKS] = 0
        for number, mask in enumerate(masks[:SCENE_MASKS]):
            self.put_mask(first + number, mask)
        self.counts[place] = min(len(masks), SCENE_MASKS)
        self.ready[slot] = 1


def open_pool(
    place: Path, parts: Sequence[str], weights: Mapping[str, float], procs: int
) -> ImagePool:
    """Decode the files of `pack_images`, by `procs` processes.

    Args:
        weights: Weight of each dataset, 1 by default. Its probability is proportional to the
            weight times the square root of its number of images.
    """
    rows = [(part, one) for part in parts for one in read_images(place, part)]
    offsets = dict.fromkeys(parts, 0)
    where: list[tuple[str, int, PackedImage]] = []
    for part, one in rows:
        where.append((part, offsets[part], one))
        offsets[part] += one.size
    counts = np.array([len(one.masks) for _, one in rows])
    images, drawn = len(rows), int(counts.sum())
    total, masks = images + SCENES, drawn + SCENES * SCENE_MASKS
    pool = ImagePool(
        pixels=shared((total, SIDE, SIDE, 3)),
        hws=shared((total, 2), np.int32),
        starts=np.concatenate(
            [np.cumsum(counts) - counts, drawn + SCENE_MASKS * np.arange(SCENES)]
        ).astype(np.int64),
        counts=shared((total,), np.int32),
        bits=shared((masks, SIDE, SIDE // 8)),
        boxes=shared((masks, 4), np.int32),
        areas=shared((masks,), np.int64),
        ready=shared((SCENES,)),
        images=images,
        drawn=drawn,
        sets=[],
        chances=np.zeros(0),
    )
    pool.counts[:images] = counts
    blobs = {part: (place / f"{part}.bin").read_bytes() for part in parts}
    workers = [
        FORK.Process(target=_decode, args=(pool, where, blobs, k, procs)) for k in range(procs)
    ]
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # a fork of a process with OpenCV's threads waits for them for ever
    for worker in workers:
        worker.start()
    cv2.setNumThreads(threads)
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise SystemExit("a photo could not be decoded; see above")
    return _with_sets(pool, [one.set for _, one in rows], weights)


def _with_sets(pool: ImagePool, names: list[str], weights: Mapping[str, float]) -> ImagePool:
    """The pool with members and chance of each set; photos without a large mask are none."""
    spans = zip(pool.starts, pool.counts, strict=False)
    usable = [
        bool((pool.areas[a : a + c] >= LEAST).any())
        for (a, c), _ in zip(spans, names, strict=False)
    ]
    sets, chances = list[NDArray[np.int64]](), list[float]()
    for name in sorted(set(names)):
        members = [
            i
            for i, (own, good) in enumerate(zip(names, usable, strict=True))
            if own == name and good
        ]
        if members:
            sets.append(np.array(members))
            chances.append(weights.get(name, 1.0) * math.sqrt(len(members)))
    shares = np.array(chances) / sum(chances)
    return ImagePool(**{**vars(pool), "sets": sets, "chances": shares})


def _decode(
    pool: ImagePool,
    where: list[tuple[str, int, PackedImage]],
    blobs: Mapping[str, bytes],
    first: int,
    step: int,
) -> None:
    """One process's photos."""
    cv2.setNumThreads(1)
    for place in range(first, len(where), step):
        part, offset, row = where[place]
        pixels = Image.open(io.BytesIO(blobs[part][offset : offset + row.size]))
        image = np.asarray(pixels.convert("RGB"))
        h, w = image.shape[:2]
        pool.pixels[place, :h, :w], pool.hws[place] = image, (h, w)
        for number, counts in enumerate(row.masks):
            mask = rle_to_mask(string_to_rle(counts, row.hw)).astype(np.uint8)
            if mask.shape != (h, w):
                soft = cv2.resize(mask * 255, (w, h), interpolation=cv2.INTER_AREA)
                mask = (soft > 127).astype(np.uint8)
            pool.put_mask(int(pool.starts[place]) + number, mask)


def compose_scenes(pool: ImagePool, number: int, of: int) -> None:
    """Fill one process's places with scenes, again and again, until it is ended."""
    cv2.setNumThreads(1)
    os.nice(5)
    rng = np.random.default_rng([77, number])
    while True:
        for slot in range(number, SCENES, of):
            image, masks = compose(SCENE, rng, lambda: pool.image(rng), lambda: pool.cut_out(rng))
            order = rng.permutation(len(masks))
            if len(masks) and masks.sum((1, 2)).max() >= MINIMUM:
                pool.put_scene(slot, image, masks[order])


def draw_crops(pool: ImagePool, rng: Generator, shape: tuple[int, int, int]) -> Crops:
    """One batch; shape is B, K, S."""
    images, objects, side = shape
    out = Crops(
        np.zeros(images, np.int64),
        np.zeros((images, objects), np.int64),
        np.zeros((images, 9), np.float32),
    )
    scenes = np.flatnonzero(pool.ready.copy())  # other processes write to it meanwhile
    for row in range(images):
        composed = len(scenes) > 64 and rng.random() < SYNTHETIC
        while True:
            place = pool.images + int(rng.choice(scenes)) if composed else pool.some(rng)
            geometry = _some_crop(pool.hws[place], side, rng, whole=composed)
            seen = _seen(pool, place, geometry, side)
            if len(seen):
                break
        out.images[row], out.geometry[row] = place, geometry
        out.masks[row] = np.resize(rng.permutation(seen)[:objects], objects)
    return out


def _some_crop(
    hw: NDArray[np.int32], side: int, rng: Generator, *, whole: bool
) -> tuple[float, ...]:
    """A row of `Crops.geometry`: the whole photo, a part at the size that the model will see things
    at, or any part stretched to the square."""
    h, w = (int(one) for one in hw)
    turned, mirrored, flipped = rng.random() < 0.12, rng.random() < 0.5, rng.random() < 0.12
    high, wide = (w, h) if turned else (h, w)
    pick, smaller = rng.random(), side < MODEL_SIDE
    left = top = 0.0
    if whole:
        along_x, along_y = wide / side, high / side
    elif smaller and pick < 0.35:
        crop = side / MODEL_SIDE * max(high, wide) * math.exp(rng.uniform(-0.3, 0.3))
        crop = min(max(crop, 16), high, wide)
        left, top = rng.uniform(0, wide - crop), rng.uniform(0, high - crop)
        along_x = along_y = crop / side
    elif pick < (0.7 if smaller else 0.55):
        along_x = along_y = max(high, wide) / side
    else:
        crop = min(high, wide) * math.exp(rng.uniform(math.log(0.35), 0))
        stretch = math.exp(rng.uniform(-0.2, 0.2))
        rows, columns = min(max(crop * stretch, 16), high), min(max(crop / stretch, 16), wide)
        left, top = rng.uniform(0, wide - columns), rng.uniform(0, high - rows)
        along_x, along_y = columns / side, rows / side
    return left, top, along_x, along_y, turned, mirrored, flipped, w, h


def _seen(pool: ImagePool, place: int, geometry: tuple[float, ...], side: int) -> NDArray[np.int64]:
    """The photo's masks of which enough lies in a crop, going by their boxes."""
    left, top, along_x, along_y, turned, mirrored, flipped, w, h = geometry
    own = pool.starts[place] + np.arange(pool.counts[place])
    x, y, wide, high = pool.boxes[own].T.astype(np.float32)
    if mirrored:
        x = w - x - wide
    if flipped:
        y = h - y - high
    if turned:
        x, y, wide, high = y, x, high, wide
    columns = np.minimum(x + wide, left + along_x * side) - np.maximum(x, left)
    rows = np.minimum(y + high, top + along_y * side) - np.maximum(y, top)
    part = np.maximum(columns, 0) * np.maximum(rows, 0) / np.maximum(wide * high, 1)
    area = pool.areas[own] * part / (along_x * along_y)
    seen: NDArray[np.int64] = own[(area >= LEAST) & (area < MOST * side * side)]
    return seen
