"""Blocks of CLIP's text tower, which SEEM shares.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision"
(openai/CLIP, MIT). Parameter names are those of its checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anymask.models.layers import add_submodule


def tower_blocks(width: int, depth: int, head_dim: int) -> nn.ModuleList:
    """Blocks of a tower; each requires the tokens (B, L, C), and the hidden pairs of a text."""
    return nn.ModuleList(_Block(width, head_dim) for _ in range(depth))


class _Block(nn.Module):
    def __init__(self, width: int, head_dim: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, width // head_dim, batch_first=True)
        self.mlp = nn.Module()
        add_submodule(self.mlp, "c_fc", nn.Linear(width, 4 * width))
        add_submodule(self.mlp, "c_proj", nn.Linear(4 * width, width))

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:  # (B, L, C)
        normal = self.ln_1(x)
        x = x + self.attn(normal, normal, normal, attn_mask=hidden, need_weights=False)[0]
        inner = self.mlp.get_submodule("c_fc")(self.ln_2(x))
        inner = inner * torch.sigmoid(1.702 * inner)  # "quick GELU"
        return x + self.mlp.get_submodule("c_proj")(inner)
