"""The plain ViT of EfficientSAM, Ti and S: global attention everywhere.

Letters: B images, C channels, L tokens, S the picture's side, h w the token map.

Architecture: ViT (Dosovitskiy et al. 2021, arXiv:2010.11929) without its class token, pre-trained
on 224 pixels by SAMI: EfficientSAM (Xiong et al. 2023, arXiv:2312.00863, section 3), with SAM's
neck. Parameter names are those of `efficient_sam/efficient_sam_encoder.py` (Apache-2.0).

Deviations: any side that is a multiple of the patch works, not only 1024, and not only squares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.vit import neck

EPSILON = 1e-6


@dataclass(frozen=True, kw_only=True)
class EfficientVitConfig:
    """The numbers that make an EfficientSAM encoder.

    width         channels of a token
    heads         attention heads
    depth         blocks
    patch         side of a patch, pixels
    pretrained    side of the pre-training pictures in patches: the grid of `pos_embed`
    expansion     hidden over outer channels of the MLPs
    out_channels  channels of the embedding
    """

    width: int = 192
    heads: int = 3
    depth: int = 12
    patch: int = 16
    pretrained: int = 14
    expansion: int = 4
    out_channels: int = 256


EFFICIENT_SAM_TI = EfficientVitConfig()
EFFICIENT_SAM_S = EfficientVitConfig(width=384, heads=6)
TINY = EfficientVitConfig(width=12, heads=3, depth=2, patch=4, pretrained=3, out_channels=8)


class PatchEmbed(nn.Module):
    """(B, 3, H, W) -> (B, C, h, w): one token per patch."""

    def __init__(self, channels: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, patch, patch)

    def forward(self, images: Tensor) -> Tensor:
        patches: Tensor = self.proj(images)
        return patches


class Attention(nn.Module):
    """Self-attention among all tokens."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, C) -> (B, L, C)."""
        batch, count, channels = tokens.shape
        qkv = self.qkv(tokens).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])  # (B, heads, L, C / heads)
        joined: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, count, channels))
        return joined


class Mlp(nn.Module):
    """Widen, GELU, narrow."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        narrowed: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return narrowed


class Block(nn.Module):
    """Attention and an MLP, each after a norm and added to its input (B, L, C)."""

    def __init__(self, config: EfficientVitConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=EPSILON)
        self.attn = Attention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width, eps=EPSILON)
        self.mlp = Mlp(config.width, config.width * config.expansion)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        mixed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return mixed


class EfficientVit(nn.Module):
    """The image encoder."""

    def __init__(self, config: EfficientVitConfig) -> None:
        super().__init__()
        self.config = config
        positions = config.pretrained**2 + 1  # the first one is for the class token, which is gone
        self.pos_embed = nn.Parameter(torch.zeros(1, positions, config.width))
        self.patch_embed = PatchEmbed(config.width, config.patch)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.neck = neck(config.width, config.out_channels)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode normalised pictures.

        images   (B, 3, H, W), H and W multiples of the patch
        returns  the embedding alone: ((B, out_channels, H / patch, W / patch),)
        """
        x = self.patch_embed(images)
        height, width = x.shape[-2:]
        x = x + grid_positions(self.pos_embed, (height, width))
        tokens = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        x = tokens.transpose(1, 2).reshape(len(images), -1, height, width)
        return (self.neck(x),)


def grid_positions(pos_embed: Tensor, hw: tuple[int, int]) -> Tensor:
    """The learned positions without the class token's, resampled to another grid.

    pos_embed  (1, 1 + side^2, C)
    returns    (1, C, h, w) in its dtype
    """
    side = math.isqrt(pos_embed.shape[1] - 1)
    grid = pos_embed[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
    if hw == (side, side):
        return grid
    # In float32 also for a half-precision model: this is done once a picture and its error stays.
    resampled = F.interpolate(grid.float(), size=hw, mode="bicubic", align_corners=False)
    return resampled.to(pos_embed.dtype)
