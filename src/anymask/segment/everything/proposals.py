"""Boxes that probably contain objects, from the encoder's maps in one pass.

A small convolutional head predicts, for each cell of two maps, whether it is the centre of an
object, and the distances to the four sides of the object's box: large objects on the coarse map,
small ones on the fine map (centres as in CenterNet, Zhou et al. 2019; distances as in FCOS, Tian
et al. 2019). The peaks of the centre scores are boxes, with which the decoder is prompted. The
weights are `FILE` beside the weights of the bundled model, trained by `research/fit_proposals.py`.
The table "proposals" states its hash, and the weights of the model that it belongs to.

Letters: C channels, h w the cells of a map, N boxes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from anymask.base import FloatArray, Floats, InputError, WeightsError, file_sha256
from anymask.masks import Geometry, box_nms, pairwise_box_iou
from anymask.models.rules import DEFAULT_IMAGE_MODEL, SHIPPED, Family

FILE = "proposals.npz"  # float16 arrays by name
LEAST = 0.02  # centre score
DUPLICATE = 0.8  # IoU of boxes
MOST = 100  # boxes
LARGEST = 6.0  # logarithm of a distance in cells
SMALLEST = -4.0
USUAL, ODDS = 0.2, 0.6  # of `Proposals.adjust`


class Proposals(NamedTuple):
    """Boxes of an image, best first.

    Attributes:
        boxes: Boxes (N, 4): x0, y0, x1, y1 in pixels of the image.
        scores: Centre score of each box (N,), 0..1.
    """

    boxes: Floats
    scores: Floats

    def adjust(self, objectness: Floats, boxes: Floats) -> Floats:
        """Combine the objectness of n masks (n,) with the scores of the proposals they match.

        The odds of a mask are multiplied by the best score of a proposal times the squared IoU of
        the boxes, relative to `USUAL`. `ODDS` and `USUAL` were chosen on training images that the
        head did not learn from.

        Args:
            objectness: Objectness without proposals, 0..1.
            boxes: Boxes of the masks (n, 4) in pixels of the image.
        """
        match = np.square(pairwise_box_iou(boxes, self.boxes)) * self.scores
        support = (match.max(axis=1, initial=0) + LEAST) / USUAL
        odds = ODDS * support * objectness / np.maximum(1 - objectness, 1e-6)
        adjusted: Floats = odds / (1 + odds)
        return adjusted


class ProposalHead:
    """Convolutional head on the first two maps of an encoder.

    Args:
        weights: Arrays float32 by name, as `research/fit_proposals.py` folds them.
    """

    def __init__(self, weights: Mapping[str, FloatArray]) -> None:
        self._weights = weights

    @classmethod
    def read(cls, path: Path) -> ProposalHead:
        """Read the weights from a file."""
        with np.load(path) as arrays:
            return cls({name: one.astype(np.float32) for name, one in arrays.items()})

    def propose(self, maps: Sequence[FloatArray], geometry: Geometry) -> Proposals:
        """Boxes of an image, at most `MOST`.

        Args:
            maps: Coarse and fine map (C, h, w) on the model's square.
            geometry: Position of the image in model space.
        """
        boxes, scores = [], []
        for raw in self.maps(maps[0], maps[1]):
            rows, columns = geometry.filled_cells(raw.shape[-1])
            found = _peaks(raw[:, :rows, :columns], geometry.side / raw.shape[-1])
            boxes.append(found[:, :4])
            scores.append(found[:, 4])
        every, score = np.concatenate(boxes), np.concatenate(scores)
        height, width = geometry.input_hw
        every[:, 0::2] = every[:, 0::2].clip(0, width)
        every[:, 1::2] = every[:, 1::2].clip(0, height)
        kept = box_nms(every, score, DUPLICATE)[:MOST]
        return Proposals(every[kept] / (geometry.scale_xy * 2), score[kept])

    def maps(self, coarse: FloatArray, fine: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Output of the head: score and four distances of each cell, (5, h, w) per map."""
        large = self._blocks("coarse", np.maximum(self._mix("in0", coarse), 0))
        grown = self._mix("down", large).repeat(2, axis=1).repeat(2, axis=2)
        small = self._blocks("fine", np.maximum(grown + self._mix("in1", fine), 0))
        outputs = [np.maximum(one, 0) for one in (large, small)]
        return self._mix("out0", outputs[0]), self._mix("out1", outputs[1])

    def _mix(self, name: str, cells: FloatArray) -> FloatArray:
        """Convolution of 1 x 1 cells."""
        channels = len(cells)
        mixed = self._weights[f"{name}.weight"] @ cells.reshape(channels, -1).astype(np.float32)
        mixed += self._weights[f"{name}.bias"][:, None]
        out: FloatArray = mixed.reshape(-1, *cells.shape[1:])
        return out

    def _blocks(self, name: str, cells: FloatArray) -> FloatArray:
        """Residual blocks: a convolution of each channel, then two of single cells."""
        number = 0
        while (key := f"{name}.{number}") + ".across.weight" in self._weights:
            kernels, bias = (self._weights[f"{key}.across.{part}"] for part in ("weight", "bias"))
            reach = kernels.shape[-1] // 2
            padded = np.pad(cells, ((0, 0), (reach, reach), (reach, reach)))
            windows = sliding_window_view(padded, kernels.shape[1:], axis=(1, 2))
            seen = np.einsum("chwij,cij->chw", windows, kernels, optimize=True)
            seen += bias[:, None, None]
            hidden = np.maximum(self._mix(f"{key}.up", seen), 0)
            cells = cells + self._mix(f"{key}.down", hidden)
            number += 1
        return cells


def proposal_head(family: Family) -> ProposalHead:
    """Read the proposal head of a model.

    Raises:
        InputError: The model has no proposal head.
        WeightsError: The file is missing, or it is not the one that the table states.
    """
    table = family.tables.get("proposals")
    if table is None:
        raise InputError(
            f'mode="proposals" requires a model with a proposal head, which {family.spec.name} '
            f'does not have. Use the model "{DEFAULT_IMAGE_MODEL}", or mode="adaptive".'
        )
    path = SHIPPED / family.spec.family / FILE
    return _read_head(path, table.get("sha256"), family.spec.name)


@lru_cache(maxsize=2)  # errors are not cached
def _read_head(path: Path, sha256: object, model: str) -> ProposalHead:
    if not path.is_file() or file_sha256(path) != sha256:
        raise WeightsError(
            f"The proposal head of {model} is missing or does not match its model: "
            f'{path}. Reinstall anymask and export the model again, or use mode="adaptive".'
        )
    return ProposalHead.read(path)


def _peaks(raw: FloatArray, stride: float) -> Floats:
    """Boxes and scores (N, 5) of the cells whose score is the highest of 3 x 3."""
    scores = 1 / (1 + np.exp(-raw[0].astype(np.float64)))
    around = sliding_window_view(np.pad(scores, 1), (3, 3)).max(axis=(2, 3))
    rows, columns = np.nonzero((scores >= around) & (scores > LEAST))
    apart = np.exp(raw[1:, rows, columns].astype(np.float64).clip(SMALLEST, LARGEST)) * stride
    x, y = (columns + 0.5) * stride, (rows + 0.5) * stride
    sides = (x - apart[0], y - apart[1], x + apart[2], y + apart[3], scores[rows, columns])
    return np.stack(sides, axis=1)
