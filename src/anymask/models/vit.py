"""SAM's image encoder, a windowed ViT with a neck.

Source: Kirillov et al. 2023, section 3 and appendix A ("Image encoder"); Li et al. 2022 (ViTDet)
for windows; segment-anything (Apache-2.0), `modeling/image_encoder.py`, for the numbers. SAM-HQ
(Ke et al. 2023) also uses an earlier map of the same encoder; SAM-Med2D (Cheng et al. 2023) adds
adapters. Difference: a global block never materializes the attention bias of all heads at once
(128 MiB instead of 800 MB); ViT-B encodes a 1024 px image with 0.6 GB in addition to its weights,
measured in float32 on a CPU.

Letters: B images, S input side, C channels, h w tokens, L = h * w, D head width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.base import brief
from anymask.models.fast import activated, projected_parts
from anymask.models.layers import DropPath, LayerNorm2d, Mlp
from anymask.models.positions import relative_bias

BIAS_LIMIT = 2**25  # elements of attention bias at once, per image: 128 MiB in float32


@brief
@dataclass(frozen=True, kw_only=True)
class VitConfig:
    """Sizes and options of a ViT encoder."""

    dim: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    window: int = 14
    image_side: int = 1024
    patch: int = 16
    out_dim: int = 256
    # "none", or "first_global": also return the map after the first global block (SAM-HQ)
    extras: Literal["none", "first_global"] = "none"
    adapters: bool = False  # Whether each block has an adapter parallel to its MLP (SAM-Med2D)

    @property
    def grid(self) -> int:
        """Number of tokens along one side."""
        return self.image_side // self.patch


class RelativeAttention(nn.Module):
    """Multi-head attention over a map, with decomposed relative positions."""

    def __init__(self, dim: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, dim // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, dim // heads))

    def forward(self, x: Tensor) -> Tensor:  # (B, h, w, C) -> the same
        B, h, w, C = x.shape
        q, k, v = (
            part.reshape(B, h * w, self.heads, C // self.heads).transpose(1, 2)
            for part in projected_parts(x, self.qkv)
        )  # (B, heads, L, D)
        step = max(1, BIAS_LIMIT // (h * w) ** 2)
        parts = []
        for start in range(0, self.heads, step):
            some = slice(start, start + step)
            bias = relative_bias(q[:, some].unflatten(2, (h, w)), self.rel_pos_h, self.rel_pos_w)
            parts.append(
                F.scaled_dot_product_attention(q[:, some], k[:, some], v[:, some], attn_mask=bias)
            )
        return activated(torch.cat(parts, dim=1).transpose(1, 2).reshape(B, h, w, C), self.proj)


def map_to_windows(x: Tensor, side: int) -> Tensor:
    """Split a map into zero-padded windows: (B, h, w, C) -> (B * n, side, side, C)."""
    h, w, C = x.shape[1:]
    x = F.pad(x, (0, 0, 0, -w % side, 0, -h % side))
    x = x.unflatten(2, (-1, side)).unflatten(1, (-1, side))  # (B, rows, side, columns, side, C)
    return x.transpose(2, 3).reshape(-1, side, side, C)


def windows_to_map(windows: Tensor, h: int, w: int) -> Tensor:
    """Join windows and remove the padding: (B * n, side, side, C) -> (B, h, w, C)."""
    side, C = windows.shape[1], windows.shape[3]
    rows, columns = -(-h // side), -(-w // side)
    x = windows.reshape(-1, rows, columns, side, side, C).transpose(2, 3)
    return x.reshape(-1, rows * side, columns * side, C)[:, :h, :w]


def in_windows(
    attend: Callable[[Tensor], Tensor], x: Tensor, side: int, hw: Sequence[int] | None = None
) -> Tensor:
    """Attend within each window of a map (B, h, w, C), or globally if the side is 0.

    The padding zeros are attended to: the checkpoints were trained that way.

    Args:
        attend: Attention (N, h, w, C) -> (N, h', w', C').
        hw: Size of the result. Defaults to that of x.
    """
    if not side:
        return attend(x)
    h, w = hw or x.shape[1:3]
    return windows_to_map(attend(map_to_windows(x, side)), h, w)


class VitBlock(nn.Module):
    """Pre-norm attention and MLP with residuals; window 0 is global attention."""

    def __init__(self, config: VitConfig, window: int) -> None:
        super().__init__()
        dim = config.dim
        self.window = window
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = RelativeAttention(dim, config.heads, window or config.grid)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp((dim, 4 * dim, dim), ("lin1", "lin2"), "gelu")
        self.drop_path = DropPath()
        if config.adapters:
            self.Adapter = Adapter(dim)

    def forward(self, x: Tensor) -> Tensor:  # (B, h, w, C) -> the same
        x = x + self.drop_path(in_windows(self.attn, self.norm1(x), self.window))
        beside = self.norm2(x)
        z: Tensor = x + self.drop_path(self.mlp(beside))
        return z + self.Adapter(beside) if hasattr(self, "Adapter") else z


class Adapter(nn.Module):
    """SAM-Med2D's adapter (Cheng et al. 2023, section 3.2): a channel gate, then convolutions at
    half resolution with a residual, and a norm."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.channel = nn.Sequential(
            nn.Linear(dim, dim // 4, bias=False),
            nn.ReLU(),
            nn.Linear(dim // 4, dim, bias=False),
            nn.Sigmoid(),
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(dim, dim, 3, 2, 1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(dim, dim, 4, 2, 1, bias=False),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:  # (B, h, w, C) -> the same; h and w even
        gated = (self.channel(x.mean((1, 2)))[:, None, None] * x).permute(0, 3, 1, 2)
        return self.norm(x + self.spatial(gated).permute(0, 2, 3, 1))


class PatchEmbed(nn.Module):
    """Patches as tokens; they overlap if the side of a patch exceeds the stride."""

    def __init__(self, dim: int, patch: int, stride: int, padding: int = 0) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, stride, padding)

    def forward(self, images: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, h, w, C)
        return self.proj(images).permute(0, 2, 3, 1)


def neck(dim: int, out_dim: int) -> nn.Sequential:
    """Neck of SAM encoders: (B, C, h, w) tokens to (B, out_dim, h, w) features."""
    return nn.Sequential(
        nn.Conv2d(dim, out_dim, 1, bias=False),
        LayerNorm2d(out_dim),
        nn.Conv2d(out_dim, out_dim, 3, padding=1, bias=False),
        LayerNorm2d(out_dim),
    )


class Vit(nn.Module):
    """SAM ViT-B/L/H."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config.dim, config.patch, config.patch)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid, config.grid, config.dim))
        windows = [0 if i in config.global_blocks else config.window for i in range(config.depth)]
        self.blocks = nn.ModuleList(VitBlock(config, window) for window in windows)
        self.neck = neck(config.dim, config.out_dim)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, S, S) -> (B, out_dim, h, w) and, if configured, the early map (B, C, h, w)."""
        x = self.patch_embed(images) + self.pos_embed
        extras: tuple[Tensor, ...] = ()
        for i, block in enumerate(self.blocks):
            x = block(x)
            if self.config.extras == "first_global" and i == min(self.config.global_blocks):
                extras = (x.permute(0, 3, 1, 2),)
        return (self.neck(x.permute(0, 3, 1, 2)), *extras)
