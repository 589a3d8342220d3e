"""Names: close-ups of masks in, a vector that stands for a name and "is it an object" out.

MobileNetV2 sees the close-up (`models/rules/crops.py`); the mask joins its maps at stride 16, cell
by cell, by weights that begin at nothing. Up to there the backbone stays as ImageNet left it
(`front`), so that training computes it once; what follows learns (`back`). Maps at strides 16 and
32 are averaged on the object and around it. A vector of D numbers is compared with those of names
(`NameVectors`), which are a learned projection of CLIP's embeddings of their words: so a name that
no training picture shows has a place too.

Letters: B close-ups, S their side, D a vector's length, N names, T the length of a text embedding,
P the averaged channels.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.mobilenet import BLOCKS, TAP_CHANNELS, TAPS, MobileNetV2

WIDTH = 96  # D
JUDGE = 48  # hidden numbers of the judge
STRIDE = 16  # of the maps that the mask joins
FRONT = TAPS[2] + 1  # blocks before it does
FEW = 1e-3  # of a map: what an empty mask is averaged over


class Namer(nn.Module):
    """Photo and mask of a close-up -> vectors (B, D) of length 1, logits (B,)."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.backbone = MobileNetV2()
        channels, last = TAP_CHANNELS[2:]
        self.join = nn.Sequential(
            nn.Conv2d(1, 24, STRIDE, STRIDE), nn.ReLU(), nn.Conv2d(24, channels, 1)
        )
        added = cast(nn.Conv2d, self.join[-1])
        nn.init.zeros_(added.weight)
        nn.init.zeros_(cast(Tensor, added.bias))
        pooled = 2 * (channels + last)
        self.vector = nn.Linear(pooled, width)
        self.judge = nn.Sequential(nn.Linear(pooled + 1, JUDGE), nn.ReLU(), nn.Linear(JUDGE, 1))

    def forward(self, photo: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """photo (B, 3, S, S) 0..255, mask (B, 1, S, S) 0..1."""
        return self.back(self.front(photo), mask)

    def front(self, photo: Tensor) -> Tensor:  # (B, 3, S, S) -> (B, 96, S/16, S/16)
        """What is seen without the mask."""
        x = F.relu6(self.backbone.stem(photo / 127.5 - 1))
        for number in range(FRONT):
            x = self._block(number)(x)
        return x

    def back(self, maps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors and logits from the maps of `front` and the mask."""
        x, told = maps + self.join(mask), []
        for number in range(FRONT, len(BLOCKS) + 1):
            if number in (FRONT, len(BLOCKS)):
                inside = F.avg_pool2d(mask, mask.shape[-1] // x.shape[-1])
                told += [_mean(x, inside), _mean(x, 1 - inside)]
            if number < len(BLOCKS):
                x = self._block(number)(x)
        pooled, area = torch.cat(told, dim=1), mask.mean((1, 2, 3))[:, None]
        judged = self.judge(torch.cat([pooled, area], dim=1))[:, 0]
        return F.normalize(self.vector(pooled), dim=1), judged

    def load_backbone(self, arrays: dict[str, Tensor]) -> None:
        """Take folded ImageNet weights (`MobileNetV2.load_folded`)."""
        self.backbone.load_folded(arrays)

    def freeze_front(self) -> None:
        """What sees without the mask learns nothing."""
        for module in (self.backbone.stem, *map(self._block, range(FRONT))):
            module.requires_grad_(False)

    def _block(self, number: int) -> nn.Module:
        return self.backbone.get_submodule(f"b{number}")


class NameVectors(nn.Module):
    """The names' vectors: a projection of text embeddings, or of their own where there are none.

    texts  (N, T), rows of zeros for names without one
    """

    texts: Tensor
    without: Tensor

    def __init__(self, texts: Tensor, width: int = WIDTH) -> None:
        super().__init__()
        without = texts.abs().sum(1) == 0
        self.register_buffer("texts", texts, persistent=False)
        self.register_buffer("without", without.nonzero()[:, 0], persistent=False)
        self.project = nn.Linear(texts.shape[1], width, bias=False)
        nn.init.orthogonal_(self.project.weight)
        self.own = nn.Parameter(torch.randn(int(without.sum()), width) / width**0.5)
        self.scale = nn.Parameter(torch.tensor(2.5))  # logarithm

    def forward(self) -> Tensor:  # -> (N, D) of length 1
        """The vectors."""
        middle = self.texts.sum(0) / (len(self.texts) - len(self.without))
        vectors = self.project(self.texts - middle)
        return F.normalize(vectors.index_copy(0, self.without, self.own), dim=1)

    def logits(self, vectors: Tensor) -> Tensor:  # (B, D) -> (B, N)
        """How much each name is meant."""
        return self.scale.exp() * vectors @ self().T


def _mean(maps: Tensor, weight: Tensor) -> Tensor:  # (B, C, h, w), (B, 1, h, w) -> (B, C)
    return (maps * weight).sum((2, 3)) / (weight.sum((2, 3)) + FEW)
