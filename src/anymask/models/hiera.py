"""Hiera, SAM 2's trunk: four maps at strides 4 to 32.

Source: Ryali et al. 2023 (Hiera, arXiv:2306.00989), with the positions of Bolya et al. 2023
(arXiv:2311.05613, "absolute win"), as in SAM 2 (arXiv:2408.00714, section 4, "Image encoder");
sam2 (Apache-2.0), `modeling/backbones/hieradet.py`, for names and numbers.

Letters: B images, S input side, C channels, h w a map, L = tokens of a window, D head width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.fast import activated, attend, projected_parts
from anymask.models.layers import DropPath, Mlp
from anymask.models.vit import PatchEmbed, in_windows

EPSILON = 1e-6
POOL = 2  # factor by which the side of a map shrinks at the start of a stage


@dataclass(frozen=True, kw_only=True)
class HieraConfig:
    """Sizes of a Hiera trunk; widths and heads double from stage to stage."""

    width: int = 96  # Channels of the first stage, at stride 4
    heads: int = 1  # Attention heads of the first stage
    depths: tuple[int, int, int, int] = (1, 2, 7, 2)  # Blocks of the four stages
    # Blocks with global attention, counted over all stages
    global_blocks: tuple[int, ...] = (5, 7, 9)
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)  # Side of a window in each stage
    grid: int = 7  # Side of the coarse position table

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four maps, at strides 4, 8, 16 and 32."""
        return tuple(self.width << stage for stage in range(len(self.depths)))


HIERA_T = HieraConfig()
HIERA_S = HieraConfig(depths=(1, 2, 11, 2), global_blocks=(7, 10, 13))
HIERA_B_PLUS = HieraConfig(
    width=112, heads=2, depths=(2, 3, 16, 3), global_blocks=(12, 16, 20), grid=14
)
HIERA_L = HieraConfig(
    width=144, heads=2, depths=(2, 6, 36, 4), global_blocks=(23, 33, 43), windows=(8, 4, 16, 8)
)
TINY = HieraConfig(width=8, depths=(1, 2, 2, 1), global_blocks=(4,), windows=(4, 6, 2, 2), grid=3)


BLOCKED_ATTENTION_PLACES = 1024  # places from which attention is computed in blocks, in 16 bits


def pool_halves(x: Tensor) -> Tensor:
    """2 x 2 max pooling: (B, h, w, C) -> (B, h / 2, w / 2, C)."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), POOL).permute(0, 2, 3, 1)


class PooledAttention(nn.Module):
    """Multi-head attention over a map; at the start of a stage the queries are pooled."""

    def __init__(self, inputs: int, outputs: int, heads: int, pooled: bool) -> None:
        super().__init__()
        self.heads = heads
        self.pooled = pooled
        self.qkv = nn.Linear(inputs, 3 * outputs)
        self.proj = nn.Linear(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:  # (B, h, w, C) -> the same, or (B, h / 2, w / 2, 2 C)
        q, k, v = projected_parts(x, self.qkv)
        if self.pooled:
            q = pool_halves(q)
        h, w = q.shape[1:3]
        q, k, v = (
            part.flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (q, k, v)
        )
        if h * w < BLOCKED_ATTENTION_PLACES or q.dtype == torch.float32:
            mixed = F.scaled_dot_product_attention(q, k, v)  # (B, heads, h w, D)
        else:
            flat = (part.flatten(0, 1) for part in (q, k, v))
            mixed = attend(*flat).unflatten(0, (-1, self.heads))
        return activated(mixed.transpose(1, 2).flatten(2).unflatten(1, (h, w)), self.proj)


class HieraBlock(nn.Module):
    """Pre-norm attention and MLP with residuals.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        heads: Attention heads.
        window: Side of its windows on the input map, or 0 for global attention.
        pooled: Whether it starts a stage: half the side, twice the channels.
    """

    def __init__(self, inputs: int, outputs: int, heads: int, window: int, pooled: bool) -> None:
        super().__init__()
        self.window = window
        self.pooled = pooled
        self.norm1 = nn.LayerNorm(inputs, eps=EPSILON)
        self.attn = PooledAttention(inputs, outputs, heads, pooled)
        self.norm2 = nn.LayerNorm(outputs, eps=EPSILON)
        self.mlp = Mlp((outputs, 4 * outputs, outputs), ("layers.0", "layers.1"), "gelu")
        self.drop_path = DropPath()
        if inputs != outputs:
            self.proj = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:  # (B, h, w, C) -> the same, or (B, h / 2, w / 2, 2 C)
        y = self.norm1(x)
        if self.pooled:
            x = pool_halves(activated(y, self.proj))
        x = x + self.drop_path(in_windows(self.attn, y, self.window, x.shape[1:3]))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Hiera(nn.Module):
    """The trunk: an image to four maps."""

    def __init__(self, config: HieraConfig) -> None:
        super().__init__()
        self.config = config
        width, window = config.width, config.windows[0]
        self.patch_embed = PatchEmbed(width, 7, 4, 3)
        self.pos_embed = nn.Parameter(torch.zeros(1, width, config.grid, config.grid))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, width, window, window))
        self.blocks = nn.ModuleList(_blocks(config))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, S, S) -> four maps (B, C, h, w), at strides 4, 8, 16 and 32."""
        x = self.patch_embed(images)
        x = x + self.positions(x.shape[1], x.shape[2])
        maps = []
        block = iter(self.blocks)
        for depth in self.config.depths:
            for _ in range(depth):
                x = next(block)(x)
            maps.append(x.permute(0, 3, 1, 2))
        return tuple(maps)

    def positions(self, h: int, w: int) -> Tensor:
        """The coarse table resized to the map plus the tiled window table: (1, h, w, C)."""
        # In float32 also for a half-precision model: the error would affect every block.
        coarse = F.interpolate(self.pos_embed.float(), size=(h, w), mode="bicubic")
        side = self.pos_embed_window.shape[-1]
        tiled = self.pos_embed_window.repeat(1, 1, -(-h // side), -(-w // side))[..., :h, :w]
        return (coarse.to(tiled.dtype) + tiled).permute(0, 2, 3, 1)


def _blocks(config: HieraConfig) -> list[HieraBlock]:
    blocks: list[HieraBlock] = []
    inputs, window = config.width, config.windows[0]
    for stage, depth in enumerate(config.depths):
        for index in range(depth):
            side = 0 if len(blocks) in config.global_blocks else window
            pooled = stage > 0 and index == 0
            heads = config.heads << stage
            blocks.append(HieraBlock(inputs, config.widths[stage], heads, side, pooled))
            # The first block of a stage still has the windows of the previous stage.
            inputs, window = config.widths[stage], config.windows[stage]
    return blocks
