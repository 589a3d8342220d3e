"""Memory attention: a frame's features and an object's memories in, conditioned features out.

Source: Ravi et al. 2024 (SAM 2, arXiv:2408.00714, section 4, "Memory attention", and appendix D.1);
Zhou et al. 2025 (EdgeTAM, arXiv:2501.07256) for memories of a few tokens; sam2 and EdgeTAM
(Apache-2.0), `modeling/memory_attention.py` and `modeling/sam/transformer.py`, for names and
numbers. Deviations: positions turn real numbers (`positions.py`), so that the graph exports; what
no object changes (the first layer's look at the frame itself, and its queries) is done once for
all; values stay as narrow as the memories until after the product (`fast/attention.py`).

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

INPUT_POSITIONS = 0.1  # the share of the fixed positions that is added to the frame


@dataclass(frozen=True, kw_only=True)
class MemoryAttentionConfig:
    """The numbers in which memory attentions differ; every attention has one head."""

    dim: int = 256
    memory_dim: int = 64
    depth: int = 4
    mlp_dim: int = 2048


@dataclass(frozen=True, eq=False)
class RecalledMemories:
    """What a frame reads.

    Attributes:
        tokens: (N, K, Cm).
        at: (1, K, Cm) their fixed positions, in the frame and in time.
        turns: (K, C / 2) how their keys are turned.
        extra: (K,) the logarithm of how many places each stands for; None: of one.
    """

    tokens: Tensor
    at: Tensor
    turns: RotaryAngles
    extra: Tensor | None = None


def pool_map(tokens: Tensor, hw: tuple[int, int], side: int) -> Tensor:
    """Means of squares of places: (N, h * w, Cm) -> (N, h * w / side^2, Cm)."""
    if side == 1:
        return tokens
    planes = tokens.transpose(1, 2).unflatten(2, hw)
    return F.avg_pool2d(planes, side).flatten(2).transpose(1, 2)


def log_counts(tokens: Tensor, pooled: int, side: int) -> Tensor | None:
    """Logarithms of how many places each of K tokens stands for, (K,), the pooled ones first; None
    where nothing is pooled. tokens: (N, K, Cm)"""
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
    """Fixed positions (1, K, Cm) and turns of a memory's tokens, read in squares of `pool` places;
    the first ones, which read everywhere, have no place."""
    h, w = hw
    places = pool_map(sine_grid(h, w, config.memory_dim, device), hw, pool)
    turns = grid_turns(h // pool, w // pool, config.dim, device, pool)
    if everywhere:
        places = F.pad(places, (0, 0, everywhere, 0))
        turns = joined([no_turns(everywhere, config.dim, device), turns])
    return places, turns


class Projections(nn.Module):
    """The four linear layers of an attention with one head."""

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
        # A mean of projected values is the projected mean: the weights add up to one.
        read = activated(attend(q, k, memory.tokens, memory.extra), self.v_proj)
        return activated(read, self.out_proj)

    def plain(self, x: Tensor, turns: RotaryAngles, memory: RecalledMemories) -> Tensor:
        """The same as the reference computes it: every value projected before the product."""
        q = turned(x, self.q_proj, turns)
        k = turned(memory.tokens + memory.at, self.k_proj, memory.turns)
        v = self.v_proj(memory.tokens)
        mixed = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        y: Tensor = self.out_proj(mixed)
        return y


class MemoryAttentionLayer(nn.Module):
    """Self-attention, attention to the memories, an MLP; each after a norm, with a residual."""

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
        hidden = activated(self.norm3(x), self.linear1, "relu")
        return x + activated(hidden, self.linear2)


class MemoryAttention(nn.Module):
    """The features of a frame, as each object's memories change them."""

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
            frame: (1, L, C).
            at: (1, L, C) its fixed positions.
            turns: (L, C / 2) how its queries are turned.
            memory: Of N objects.
            plain: As the reference computes it, slower: nothing is shared or kept narrow.

        Returns:
            (N, L, C).
        """
        x = frame + INPUT_POSITIONS * at
        if plain:
            x = x.expand(memory.tokens.shape[0], -1, -1)
        for layer in self.layers:
            x = layer(x, turns, memory, plain)
        y: Tensor = self.norm(x)
        return y
