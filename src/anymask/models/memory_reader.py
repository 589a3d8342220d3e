"""A light memory of objects: a frame, what is remembered of an object and hints in, its mask out.

Each coarse cell of the frame reads the remembered cells by attention, those of prompted frames and
those of recent ones apart, with keys and values that are learned. A small pyramid joins what was
read with the frame's maps and the hints (`primitives/memory_question.py`), and says what to add to
the first hint.

Source of the idea: Oh et al. 2019 (STM, arXiv:1904.00607, section 3). Deviations: frozen maps of an
image model, a memory of few frames, and hints by matching, flow and a prompted decoder.

Letters: B questions, h w the grid, G = h * w, M remembered cells, C K channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.primitives.memory_question import HINTS, LIMIT, MIXED, PARTS

LABELS = PARTS**2  # of a coarse cell
VALUES = 16  # learned channels of a value, beside the labels
SHARPNESS = 60.0  # of the softmax over keys, at first


@dataclass(frozen=True, kw_only=True)
class ReaderSizes:
    """Sizes of the network; the first three are those of the image model.

    keys, middle, fine  channels of its keys and maps
    matched  of a learned key
    widths   of the pyramid at strides 16, 8, 4
    depth    blocks of each level
    """

    keys: int
    middle: int
    fine: int
    matched: int = 64
    widths: tuple[int, int, int] = (96, 48, 16)
    depth: int = 2


class Block(nn.Module):
    """A depthwise and two pointwise convolutions, added to what came in."""

    def __init__(self, width: int, size: int = 5) -> None:
        super().__init__()
        self.around = nn.Conv2d(width, width, size, padding=size // 2, groups=width)
        self.up = nn.Conv2d(width, 2 * width, 1)
        self.down = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w)
        return x + cast(Tensor, self.down(F.relu(self.up(self.around(x)))))


class MemoryReader(nn.Module):
    """See the module; `forward` takes the tensors of a `MemoryQuestion`, with a batch first."""

    def __init__(self, sizes: ReaderSizes) -> None:
        super().__init__()
        self.sizes = sizes
        coarse, middle, fine = sizes.widths
        self.key = nn.Linear(sizes.keys, sizes.matched, bias=False)
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS).log())
        self.value = nn.Linear(sizes.keys, VALUES)
        self.value_labels = nn.Linear(LABELS, VALUES)
        read = 2 * (LABELS + VALUES + 1)
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
        nn.init.zeros_(self.change.weight)  # an untrained network says what the hints say
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
        """(B, K, h, w), (B, C, 2h, 2w), (B, C, 4h, 4w), (B, 5, 4h, 4w), (B, M, K), (B, M, 16),
        (B, M) -> logits (B, 1, 4h, 4w) and seen (B, 1)."""
        told = _told(hints)
        told8 = F.avg_pool2d(told, 2)
        read = self.read(keys, memory_keys, memory_labels, memory_kinds)
        x = self.join16(torch.cat([read, 10 * keys, F.avg_pool2d(told8, 2)], dim=1))
        coarse: Tensor = self.blocks16(x)
        x = self.join8(torch.cat([_doubled(coarse), middle, told8], dim=1))
        x = self.join4(torch.cat([_doubled(self.blocks8(x)), fine, told], dim=1))
        logits = hints[:, MIXED : MIXED + 1] + LIMIT * torch.tanh(
            self.change(self.blocks4(x)) / LIMIT
        )
        return logits, self._seen(coarse, logits, told)

    def read(
        self, keys: Tensor, memory_keys: Tensor, labels: Tensor, kinds: Tensor
    ) -> Tensor:  # -> (B, 2 * 33, h, w)
        """What each cell reads from prompted frames, and from recent ones."""
        asked = self.key(keys.flatten(2).transpose(1, 2))
        known = self.key(memory_keys)
        scores = self.sharpness.exp() * (asked @ known.transpose(1, 2))  # (B, G, M)
        scores = scores.masked_fill((kinds < -0.5)[:, None], -1e4)
        scores = scores - scores.amax(dim=2, keepdim=True)
        learned = torch.relu(self.value(10 * memory_keys) + self.value_labels(labels))
        whole = torch.cat([labels, learned, torch.ones_like(labels[..., :1])], dim=2)
        anchored = kinds.clamp(min=0)[..., None]
        both = scores.exp() @ torch.cat([whole * anchored, whole * (1 - anchored)], dim=2)
        parts = []
        mass = both[..., -1:] + both[..., LABELS + VALUES : LABELS + VALUES + 1]
        for part in both.chunk(2, dim=2):
            weight = part[..., -1:]
            parts += [part[..., :-1] / (weight + 1e-3), weight / mass]
        read = torch.cat(parts, dim=2).transpose(1, 2)
        return read.unflatten(2, (keys.shape[2], keys.shape[3]))

    def _seen(self, coarse: Tensor, logits: Tensor, told: Tensor) -> Tensor:  # -> (B, 1)
        """Whether the object is there: by the cells where it was drawn, and all of them."""
        drawn = F.avg_pool2d(logits.detach().sigmoid(), PARTS)
        inside = (coarse * drawn).sum((2, 3)) / (drawn.sum((2, 3)) + 0.5)
        area = torch.log(drawn.sum((2, 3)) + 0.1)
        best = (told[:, 3:4]).amax((2, 3))
        return cast(Tensor, self.seen(torch.cat([inside, coarse.mean((2, 3)), area, best], dim=1)))


def _blocks(width: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(depth)))


def _doubled(x: Tensor) -> Tensor:  # (B, C, h, w) -> (B, C, 2h, 2w)
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _told(hints: Tensor) -> Tensor:
    """The hints as numbers around 0."""
    return torch.cat([hints[:, :2] / 4, 2 * hints[:, 2:] - 1], dim=1)
