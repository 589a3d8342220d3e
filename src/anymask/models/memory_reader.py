"""A lightweight memory network for object tracking.

Each coarse cell of the frame attends to the memory cells, separately for those of prompted and of
recent frames, with learned keys and values. A small pyramid fuses the result with the frame's maps
and the hints (`models/rules/memory.py`), and predicts a correction of the first hint.

Source of the idea: Oh et al. 2019 (STM, arXiv:1904.00607, section 3). Differences: frozen maps of
an image model, a memory of few frames, and hints by matching, optical flow and a prompted decoder.

Letters: B objects, F their frames (1 if it is the same for all, else B), h w the grid, G = h * w,
M memory cells, C K channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.rules import FINE_CELLS, HINTS, LIMIT, MIXED

LABELS_PER_CELL = FINE_CELLS**2  # per coarse cell
VALUES = 16  # learned channels of a value, besides the labels
INITIAL_SHARPNESS = 60.0  # initial sharpness of the softmax over keys


@dataclass(frozen=True, kw_only=True)
class ReaderSizes:
    """Sizes of the network; the first three are those of the image model."""

    keys: int  # Channels of the image model's keys
    middle: int  # Channels of its middle map
    fine: int  # Channels of its fine map
    matched: int = 64  # Channels of a learned key
    widths: tuple[int, int, int] = (96, 48, 16)  # Channels of the pyramid at strides 16, 8, 4
    depth: int = 2  # Blocks of each level


class Block(nn.Module):
    """A depthwise and two pointwise convolutions with a residual."""

    def __init__(self, width: int, size: int = 5) -> None:
        super().__init__()
        self.around = nn.Conv2d(width, width, size, padding=size // 2, groups=width)
        self.up = nn.Conv2d(width, 2 * width, 1)
        self.down = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w)
        return x + cast(Tensor, self.down(F.relu(self.up(self.around(x)))))


class Cells(NamedTuple):
    """Memory cells."""

    keys: Tensor  # Keys (F, M, K)
    labels: Tensor  # Labels (B, M, 16)
    valid: Tensor | None = None  # Which cells are valid (F, M), or None for all


class CellsRead(NamedTuple):
    """Result of the attention of each frame cell to memory cells."""

    values: Tensor  # Weighted mean (B, G, 32)
    weight: Tensor  # Sum of the weights (F, G, 1), relative to that of the best match
    highest: Tensor  # Score of the best match (F, G, 1)


class MemoryReader(nn.Module):
    """The memory network; inputs are those of `MemoryQuery` with a batch dimension."""

    def __init__(self, sizes: ReaderSizes) -> None:
        super().__init__()
        self.sizes = sizes
        coarse, middle, fine = sizes.widths
        self.key = nn.Linear(sizes.keys, sizes.matched, bias=False)
        self.sharpness = nn.Parameter(torch.tensor(INITIAL_SHARPNESS).log())
        self.value = nn.Linear(sizes.keys, VALUES)
        self.value_labels = nn.Linear(LABELS_PER_CELL, VALUES)
        read = 2 * (LABELS_PER_CELL + VALUES + 1)
        hints = len(HINTS)
        self.join16 = nn.Conv2d(read + sizes.keys + hints, coarse, 1)
        self.blocks16 = _blocks(coarse, sizes.depth)
        self.join8 = nn.Conv2d(coarse + sizes.middle + hints, middle, 1)
        self.blocks8 = _blocks(middle, sizes.depth)
        self.join4 = nn.Conv2d(middle + sizes.fine + hints, fine, 1)
        self.blocks4 = _blocks(fine, sizes.depth)
        self.change = nn.Conv2d(fine, 1, 3, padding=1)
        self.seen = nn.Sequential(nn.Linear(2 * coarse + 2, 32), nn.ReLU(), nn.Linear(32, 1))
        nn.init.orthogonal_(self.key.weight, (sizes.keys / sizes.matched) ** 0.5)
        nn.init.zeros_(self.change.weight)  # so that an untrained network returns the hint
        nn.init.zeros_(cast(Tensor, self.change.bias))

    def forward(
        self,
        keys: Tensor,
        middle: Tensor,
        fine: Tensor,
        hints: Tensor,
        memory_keys: Tensor,
        memory_labels: Tensor,
        memory_kinds: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """(F, K, h, w), (F, C, 2h, 2w), (F, C, 4h, 4w), (B, 5, 4h, 4w), (F, M, K), (B, M, 16),
        (F, M) -> logits (B, 1, 4h, 4w) and presence (B, 1). Cells of neither kind are padding."""
        anchors = Cells(memory_keys, memory_labels, memory_kinds > 0.5)
        recent = Cells(memory_keys, memory_labels, memory_kinds.abs() < 0.5)
        return self.answer(keys, middle, fine, hints, anchors, recent)

    def answer(
        self,
        keys: Tensor,
        middle: Tensor,
        fine: Tensor,
        hints: Tensor,
        anchors: Cells,
        recent: Cells,
    ) -> tuple[Tensor, Tensor]:
        """`forward` with the cells of prompted and of recent frames separated."""
        planes = torch.cat([hints[:, :2] / 4, 2 * hints[:, 2:] - 1], dim=1)
        planes8 = F.avg_pool2d(planes, 2)
        read = self.read(keys, anchors, recent)
        x = _joined(self.join16, read, 10 * keys, F.avg_pool2d(planes8, 2))
        coarse: Tensor = self.blocks16(x)
        x = self.blocks8(_joined(self.join8, middle, planes8, coarser=coarse))
        x = self.blocks4(_joined(self.join4, fine, planes, coarser=x))
        logits = hints[:, MIXED : MIXED + 1] + LIMIT * torch.tanh(_to_one(self.change, x) / LIMIT)
        return logits, self._seen(coarse, logits, planes)

    def read(self, keys: Tensor, anchors: Cells, recent: Cells) -> Tensor:  # -> (B, 2 * 33, h, w)
        """Attention of each cell to prompted frames and to recent ones, and both weights."""
        query = self.sharpness.exp() * self.key(keys.flatten(2).transpose(1, 2))
        reads = [self._read(query, cells) for cells in (anchors, recent)]
        highest = torch.maximum(reads[0].highest, reads[1].highest)
        weights = [read.weight * (read.highest - highest).exp() for read in reads]  # (F, G, 1)
        parts = []
        for read, weight in zip(reads, weights, strict=True):
            share = (weight / (weights[0] + weights[1])).expand(read.values.shape[0], -1, -1)
            parts += [read.values * (weight / (weight + 1e-3)), share]
        return torch.cat(parts, dim=2).transpose(1, 2).unflatten(2, keys.shape[2:])

    def _read(self, query: Tensor, cells: Cells) -> CellsRead:
        keys = self.key(cells.keys)
        if cells.valid is not None:  # an extra channel is cheaper than masking the scores
            query = torch.cat([query, torch.ones_like(query[..., :1])], dim=2)
            keys = torch.cat([keys, (cells.valid[..., None].to(keys) - 1) * 1e4], dim=2)
        scores = query @ keys.transpose(1, 2)  # (F, G, M)
        learned = torch.relu(self.value(10 * cells.keys) + self.value_labels(cells.labels))
        weights = scores.softmax(2)
        values = _weighted(weights, torch.cat([cells.labels, learned], dim=2))
        highest = scores.amax(2, keepdim=True)
        return CellsRead(values, 1 / weights.amax(2, keepdim=True), highest)

    def _seen(self, coarse: Tensor, logits: Tensor, planes: Tensor) -> Tensor:  # -> (B, 1)
        """Presence logit of the object, from its cells and all cells."""
        drawn = F.avg_pool2d(logits.detach().sigmoid(), FINE_CELLS)
        inside = (coarse * drawn).sum((2, 3)) / (drawn.sum((2, 3)) + 0.5)
        area = torch.log(drawn.sum((2, 3)) + 0.1)
        best = (planes[:, 3:4]).amax((2, 3))
        return cast(Tensor, self.seen(torch.cat([inside, coarse.mean((2, 3)), area, best], dim=1)))


def _blocks(width: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(depth)))


def _weighted(weights: Tensor, values: Tensor) -> Tensor:  # (F, G, M), (B, M, C) -> (B, G, C)
    """Weighted sums of values; one product if all objects share the weights."""
    if len(weights) > 1:
        return weights @ values
    count, width = values.shape[0], values.shape[2]
    side = values.transpose(0, 1).flatten(1)
    return (weights.flatten(0, 1) @ side).unflatten(1, (count, width)).transpose(0, 1)


def _joined(join: nn.Conv2d, *parts: Tensor, coarser: Tensor | None = None) -> Tensor:
    """A 1 x 1 convolution of concatenated parts, computed per part: parts of the frame are
    convolved once for all objects, and the coarser part before it is upscaled."""
    widths = [part.shape[1] for part in parts]
    weights = join.weight.split([join.in_channels - sum(widths), *widths], dim=1)
    convolved = [F.conv2d(part, share) for part, share in zip(parts, weights[1:], strict=True)]
    whole = reduce(torch.add, convolved, cast(Tensor, join.bias)[:, None, None])
    if coarser is None:
        return whole
    return whole + F.interpolate(
        F.conv2d(coarser, weights[0]), scale_factor=2.0, mode="bilinear", align_corners=False
    )


def _to_one(convolution: nn.Conv2d, x: Tensor) -> Tensor:  # (B, C, h, w) -> (B, 1, h, w)
    """A 3 x 3 convolution to one channel, computed per channel: ONNX Runtime's convolutions compute
    at least 16 channels."""
    each = F.conv2d(
        x, convolution.weight.transpose(0, 1), padding=1, groups=convolution.in_channels
    )
    return F.conv2d(each, torch.ones_like(each[:1, :, :1, :1]), convolution.bias)
