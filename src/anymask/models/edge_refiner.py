"""Edges at the photo's resolution: a window of a photo and its coarse logits in, their change out.

A small U-Net of depthwise-separable convolutions looks at the window around an answer
(`models/rules/edges.py`) and says what to add to the logits. It only speaks near the coarse
edge: its answer is multiplied by a gate, 1 within `REACH` cells of the edge and 0 from there on.
Beside the photo it is told how likely each color is on the object and off it, as the coarse mask
has them: two histograms, counted in the graph (the idea of GrabCut, Rother et al. 2004, without its
graph cut and its rounds).

Letters: B windows, n low-resolution cells of a window, S its pixels, C channels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.rules.edges import SIDE

REACH = 2  # cells from the coarse edge that may change
NEAR = 5  # cells from the edge whose colors are counted as near
MOST = 8.0  # logits of a change
LEVELS = 16  # of each channel in a histogram
SURE = 1.1  # logits: from here on a pixel counts fully
RARE = 1e-4  # chance of a color that was never seen
CLUES, GATE = 9, 4  # maps that the network sees: photo 3, logits, gate, likelihood 2, prompt 2
WIDTHS = (32, 64, 96, 160)  # C at S/2, S/4, S/8, S/16
FINE = 8  # C at S


class Separable(nn.Module):
    """A depthwise and a pointwise convolution, added to what came in where the shapes agree."""

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.depth = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels)
        self.point = nn.Conv2d(channels, out, 1)
        self.adds = channels == out and stride == 1

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w)
        made = F.relu(self.point(self.depth(x)))
        return x + made if self.adds else made


class EdgeRefiner(nn.Module):
    """Coarse logits, photo and prompt of a window -> what to add to the logits, (B, 1, S, S)."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(CLUES, widths[0], 3, 2, 1), nn.ReLU(), Separable(widths[0], widths[0])
        )
        self.down = nn.ModuleList(
            nn.Sequential(
                Separable(fine, coarse, 2), Separable(coarse, coarse), Separable(coarse, coarse)
            )
            for fine, coarse in pairwise(widths)
        )
        self.lift = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(Separable(width, width) for width in widths[:-1])
        self.fine = nn.Conv2d(widths[0], 4 * FINE, 1)
        self.head = nn.Sequential(Separable(FINE + CLUES, 16), nn.Conv2d(16, 1, 3, padding=1))
        last = cast(nn.Conv2d, self.head[-1])
        nn.init.zeros_(last.weight)  # an untrained network changes nothing
        nn.init.zeros_(cast(Tensor, last.bias))

    def forward(self, photo: Tensor, logits: Tensor, prompt: Tensor) -> Tensor:
        """photo (B, 3, S, S) 0..255, logits (B, 1, n, n), prompt (B, 2, S, S) -> (B, 1, S, S)."""
        return self.change(clues(photo, logits, prompt))

    def change(self, seen: Tensor) -> Tensor:  # (B, CLUES, S, S) -> (B, 1, S, S)
        """The same from the maps that `clues` makes; S may be any multiple of 16."""
        x = self.stem(seen)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for level in reversed(range(len(skips))):
            x = F.interpolate(self.lift[level](x), scale_factor=2.0, mode="bilinear")
            x = self.up[level](x + skips[level])
        fine = F.relu(F.pixel_shuffle(self.fine(x), 2))
        said = self.head(torch.cat([fine, seen], dim=1))
        return seen[:, GATE : GATE + 1] * MOST * torch.tanh(said / MOST)


def clues(photo: Tensor, logits: Tensor, prompt: Tensor) -> Tensor:  # -> (B, CLUES, S, S)
    """What the network sees: photo, logits, gate, likelihood of colors, prompt."""
    wide, gate = enlarged(logits), edge_gate(logits, REACH)
    likelier = colour_likelihood(photo, wide, edge_gate(logits, NEAR))
    return torch.cat([photo / 127.5 - 1, wide.clamp(-8, 8) / 4, gate, likelier, prompt], dim=1)


def enlarged(cells: Tensor) -> Tensor:  # (B, 1, n, n) -> (B, 1, S, S)
    """Cells as pixels of the window."""
    return F.interpolate(cells, (SIDE, SIDE), mode="bilinear", align_corners=False)


def edge_gate(logits: Tensor, reach: int) -> Tensor:  # (B, 1, n, n) -> (B, 1, S, S)
    """1 within `reach` cells of the edge, falling to 0 over a cell beyond."""
    inside = (logits > 0).to(logits.dtype)
    size = 2 * reach + 1
    grown, shrunk = (F.max_pool2d(one, size, 1, reach) for one in (inside, 1 - inside))
    return enlarged(grown * shrunk)


@torch.no_grad()
def colour_likelihood(photo: Tensor, wide: Tensor, near: Tensor) -> Tensor:  # -> (B, 2, S, S)
    """How much likelier each pixel's color is on the object than off it: near, and anywhere."""
    levels = (photo / (256 // LEVELS)).floor().clamp(0, LEVELS - 1)
    weights = torch.tensor([LEVELS**2, LEVELS, 1.0], device=photo.device).view(1, 3, 1, 1)
    colour = (levels * weights).sum(1).flatten(1).long()  # (B, S * S)
    sure = (wide / SURE).clamp(-1, 1)
    told = []
    for place in (near, torch.ones_like(near)):
        on, off = (
            _chances(colour, (part * place).flatten(1)) for part in (sure.relu(), (-sure).relu())
        )
        ratio = (on / off).log().clamp(-4, 4) / 2
        told.append(ratio.gather(1, colour).view(wide.shape))
    return torch.cat(told, dim=1)


def _chances(colour: Tensor, weights: Tensor) -> Tensor:  # (B, S * S) twice -> (B, LEVELS^3)
    """How often each color occurs, and those beside it; never quite 0."""
    count = weights.new_zeros(len(weights), LEVELS**3).scatter_add(1, colour, weights)
    cube = count.view(-1, 1, LEVELS, LEVELS, LEVELS)
    line = torch.tensor([0.5, 1.0, 0.5], device=weights.device)
    spread = line[:, None, None] * line[:, None] * line
    cube = F.conv3d(cube, spread[None, None].to(cube.dtype), padding=1)
    flat = cube.flatten(1)
    return flat / (flat.sum(1, keepdim=True) + 1) + RARE
