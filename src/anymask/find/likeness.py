"""Similarity of masks to exemplars in other images.

Two kinds of features are compared. The encoder's maps, cell by cell (`ImageCells`), locate cells
similar to the exemplar or to its surroundings. The vectors of the name model compare the kinds of
two masks and, for whole images, the kinds of scene.

Letters: H W an image, h w its cells, C channels, n masks, K cells of an exemplar, D a vector's
length, N trained names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from anymask.base import BoolArray, FloatArray, UintImage
from anymask.masks import Features, Rle, mask_to_rle, rle_area, rle_to_mask
from anymask.models.rules import NameTable
from anymask.runtime import ImageRuntime, mask_vectors, require

CELL_STRIDE = 8  # pixels of the model's input per cell
COLOR_BINS = 8  # per color channel
MAP_WEIGHTS = (0.5, 0.25, 0.25)  # weights of coarse map, fine map and colors
NEAREST_CELLS = 3  # cells of an exemplar that are averaged
MAX_OBJECT, MAX_AROUND = 48, 96  # maximum number of stored cells of an exemplar
RING_CELLS = 2  # width of a mask's surroundings in cells
SOFTER = 0.5  # factor of the names' scale, so that names near the most likely one also count


@dataclass(frozen=True, eq=False)
class ImageCells:
    """Features of an image by cell."""

    values: FloatArray  # Unit vectors (h, w, C) of the cells that the image covers

    @classmethod
    def of(cls, image: UintImage, features: Features) -> ImageCells:
        """Compute the cells of an image (H, W, 3)."""
        geometry = features.geometry
        side = geometry.side // CELL_STRIDE
        rows, columns = geometry.filled_cells(side)
        maps = [layer.values for layer in features.encoder_output.maps()][:2]
        planes = [_unit(_resized(layer, side)[:rows, :columns]) for layer in maps]
        hw = (rows, columns)
        # Linear histogram of each Lab channel
        small = cv2.resize(image, hw[::-1], interpolation=cv2.INTER_AREA).reshape(*hw, 3)
        lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32) / 255
        # a and b of images are close to the centre of their range
        lab[..., 1:] = np.clip((lab[..., 1:] - 0.5) * 2 + 0.5, 0, 1)
        middles = np.arange(COLOR_BINS, dtype=np.float32) / (COLOR_BINS - 1)
        near = np.maximum(0, 1 - np.abs(lab[..., None] - middles) * (COLOR_BINS - 1))
        planes.append(_unit(near.reshape(*hw, 3 * COLOR_BINS)))
        parts = [np.float32(w**0.5) * plane for w, plane in zip(MAP_WEIGHTS, planes, strict=False)]
        return cls(_unit(np.concatenate(parts, axis=2)))

    def share(self, mask: BoolArray) -> FloatArray:  # (H, W) -> (h, w)
        """Share of each cell that a mask covers, 0..1."""
        hw = self.values.shape[:2]
        covered = cv2.resize(mask.astype(np.float32), hw[::-1], interpolation=cv2.INTER_AREA)
        return np.asarray(covered, np.float32).reshape(hw)


def _unit(planes: FloatArray) -> FloatArray:
    length = np.linalg.norm(planes, axis=-1, keepdims=True)
    return (planes / np.maximum(length, 1e-6)).astype(np.float32)


def _resized(planes: FloatArray, side: int) -> FloatArray:  # (C, h, w) -> (side, side, C)
    last = np.ascontiguousarray(planes.transpose(1, 2, 0), np.float32)
    if last.shape[0] == side:
        return last
    drawn = [
        cv2.resize(last[..., first : first + 4], (side, side)).reshape(side, side, -1)
        for first in range(0, last.shape[2], 4)
    ]
    return np.concatenate(drawn, axis=2)


@dataclass(frozen=True, eq=False)
class Kind:
    """Appearance of exemplars of one kind."""

    cells: FloatArray  # Cells (K, C) inside their masks
    around: FloatArray  # Cells (K, C) around their masks
    prototype: FloatArray  # Mean cell (C,) of their masks
    vectors: FloatArray  # Vectors (n, D) of the name model
    scenes: FloatArray  # Vectors (n, D) of their whole images
    shares: FloatArray  # Share of the image that each covers (n,)
    table: NameTable  # Names of the name model

    @classmethod
    def of(
        cls, runtime: ImageRuntime, examples: Sequence[tuple[UintImage, BoolArray, ImageCells]]
    ) -> Kind:
        """Learn from images (H, W, 3) and their masks (H, W).

        Raises ModelError if the model cannot name masks.
        """
        inside, outside, vectors, scenes, shares = [], [], [], [], []
        table = require(runtime, runtime.naming, "mask naming").name_table()
        for image, mask, cells in examples:
            covered = cells.share(mask)
            level = min(0.5, float(covered.max()))
            inside.append(_some(cells.values[covered >= level], MAX_OBJECT))
            outside.append(_some(cells.values[covered == 0], MAX_AROUND))
            vectors.append(mask_vectors(runtime, image, [mask_to_rle(mask)]))
            scenes.append(scene_vector(runtime, image))
            shares.append(float(mask.mean()))
        cells_in, cells_out = np.concatenate(inside), np.concatenate(outside)
        both = np.concatenate(vectors), np.concatenate(scenes)
        return cls(cells_in, cells_out, _unit(cells_in.mean(0)), *both, np.array(shares), table)

    def agreement(self, cells: ImageCells) -> FloatArray:  # -> (h, w)
        """Similarity of each cell to the exemplars minus the similarity to their surroundings."""
        flat = cells.values.reshape(-1, cells.values.shape[2])
        like = (flat @ self.prototype + _nearest(flat, self.cells)) / 2
        zeros = np.zeros(len(flat), np.float32)
        unlike = _nearest(flat, self.around) if len(self.around) else zeros
        height, width = cells.values.shape[:2]
        return np.asarray(like - unlike, np.float32).reshape(height, width)


def _some(cells: FloatArray, most: int) -> FloatArray:  # (n, C) -> (K, C)
    """At most `most` evenly spaced cells."""
    return cells[np.linspace(0, len(cells) - 1, min(most, len(cells))).astype(int)]


def _nearest(flat: FloatArray, cells: FloatArray) -> FloatArray:  # (n, C), (K, C) -> (n,)
    """Mean similarity to the nearest cells."""
    cosines = flat @ cells.T
    count = min(NEAREST_CELLS, len(cells))
    return np.partition(cosines, cosines.shape[1] - count, axis=1)[:, -count:].mean(1)


LIKENESS_FACTS = (
    "vector",  # cosine similarity of the name model's vectors, for the nearest exemplar
    "names",  # similarity of the name distributions, 0..1 (Bhattacharyya coefficient)
    "cells",  # cosine similarity of the mean cell and the prototype
    "inside",  # mean agreement of the mask's cells
    "contrast",  # the same minus that of the cells around it
    "best",  # the highest agreement in the image
    "size",  # absolute logarithm of the size relative to the nearest exemplar
    "score",  # predicted IoU
)
NAMED = 2  # features that require the name model


def cheap_facts(
    kind: Kind, cells: ImageCells, agreement: FloatArray, rles: Sequence[Rle], scores: FloatArray
) -> FloatArray:  # -> (n, len(FACTS))
    """Features in the order of `LIKENESS_FACTS`; those of the name model are 0."""
    facts = np.zeros((len(rles), len(LIKENESS_FACTS)), np.float32)
    for row, rle in zip(facts, rles, strict=True):
        covered = cells.share(rle_to_mask(rle))
        weight = covered / max(float(covered.sum()), 1e-6)
        ring = cv2.dilate(covered, np.ones((2 * RING_CELLS + 1, 2 * RING_CELLS + 1), np.uint8))
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


def scene_vector(runtime: ImageRuntime, image: UintImage) -> FloatArray:  # -> (1, D)
    """Vector of a whole image (H, W, 3). Raises ModelError for a model without names."""
    return mask_vectors(runtime, image, [mask_to_rle(np.ones(image.shape[:2], np.bool_))])


def vector_likeness(vectors: FloatArray, examples: FloatArray) -> FloatArray:  # (n, D), (m, D)
    """Cosine similarity (n,) of each vector and the nearest exemplar."""
    return (vectors @ examples.T).max(1)


def name_likeness(kind: Kind, vectors: FloatArray) -> FloatArray:  # (n, D) -> (n,)
    """Similarity of the distributions over trained names, for the nearest exemplar."""
    table = kind.table
    names = SOFTER * table.scale * table.vectors[table.learned].T.astype(np.float32)

    def roots(seen: FloatArray) -> FloatArray:  # (n, D) -> (n, N)
        logits = seen @ names
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return np.sqrt(powers / powers.sum(1, keepdims=True))

    return vector_likeness(roots(vectors), roots(kind.vectors))
