"""How alike a mask of one photo is to examples of others: photos, maps and masks in, numbers out.

Two things are compared. The encoder's maps, cell by cell (`PhotoCells`), say where in a photo
something like the example may be, and what is rather like the example's surroundings. The vectors
of the network of names say whether two masks are the same kind of thing, and, of whole photos,
whether two are of the same kind of scene.

Letters: H W a photo, h w its cells, C channels, n masks, K cells of an example, D a vector's
length, N learned names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from anymask.base import BoolArray, FloatArray, UintImage
from anymask.masks import Features, Rle, mask_to_rle, rle_area, rle_to_mask
from anymask.models.rules import NameTable
from anymask.runtime import ImageRuntime, MaskNaming, mask_vectors, require

STRIDE = 8  # pixels of the model's input along a cell
BINS = 8  # of each color channel
PARTS = (0.5, 0.25, 0.25)  # what coarse map, fine map and colors count
NEAREST = 3  # cells of an example that a cell is compared with
MAX_OBJECT, MAX_AROUND = 48, 96  # cells of an example that are kept
RING = 2  # cells around a mask that are its surroundings
SOFTER = 0.5  # of the names' scale: names that are near to the likeliest count, too


@dataclass(frozen=True, eq=False)
class PhotoCells:
    """What the encoder saw of a photo, cell by cell.

    Attributes:
        values: (h, w, C), each cell of length 1; only the cells that the photo fills.
    """

    values: FloatArray

    @classmethod
    def of(cls, photo: UintImage, features: Features) -> PhotoCells:
        """The cells of a photo (H, W, 3)."""
        place = features.geometry
        side = place.side // STRIDE
        rows, columns = place.filled_cells(side)
        maps = [one.values for one in features.seen.maps()][:2]
        seen = [_unit(_resized(one, side)[:rows, :columns]) for one in maps]
        seen.append(_unit(_colours(photo, (rows, columns))))
        parts = [np.float32(part**0.5) * one for part, one in zip(PARTS, seen, strict=False)]
        return cls(_unit(np.concatenate(parts, axis=2)))

    def share(self, mask: BoolArray) -> FloatArray:  # (H, W) -> (h, w)
        """How much of each cell a mask covers, 0..1."""
        hw = self.values.shape[:2]
        covered = cv2.resize(mask.astype(np.float32), hw[::-1], interpolation=cv2.INTER_AREA)
        return np.asarray(covered, np.float32).reshape(hw)


def _unit(planes: FloatArray) -> FloatArray:
    length = np.linalg.norm(planes, axis=-1, keepdims=True)
    unit: FloatArray = (planes / np.maximum(length, 1e-6)).astype(np.float32)
    return unit


def _resized(planes: FloatArray, side: int) -> FloatArray:  # (C, h, w) -> (side, side, C)
    last = np.ascontiguousarray(planes.transpose(1, 2, 0), np.float32)
    if last.shape[0] == side:
        return last
    drawn = [
        cv2.resize(last[..., first : first + 4], (side, side)).reshape(side, side, -1)
        for first in range(0, last.shape[2], 4)
    ]
    return np.concatenate(drawn, axis=2)


def _colours(photo: UintImage, hw: tuple[int, int]) -> FloatArray:  # (H, W, 3) -> (h, w, 3 BINS)
    """Each channel of Lab as shares of the two bins around it."""
    small = cv2.resize(photo, hw[::-1], interpolation=cv2.INTER_AREA).reshape(*hw, 3)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32) / 255
    # a and b of photos lie near the middle
    lab[..., 1:] = np.clip((lab[..., 1:] - 0.5) * 2 + 0.5, 0, 1)
    middles = np.arange(BINS, dtype=np.float32) / (BINS - 1)
    near = np.maximum(0, 1 - np.abs(lab[..., None] - middles) * (BINS - 1))
    shares: FloatArray = near.reshape(*hw, 3 * BINS)
    return shares


@dataclass(frozen=True, eq=False)
class Kind:
    """What examples of one kind of thing look like.

    Attributes:
        cells: (K, C) of their masks, and of what is around them.
        around: (K, C) of their masks, and of what is around them.
        prototype: (C,) the mean of their masks.
        vectors: (n, D) by the network of names.
        scenes: (n, D) the same, of their whole photos.
        shares: (n,) of the photo that each covers.
        table: The names of that network.
    """

    cells: FloatArray
    around: FloatArray
    prototype: FloatArray
    vectors: FloatArray
    scenes: FloatArray
    shares: FloatArray
    table: NameTable

    @classmethod
    def of(
        cls, runtime: ImageRuntime, examples: Sequence[tuple[UintImage, BoolArray, PhotoCells]]
    ) -> Kind:
        """Of photos (H, W, 3) with masks (H, W). Raises ModelError for a model without names."""
        inside, outside, vectors, scenes, shares = [], [], [], [], []
        table = require(runtime, MaskNaming).name_table()
        for photo, mask, cells in examples:
            covered = cells.share(mask)
            level = min(0.5, float(covered.max()))
            inside.append(_some(cells.values[covered >= level], MAX_OBJECT))
            outside.append(_some(cells.values[covered == 0], MAX_AROUND))
            vectors.append(mask_vectors(runtime, photo, [mask_to_rle(mask)]))
            scenes.append(scene_vector(runtime, photo))
            shares.append(float(mask.mean()))
        cells_in, cells_out = np.concatenate(inside), np.concatenate(outside)
        prototype = _unit(cells_in.mean(0))
        both = np.concatenate(vectors), np.concatenate(scenes)
        return cls(cells_in, cells_out, prototype, *both, np.array(shares), table)

    def agreement(self, cells: PhotoCells) -> FloatArray:  # -> (h, w)
        """How much more each cell is like the examples than like what is around them."""
        flat = cells.values.reshape(-1, cells.values.shape[2])
        like = (flat @ self.prototype + _nearest(flat, self.cells)) / 2
        zeros = np.zeros(len(flat), np.float32)
        unlike = _nearest(flat, self.around) if len(self.around) else zeros
        height, width = cells.values.shape[:2]
        return np.asarray(like - unlike, np.float32).reshape(height, width)


def _some(cells: FloatArray, most: int) -> FloatArray:  # (n, C) -> (K, C)
    """At most so many of them, evenly chosen."""
    kept: FloatArray = cells[np.linspace(0, len(cells) - 1, min(most, len(cells))).astype(int)]
    return kept


def _nearest(flat: FloatArray, cells: FloatArray) -> FloatArray:  # (n, C), (K, C) -> (n,)
    """The mean likeness to the nearest of the cells."""
    told = flat @ cells.T
    count = min(NEAREST, len(cells))
    nearest: FloatArray = np.partition(told, told.shape[1] - count, axis=1)[:, -count:].mean(1)
    return nearest


FACTS = (
    "vector",  # cosine of the vectors by the network of names with the nearest example's
    "names",  # how far the names that both may have agree, 0..1 (Bhattacharyya's coefficient)
    "cells",  # cosine of the mean cell with the prototype
    "inside",  # mean agreement of the mask's cells
    "contrast",  # the same, less that of the cells around it
    "best",  # the highest agreement in the photo
    "size",  # how many times larger or smaller than the nearest example, as a logarithm
    "score",  # the model's own number
)
NAMED = 2  # facts that need the network of names


def cheap_facts(
    kind: Kind, cells: PhotoCells, agreement: FloatArray, rles: Sequence[Rle], scores: FloatArray
) -> FloatArray:  # -> (n, len(FACTS))
    """Every fact of `FACTS` but those of the network of names, which are left at 0."""
    facts = np.zeros((len(rles), len(FACTS)), np.float32)
    for row, rle in zip(facts, rles, strict=True):
        covered = cells.share(rle_to_mask(rle))
        weight = covered / max(float(covered.sum()), 1e-6)
        ring = cv2.dilate(covered, np.ones((2 * RING + 1, 2 * RING + 1), np.uint8))
        ring = np.maximum(ring - covered, 0)
        inside = float((agreement * weight).sum())
        around = float((agreement * ring).sum() / max(float(ring.sum()), 1e-6))
        mean = _unit((cells.values * weight[..., None]).sum((0, 1)))
        share = max(rle_area(rle), 1) / (rle.size[0] * rle.size[1])
        row[NAMED:-1] = (
            mean @ kind.prototype,
            inside,
            inside - around,
            agreement.max(),
            np.abs(np.log(share / kind.shares)).min(),
        )
    facts[:, -1] = scores
    return facts


def scene_vector(runtime: ImageRuntime, photo: UintImage) -> FloatArray:  # -> (1, D)
    """The vector of a whole photo (H, W, 3). Raises ModelError for a model without names."""
    return mask_vectors(runtime, photo, [mask_to_rle(np.ones(photo.shape[:2], np.bool_))])


def vector_likeness(vectors: FloatArray, examples: FloatArray) -> FloatArray:  # (n, D), (m, D)
    """The cosine of each vector with the nearest example's: (n,)."""
    likeness: FloatArray = (vectors @ examples.T).max(1)
    return likeness


def name_likeness(kind: Kind, vectors: FloatArray) -> FloatArray:  # (n, D) -> (n,)
    """How far the chances of all learned names agree with those of the nearest example."""
    table = kind.table
    names = SOFTER * table.scale * table.vectors[table.learned].T.astype(np.float32)

    def roots(seen: FloatArray) -> FloatArray:  # (n, D) -> (n, N)
        told = seen @ names
        powers = np.exp(told - told.max(1, keepdims=True))
        chances: FloatArray = np.sqrt(powers / powers.sum(1, keepdims=True))
        return chances

    return vector_likeness(roots(vectors), roots(kind.vectors))
