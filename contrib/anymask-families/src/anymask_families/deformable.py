"""Multi-scale deformable attention: each query reads a few places of several feature maps.

Zhu et al. 2021, "Deformable DETR" (fundamentalvision/Deformable-DETR, Apache-2.0). The reference
has a CUDA kernel; here the places are read by `grid_sample`.

Letters: B images, Q queries, K = sum of h * w over the maps, C channels, V maps, P places a query
reads of each map, D channels of a head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Sizes = Sequence[tuple[int, int]]  # (h, w) of each map


class DeformableAttention(nn.Module):
    """Deformable attention with the parameter names of the reference."""

    def __init__(self, dim: int = 256, maps: int = 4, heads: int = 8, places: int = 4) -> None:
        super().__init__()
        self.maps, self.heads, self.places = maps, heads, places
        self.sampling_offsets = nn.Linear(dim, heads * maps * places * 2)
        self.attention_weights = nn.Linear(dim, heads * maps * places)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)

    def forward(self, queries: Tensor, around: Tensor, memory: Tensor, sizes: Sizes) -> Tensor:
        """Read the maps around the reference of each query.

        Args:
            queries: Queries (B, Q, C), with their positions.
            around: References (B, Q, 2) as x, y, or (B, Q, 4) as centre and size, 0..1. Offsets are
                cells of a map for a point, and relative to half the size for a box.
            memory: All maps (B, K, C), flattened one after the other.
            sizes: Sizes (h, w) of the V maps.

        Returns:
            Values (B, Q, C).
        """
        B, Q, C = queries.shape
        values = self.value_proj(memory).view(B, -1, self.heads, C // self.heads)
        apart = self.sampling_offsets(queries).view(B, Q, self.heads, self.maps, self.places, 2)
        weights = self.attention_weights(queries).view(B, Q, self.heads, -1).softmax(-1)
        center = around[:, :, None, None, None, :2]
        if around.shape[-1] == 2:
            cells = torch.tensor([(w, h) for h, w in sizes], device=apart.device)
            at = center + apart / cells[None, None, None, :, None]
        else:
            at = center + apart / self.places * around[:, :, None, None, None, 2:] * 0.5
        read, start = [], 0
        for number, (h, w) in enumerate(sizes):
            one = values[:, start : start + h * w].permute(0, 2, 3, 1)  # (B, heads, D, h w)
            grid = (2 * at[:, :, :, number] - 1).transpose(1, 2).flatten(0, 1)
            planes = one.reshape(B * self.heads, -1, h, w)
            read.append(F.grid_sample(planes, grid.to(planes.dtype), align_corners=False))
            start += h * w
        sampled = torch.cat(read, dim=-1)  # (B heads, D, Q, V P)
        shares = weights.transpose(1, 2).reshape(B * self.heads, 1, Q, -1)
        mixed = (sampled * shares).sum(-1).view(B, C, Q)
        answer: Tensor = self.output_proj(mixed.transpose(1, 2))
        return answer
