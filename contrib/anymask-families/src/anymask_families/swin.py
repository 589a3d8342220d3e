"""Swin transformer: an image encoder with attention in shifted windows.

Liu et al. 2021, "Swin Transformer" (microsoft/Swin-Transformer, MIT), as a backbone with four maps,
each with its own norm. Parameter names are those of its checkpoints. Maps of any size are padded to
windows with zeros, as in the reference for segmentation.

Letters: B images, H W an image, h w a map, C channels, n windows, L = window * window places.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models import Mlp

HIDDEN = -100.0  # logit between places of different regions in one shifted window


@dataclass(frozen=True, kw_only=True)
class SwinConfig:
    """Sizes of the encoder. The default is Swin-T."""

    dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    patch: int = 4

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each map."""
        return tuple(self.dim * 2**stage for stage in range(len(self.depths)))


class Swin(nn.Module):
    """Images to one map per stage, at strides 4, 8, 16 and 32."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.patch_embed = _Patches(config)
        stages = len(config.depths)
        self.layers = nn.ModuleList(_Stage(config, n, n + 1 < stages) for n in range(stages))
        for stage, width in enumerate(config.widths):
            self.add_module(f"norm{stage}", nn.LayerNorm(width))

    def forward(self, images: Tensor) -> list[Tensor]:  # (B, 3, H, W) -> (B, C, h, w) each
        x, maps = self.patch_embed(images), []
        for number, stage in enumerate(self.layers):
            seen, x = stage(x)
            maps.append(self.get_submodule(f"norm{number}")(seen).permute(0, 3, 1, 2).contiguous())
        return maps


class _Patches(nn.Module):
    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.patch = config.patch
        self.proj = nn.Conv2d(3, config.dim, config.patch, stride=config.patch)
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, images: Tensor) -> Tensor:  # -> (B, h, w, C)
        rest = [-length % self.patch for length in images.shape[-2:]]
        seen: Tensor = self.proj(F.pad(images, (0, rest[1], 0, rest[0])))
        normal: Tensor = self.norm(seen.permute(0, 2, 3, 1))
        return normal


class _Stage(nn.Module):
    """Blocks at one stride, then the map of the next stage, or the same map at the last one."""

    def __init__(self, config: SwinConfig, number: int, downsampled: bool) -> None:
        super().__init__()
        width = config.widths[number]
        self.window = config.window
        self.blocks = nn.ModuleList(
            _Block(width, config.heads[number], config.window, shifted=bool(depth % 2))
            for depth in range(config.depths[number])
        )
        self.downsample = _Merging(width) if downsampled else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = hidden_pairs(x.shape[1], x.shape[2], self.window, x)
        for block in self.blocks:
            x = block(x, hidden)
        return x, x if self.downsample is None else self.downsample(x)


def hidden_pairs(h: int, w: int, window: int, like: Tensor) -> Tensor:  # -> (n, L, L)
    """Logits of place pairs in shifted windows: 0 in one region of the map, else `HIDDEN`."""
    sides = [-(-length // window) * window for length in (h, w)]
    steps = []
    for side in sides:
        at = torch.arange(side, device=like.device)
        steps.append((at >= side - window).long() + (at >= side - window // 2).long())
    regions = steps[0][:, None] * 3 + steps[1][None, :]
    by_window = to_windows(regions[None, :, :, None], window)[..., 0]
    apart = by_window[:, :, None] != by_window[:, None, :]
    return torch.zeros_like(apart, dtype=like.dtype).masked_fill(apart, HIDDEN)


def to_windows(x: Tensor, window: int) -> Tensor:  # (B, h, w, C) -> (B n, L, C)
    """Split a map into windows."""
    B, h, w, C = x.shape
    split = x.view(B, h // window, window, w // window, window, C)
    return split.transpose(2, 3).reshape(-1, window * window, C)


def from_windows(x: Tensor, window: int, h: int, w: int) -> Tensor:  # (B n, L, C) -> (B, h, w, C)
    """Join windows to a map."""
    split = x.view(-1, h // window, w // window, window, window, x.shape[-1])
    return split.transpose(2, 3).reshape(-1, h, w, x.shape[-1])


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.window, self.shift = window, window // 2 if shifted else 0
        self.norm1 = nn.LayerNorm(dim)
        self.attn = ShiftedAttention(dim, heads, window)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp((dim, 4 * dim, dim), ("fc1", "fc2"), "gelu")

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:  # (B, h, w, C) -> the same
        h, w = x.shape[1:3]
        padded = F.pad(self.norm1(x), (0, 0, 0, -w % self.window, 0, -h % self.window))
        if self.shift:
            padded = padded.roll((-self.shift, -self.shift), (1, 2))
        seen = self.attn(to_windows(padded, self.window), hidden if self.shift else None)
        joined = from_windows(seen, self.window, *padded.shape[1:3])
        if self.shift:
            joined = joined.roll((self.shift, self.shift), (1, 2))
        x = x + joined[:, :h, :w]
        answer: Tensor = x + self.mlp(self.norm2(x))
        return answer


class ShiftedAttention(nn.Module):
    """Attention in windows, with a learned bias by relative position."""

    relative_position_index: Tensor  # (L, L), stored in checkpoints

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        rows = (2 * window - 1) ** 2
        self.relative_position_bias_table = nn.Parameter(torch.zeros(rows, heads))
        self.register_buffer("relative_position_index", relative_index(window))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, hidden: Tensor | None) -> Tensor:  # (B n, L, C) -> the same
        count, places, dim = x.shape
        parts = self.qkv(x).view(count, places, 3, self.heads, dim // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        if hidden is not None:  # (n, heads, L, L), once per image
            bias = (bias[None] + hidden[:, None]).repeat(count // len(hidden), 1, 1, 1)
        seen = F.scaled_dot_product_attention(query, key, value, bias)
        answer: Tensor = self.proj(seen.transpose(1, 2).reshape(count, places, dim))
        return answer


def relative_index(window: int) -> Tensor:  # -> (L, L)
    """Row of the bias table for each pair of places in a window."""
    at = torch.arange(window)
    places = torch.stack(torch.meshgrid(at, at, indexing="ij")).flatten(1)
    apart = places[:, :, None] - places[:, None, :] + window - 1
    return apart[0] * (2 * window - 1) + apart[1]


class _Merging(nn.Module):
    """Four neighbours to one place with twice the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, h, w, C) -> (B, h / 2, w / 2, 2 C)
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        nearby = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        merged: Tensor = self.reduction(self.norm(torch.cat(nearby, dim=-1)))
        return merged
