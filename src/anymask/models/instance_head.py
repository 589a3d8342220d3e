"""Instance heads: foreground and distances for every cell, from the maps of any image encoder.

After micro-sam's automatic instance segmentation (Archit et al. 2025, "Segment Anything for
Microscopy", Nature Methods 22, "Automatic instance segmentation"): a decoder predicts the
foreground, the distance to the center of the cell's instance and the distance to its boundary, and
a seeded watershed separates touching instances (`segment.everything.instances`). Difference: the
head reads all maps of a light encoder, not only SAM's embedding, and has a tenth of the parameters.
Objects that are wider than a few cells require a wide receptive field, because the distance to the
center depends on the whole outline (`Context`).

Letters: B images, C channels of a map, h w the cells of the coarsest map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.layers import LayerNorm2d, Pointwise

HEAD_WIDTHS = (96, 64, 48)  # channels at each map, the coarsest first
PLANES = 3  # foreground, center distance, boundary distance
FINER = 2  # cells of the output along a side of a cell of the finest map
CONTEXT_KERNEL = 7, 3  # side and dilation in `Context`, in cells of the coarsest map


class Context(nn.Module):
    """Residual block (B, C, h, w) -> (B, C, h, w) with a reach of 9 cells to each side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        side, apart = CONTEXT_KERNEL
        pad = side // 2 * apart
        self.spread = nn.Conv2d(width, width, side, padding=pad, dilation=apart, groups=width)
        self.norm = LayerNorm2d(width)
        self.up, self.down = Pointwise(width, 2 * width), Pointwise(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Add what surrounds each cell."""
        return x + self.down(F.relu(self.up(self.norm(self.spread(x)))))


class InstanceHead(nn.Module):
    """Maps (B, C, ..) of three strides -> (B, 3, H, W), all in 0..1.

    The planes are the probability of the foreground, the distance to the instance's center and
    the distance to its boundary: 0 at the center, 1 at the boundary and in the background.

    Args:
        channels: Channels C of each map, in the encoder's order (the coarsest first).
        context: Number of `Context` blocks at the coarsest map.
    """

    def __init__(self, channels: Sequence[int], context: int = 0) -> None:
        super().__init__()
        coarse, middle, fine = HEAD_WIDTHS
        self.project = nn.ModuleList(
            Pointwise(count, width) for count, width in zip(channels, HEAD_WIDTHS, strict=True)
        )
        self.narrow = nn.ModuleList([Pointwise(coarse, middle), Pointwise(middle, fine)])
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for width in HEAD_WIDTHS)
        self.norm = nn.ModuleList(LayerNorm2d(width) for width in HEAD_WIDTHS)
        self.context = nn.Sequential(*(Context(coarse) for _ in range(context)))
        self.mix = nn.Conv2d(fine, fine, 3, padding=1)
        self.planes = nn.Conv2d(fine, PLANES * FINER**2, 3, padding=1)

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps in the encoder's order, the coarsest first."""
        x = torch.zeros(1).to(maps[0])
        for level, features in enumerate(maps):
            if level:
                x = F.interpolate(self.narrow[level - 1](x), scale_factor=2.0, mode="nearest")
            x = self.norm[level](x + self.project[level](features))
            x = F.relu(self.smooth[level](x))
            if not level:
                x = self.context(x)
        x = x + F.relu(self.mix(x))
        return torch.sigmoid(F.pixel_shuffle(self.planes(x), FINER)).float()
