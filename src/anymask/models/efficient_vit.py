"""EfficientSAM's and EfficientTAM's image encoder, a plain ViT.

Letters: B images, C channels, L tokens, S the image side, h w the token map.

Architecture: ViT (Dosovitskiy et al. 2021, arXiv:2010.11929) without its class token, pretrained
on 224 pixels by SAMI: EfficientSAM (Xiong et al. 2023, arXiv:2312.00863, section 3), with SAM's
neck. Parameter names are those of `efficient_sam/efficient_sam_encoder.py` (Apache-2.0).
EfficientTAM (Xiong et al. 2024, arXiv:2411.18933; Apache-2.0) uses it as a trunk: the names of its
MLPs differ, most blocks attend within windows of 14 tokens, and another neck follows (`fpn.py`).

Differences: the input may have any sides that are multiples of the patch, not only 1024.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.layers import DropPath, Mlp
from anymask.models.vit import PatchEmbed, in_windows, neck

EPSILON = 1e-6


@dataclass(frozen=True, kw_only=True)
class EfficientVitConfig:
    """Sizes of an EfficientSAM encoder."""

    width: int = 192  # Channels of a token
    heads: int = 3  # Attention heads
    depth: int = 12  # Number of blocks
    patch: int = 16  # Side of a patch in pixels
    pretrained: int = 14  # Side of the pretraining images in patches: the grid of `pos_embed`
    expansion: int = 4  # Ratio of hidden to outer channels of the MLPs
    # Channels of the embedding, or 0 for the last block's map without a neck
    out_channels: int = 256
    window: int = 14  # Side of a window in tokens
    windowed: tuple[int, ...] = ()  # Blocks with windowed attention
    # Parameter names of a block's MLP in the checkpoint
    mlp_names: tuple[str, str] = ("fc1", "fc2")


EFFICIENT_SAM_TI = EfficientVitConfig()
EFFICIENT_SAM_S = EfficientVitConfig(width=384, heads=6)
EFFICIENT_TAM_TI = EfficientVitConfig(
    out_channels=0, windowed=(0, 1, 3, 4, 6, 7, 9, 10), mlp_names=("layers.0", "layers.1")
)
EFFICIENT_TAM_S = replace(EFFICIENT_TAM_TI, width=384, heads=6)
TINY = EfficientVitConfig(width=12, heads=3, depth=2, patch=4, pretrained=3, out_channels=8)


class EfficientVitAttention(nn.Module):
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
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, channels))


class EfficientVitBlock(nn.Module):
    """Pre-norm attention and MLP with residuals; window 0 is global attention."""

    def __init__(self, config: EfficientVitConfig, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(config.width, eps=EPSILON)
        self.attn = EfficientVitAttention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width, eps=EPSILON)
        hidden = config.width * config.expansion
        self.mlp = Mlp((config.width, hidden, config.width), config.mlp_names, "gelu")
        self.drop_path = DropPath()

    def forward(self, x: Tensor) -> Tensor:  # (B, h, w, C) -> the same
        x = x + self.drop_path(in_windows(self._attend, self.norm1(x), self.window))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor) -> Tensor:
        return self.attn(x.flatten(1, 2)).unflatten(1, x.shape[1:3])


class EfficientVit(nn.Module):
    """The image encoder."""

    def __init__(self, config: EfficientVitConfig) -> None:
        super().__init__()
        self.config = config
        positions = config.pretrained**2 + 1  # the first one is for the removed class token
        self.pos_embed = nn.Parameter(torch.zeros(1, positions, config.width))
        self.patch_embed = PatchEmbed(config.width, config.patch, config.patch)
        self.blocks = nn.ModuleList(
            EfficientVitBlock(config, config.window if index in config.windowed else 0)
            for index in range(config.depth)
        )
        if config.out_channels:
            self.neck = neck(config.width, config.out_channels)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode normalized images.

        Args:
            images: Images (B, 3, H, W), H and W multiples of the patch.

        Returns:
            The embedding: ((B, out_channels, H / patch, W / patch),).
        """
        x = self.patch_embed(images)
        x = x + grid_positions(self.pos_embed, (x.shape[1], x.shape[2])).permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        x = x.permute(0, 3, 1, 2)
        return (self.neck(x) if self.config.out_channels else x,)


def grid_positions(pos_embed: Tensor, hw: tuple[int, int]) -> Tensor:
    """Resample the learned positions, without the class token's, to another grid.

    Args:
        pos_embed: Positions (1, 1 + side^2, C).
        hw: Height and width of the grid.

    Returns:
        Positions (1, C, h, w) in the same dtype.
    """
    side = math.isqrt(pos_embed.shape[1] - 1)
    grid = pos_embed[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
    if hw == (side, side):
        return grid
    # In float32 also for a half-precision model: it runs once per image, and its error persists.
    resampled = F.interpolate(grid.float(), size=hw, mode="bicubic", align_corners=False)
    return resampled.to(pos_embed.dtype)
