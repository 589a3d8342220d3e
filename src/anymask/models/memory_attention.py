"""Memory attention: conditions a frame's features on an object's memories.

Source: Ravi et al. 2024 (SAM 2, arXiv:2408.00714, section 4, "Memory attention", and appendix D.1);
Zhou et al. 2025 (EdgeTAM, arXiv:2501.07256) for memories of a few tokens; sam2 and EdgeTAM
(Apache-2.0), `modeling/memory_attention.py` and `modeling/sam/transformer.py`, for names and
numbers. Differences: rotary positions use real numbers (`positions.py`), so that the graph exports;
what is independent of the objects (the first self-attention of the frame, and its queries) is
computed once; values stay as narrow as the memories until after the product (`fast/attention.py`).

Letters: N objects, L places of the frame, K tokens of memories, C channels, Cm of a memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.fast import activated, attend
from anymask.models.positions import RotaryAngles, grid_turns, joined, no_turns, sine_grid, turned

INPUT_POSITIONS = 0.1  # factor of the fixed positions that are added to the frame


@dataclass(frozen=True, kw_only=True)
class MemoryAttentionConfig:
    """Sizes of a memory attention; every attention has one head."""

    dim: int = 256
    memory_dim: int = 64
    depth: int = 4
    mlp_dim: int = 2048


@dataclass(frozen=True, eq=False)
class RecalledMemories:
    """Memories that a frame attends to."""

    tokens: Tensor  # Tokens (N, K, Cm)
    at: Tensor  # Positions (1, K, Cm) in space and time
    turns: RotaryAngles  # Rotary angles of the keys (K, C / 2)
    # Logarithm (K,) of the number of places that each token represents, or None if one
    extra: Tensor | None = None


def pool_map(tokens: Tensor, hw: tuple[int, int], side: int) -> Tensor:
    """Average pooling over squares: (N, h * w, Cm) -> (N, h * w / side^2, Cm)."""
    if side == 1:
        return tokens
    return F.avg_pool2d(tokens.transpose(1, 2).unflatten(2, hw), side).flatten(2).transpose(1, 2)


def log_counts(tokens: Tensor, pooled: int, side: int) -> Tensor | None:
    """Logarithm (K,) of the number of places per token (N, K, Cm), the pooled tokens first; None
    without pooling."""
    if side == 1:
        return None
    counts = tokens.new_zeros(tokens.shape[1], dtype=torch.float32)
    counts[:pooled] = 2 * math.log(side)
    return counts


def memory_places(
    config: MemoryAttentionConfig,
    hw: tuple[int, int],
    everywhere: int,
    pool: int,
    device: torch.device,
) -> tuple[Tensor, RotaryAngles]:
    """Positions (1, K, Cm) and rotary angles of a memory's tokens, pooled in squares of `pool`
    places; the first tokens, which represent the whole map, have no position."""
    h, w = hw
    places = pool_map(sine_grid(h, w, config.memory_dim, device), hw, pool)
    turns = grid_turns(h // pool, w // pool, config.dim, device, pool)
    if everywhere:
        places = F.pad(places, (0, 0, everywhere, 0))
        turns = joined([no_turns(everywhere, config.dim, device), turns])
    return places, turns


class Projections(nn.Module):
    """The four linear layers of a single-head attention."""

    def __init__(self, dim: int, memory_dim: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(memory_dim, dim)
        self.v_proj = nn.Linear(memory_dim, dim)
        self.out_proj = nn.Linear(dim, dim)


class FrameAttention(Projections):
    """Self-attention among the places of a frame."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim)

    def forward(self, x: Tensor, turns: RotaryAngles) -> Tensor:  # (N, L, C) -> the same
        q, k = turned(x, self.q_proj, turns), turned(x, self.k_proj, turns)
        return activated(attend(q, k, activated(x, self.v_proj)), self.out_proj)


class MemoryReading(Projections):
    """Attention from the places of a frame to the memories."""

    def forward(self, x: Tensor, turns: RotaryAngles, memory: RecalledMemories) -> Tensor:
        """(1 or N, L, C) -> (N, L, C)."""
        q = turned(x, self.q_proj, turns)
        k = turned(memory.tokens + memory.at, self.k_proj, memory.turns)
        # A mean of projected values is the projected mean, because the weights add up to one.
        read = activated(attend(q, k, memory.tokens, memory.extra), self.v_proj)
        return activated(read, self.out_proj)

    def plain(self, x: Tensor, turns: RotaryAngles, memory: RecalledMemories) -> Tensor:
        """Reference implementation: every value is projected before the product."""
        q = turned(x, self.q_proj, turns)
        k = turned(memory.tokens + memory.at, self.k_proj, memory.turns)
        v = self.v_proj(memory.tokens)
        mixed = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return self.out_proj(mixed)


class MemoryAttentionLayer(nn.Module):
    """Pre-norm self-attention, attention to the memories, and an MLP, with residuals."""

    def __init__(self, config: MemoryAttentionConfig) -> None:
        super().__init__()
        dim = config.dim
        self.self_attn = FrameAttention(dim)
        self.cross_attn_image = MemoryReading(dim, config.memory_dim)
        self.linear1 = nn.Linear(dim, config.mlp_dim)
        self.linear2 = nn.Linear(config.mlp_dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)

    def forward(
        self, x: Tensor, turns: RotaryAngles, memory: RecalledMemories, plain: bool
    ) -> Tensor:
        """(1 or N, L, C) -> (N, L, C)."""
        x = x + self.self_attn(self.norm1(x), turns)
        read = self.cross_attn_image.plain if plain else self.cross_attn_image
        x = x + read(self.norm2(x), turns, memory)
        return x + activated(activated(self.norm3(x), self.linear1, "relu"), self.linear2)


class MemoryAttention(nn.Module):
    """Conditions the features of a frame on each object's memories."""

    def __init__(self, config: MemoryAttentionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MemoryAttentionLayer(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim)

    def forward(
        self,
        frame: Tensor,
        at: Tensor,
        turns: RotaryAngles,
        memory: RecalledMemories,
        plain: bool = False,
    ) -> Tensor:
        """Condition a frame on the memories of N objects.

        Args:
            frame: Frame tokens (1, L, C).
            at: Their positions (1, L, C).
            turns: Rotary angles of the queries (L, C / 2).
            memory: Memories of N objects.
            plain: Whether to use the slower reference implementation.

        Returns:
            Conditioned tokens (N, L, C).
        """
        x = frame + INPUT_POSITIONS * at
        if plain:
            x = x.expand(memory.tokens.shape[0], -1, -1)
        for layer in self.layers:
            x = layer(x, turns, memory, plain)
        return self.norm(x)
