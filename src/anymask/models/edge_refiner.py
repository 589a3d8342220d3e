"""Edge refinement network: corrects coarse logits in a window at image resolution.

A small U-Net of depthwise-separable convolutions predicts a correction of the logits in the window
around a mask (`segment/prediction.py`). The correction is multiplied by a gate: 1 within
`GATE_RADIUS` cells of the coarse edge, 0 beyond. Besides the image, the network receives the
likelihood of each color inside and outside the coarse mask: two histograms, computed in the graph
(the idea of GrabCut, Rother et al. 2004, without its graph cut and its iterations).

Letters: B windows, n low-resolution cells of a window, S its pixels, C channels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.masks import EDGE_SIDE

GATE_RADIUS = 2  # maximum distance of a correction from the coarse edge, in cells
HISTOGRAM_RADIUS = 5  # distance from the edge of the local color histogram, in cells
MAX_CORRECTION = 8.0  # maximum correction in logits
BINS = 16  # bins per channel of a histogram
FULL_WEIGHT_LOGIT = 1.1  # logits from which a pixel has full weight
MIN_COLOR_PROBABILITY = 1e-4  # probability of a color that does not occur
CLUES, GATE = 9, 4  # input maps: image 3, logits, gate, likelihood 2, prompt 2
REFINER_WIDTHS = (32, 64, 96, 160)  # C at S/2, S/4, S/8, S/16
FINE = 8  # C at S


class Separable(nn.Module):
    """A depthwise and a pointwise convolution, with a residual if the shapes agree."""

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.depth = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels)
        self.point = nn.Conv2d(channels, out, 1)
        self.adds = channels == out and stride == 1

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w)
        made = F.relu(self.point(self.depth(x)))
        return x + made if self.adds else made


class EdgeRefiner(nn.Module):
    """Image, coarse logits and prompt of a window -> correction of the logits, (B, 1, S, S)."""

    def __init__(self, widths: tuple[int, ...] = REFINER_WIDTHS) -> None:
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
        nn.init.zeros_(last.weight)  # so that an untrained network changes nothing
        nn.init.zeros_(cast(Tensor, last.bias))

    def forward(self, image: Tensor, logits: Tensor, prompt: Tensor) -> Tensor:
        """Image (B, 3, S, S) 0..255, logits (B, 1, n, n), prompt (B, 2, S, S) -> (B, 1, S, S)."""
        return self.change(clues(image, logits, prompt))

    def change(self, seen: Tensor) -> Tensor:  # (B, CLUES, S, S) -> (B, 1, S, S)
        """Correction from the maps of `clues`; S may be any multiple of 16."""
        x = self.stem(seen)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for level in reversed(range(len(skips))):
            x = F.interpolate(self.lift[level](x), scale_factor=2.0, mode="bilinear")
            x = self.up[level](x + skips[level])
        fine = F.relu(F.pixel_shuffle(self.fine(x), 2))
        correction = self.head(torch.cat([fine, seen], dim=1))
        return seen[:, GATE : GATE + 1] * MAX_CORRECTION * torch.tanh(correction / MAX_CORRECTION)


def clues(image: Tensor, logits: Tensor, prompt: Tensor) -> Tensor:  # -> (B, CLUES, S, S)
    """Network input: image, logits, gate, color likelihoods, prompt."""
    wide, gate = enlarged(logits), edge_gate(logits, GATE_RADIUS)
    likelier = color_likelihood(image, wide, edge_gate(logits, HISTOGRAM_RADIUS))
    return torch.cat([image / 127.5 - 1, wide.clamp(-8, 8) / 4, gate, likelier, prompt], dim=1)


def enlarged(cells: Tensor) -> Tensor:  # (B, 1, n, n) -> (B, 1, S, S)
    """Upscale cells to pixels of the window."""
    return F.interpolate(cells, (EDGE_SIDE, EDGE_SIDE), mode="bilinear", align_corners=False)


def edge_gate(logits: Tensor, reach: int) -> Tensor:  # (B, 1, n, n) -> (B, 1, S, S)
    """1 within `reach` cells of the edge, falling to 0 over one more cell."""
    inside = (logits > 0).to(logits.dtype)
    size = 2 * reach + 1
    grown, shrunk = (F.max_pool2d(area, size, 1, reach) for area in (inside, 1 - inside))
    return enlarged(grown * shrunk)


@torch.no_grad()
def color_likelihood(image: Tensor, wide: Tensor, near: Tensor) -> Tensor:  # -> (B, 2, S, S)
    """Log-likelihood ratio of each pixel's color inside and outside: local, and global."""
    levels = (image / (256 // BINS)).floor().clamp(0, BINS - 1)
    weights = torch.tensor([BINS**2, BINS, 1.0], device=image.device).view(1, 3, 1, 1)
    color = (levels * weights).sum(1).flatten(1).long()  # (B, S * S)
    sure = (wide / FULL_WEIGHT_LOGIT).clamp(-1, 1)
    ratios = []
    for area in (near, torch.ones_like(near)):
        on, off = (
            _chances(color, (part * area).flatten(1)) for part in (sure.relu(), (-sure).relu())
        )
        ratio = (on / off).log().clamp(-4, 4) / 2
        ratios.append(ratio.gather(1, color).view(wide.shape))
    return torch.cat(ratios, dim=1)


def _chances(color: Tensor, weights: Tensor) -> Tensor:  # (B, S * S) twice -> (B, BINS^3)
    """Smoothed color histograms, never 0."""
    count = weights.new_zeros(len(weights), BINS**3).scatter_add(1, color, weights)
    cube = count.view(-1, 1, BINS, BINS, BINS)
    line = torch.tensor([0.5, 1.0, 0.5], device=weights.device)
    spread = line[:, None, None] * line[:, None] * line
    cube = F.conv3d(cube, spread[None, None].to(cube.dtype), padding=1)
    flat = cube.flatten(1)
    return flat / (flat.sum(1, keepdim=True) + 1) + MIN_COLOR_PROBABILITY
