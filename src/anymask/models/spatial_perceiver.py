"""EdgeTAM's spatial perceiver: compresses a memory map to a few hundred tokens.

Half of the tokens attend to the whole map; the others attend to one window each and keep its
position.

Source: Zhou et al. 2025 (EdgeTAM, arXiv:2501.07256, section 3.2, "Global Perceiver" and "2D Spatial
Perceiver"); EdgeTAM (Apache-2.0), `sam2/modeling/perceiver.py`, for names and numbers. Difference:
several objects at once, which the reference code does not support.

Letters: N objects, Cm channels of a memory, h w its map, K tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.vit import map_to_windows


@dataclass(frozen=True, kw_only=True)
class PerceiverConfig:
    """Sizes of a spatial perceiver with a single head."""

    dim: int = 64  # Channels of a token
    depth: int = 2  # Number of layers
    everywhere: int = 256  # Number of tokens that attend to the whole map
    side: int = 16  # Number of single-window tokens along a side of the map


def widening(dim: int) -> nn.Sequential:
    """MLP of four times the width with a norm: (N, K, C) -> the same."""
    return nn.Sequential(
        nn.LayerNorm(dim),
        nn.Linear(dim, 4 * dim, bias=False),
        nn.GELU(),
        nn.Linear(4 * dim, dim, bias=False),
    )


class LatentCrossAttention(nn.Module):
    """Attention from tokens to places of the map."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm_latents = nn.LayerNorm(dim)
        self.norm_x = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)

    def forward(self, tokens: Tensor, places: Tensor, at: Tensor | None) -> Tensor:
        """(N, K, C), (N, L, C) and their positions (1, L, C), or None -> (N, K, C)."""
        q = self.to_q(self.norm_latents(tokens))
        k, v = self.to_kv(self.norm_x(places)).chunk(2, dim=-1)
        if at is not None:
            k, v = k + at, v + at
        return self.to_out(_attend(q, k, v))


class LatentSelfAttention(nn.Module):
    """Self-attention among the tokens."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:  # (N, K, C) -> the same
        x = self.norm(tokens)
        k, v = self.to_kv(x).chunk(2, dim=-1)
        is_single = tokens.shape[1] == 1  # a single token attends only to itself
        return self.to_out(v if is_single else _attend(self.to_q(x), k, v))


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Single-head attention: (N, K, C), (N, L, C), (N, L, C) -> (N, K, C)."""
    return F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]


class PerceiverLayer(nn.Module):
    """Attention to the map, an MLP, self-attention, an MLP."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attn = LatentCrossAttention(dim)
        self.ff = widening(dim)
        self.self_attn = LatentSelfAttention(dim)
        self.self_ff = widening(dim)

    def forward(self, tokens: Tensor, places: Tensor, at: Tensor | None) -> Tensor:
        tokens = tokens + self.attn(tokens, places, at)
        tokens = tokens + self.ff(tokens)
        tokens = tokens + self.self_attn(tokens)
        return tokens + self.self_ff(tokens)


class SpatialPerceiver(nn.Module):
    """A map (N, Cm, h, w) to K tokens (N, K, Cm): the global ones first, then row by row."""

    def __init__(self, config: PerceiverConfig) -> None:
        super().__init__()
        self.config = config
        self.latents = nn.Parameter(torch.randn(config.everywhere, config.dim))
        self.latents_2d = nn.Parameter(torch.randn(config.side**2, config.dim))
        self.layers = nn.ModuleList(PerceiverLayer(config.dim) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, memory: Tensor, at: Tensor) -> Tensor:
        """(N, Cm, h, w) and the positions (1, h * w, Cm) -> (N, K, Cm)."""
        N, dim = memory.shape[:2]
        places = memory.flatten(2).transpose(1, 2)
        everywhere = self.latents.expand(N, -1, -1)
        for layer in self.layers:
            everywhere = layer(everywhere, places, at)
        window = memory.shape[-1] // self.config.side
        windows = map_to_windows(memory.permute(0, 2, 3, 1), window).flatten(1, 2)
        local = self.latents_2d.repeat(N, 1)[:, None]  # (N * side^2, 1, Cm)
        for layer in self.layers:
            local = layer(local, windows, None)
        return self.norm(torch.cat([everywhere, local.reshape(N, -1, dim)], dim=1))
