"""Positional encodings: random Fourier features, relative biases, sines and rotary positions.

Sources: Tancik et al. 2020 (Fourier features), as in Segment Anything, appendix A, "Prompt
encoder"; Li et al. 2022 (MViTv2, section 4.1) for the decomposed relative positions; Su et al. 2021
(RoFormer, arXiv:2104.09864), along two axes as in Heo et al. 2024 (RoPE for vision transformers,
arXiv:2403.13298, "axial"). Difference: the reference multiplies complex numbers of neighbouring
channels, which ONNX does not support; here all first halves of the pairs come before all second
halves, for queries and keys alike, which leaves their products unchanged.

Letters: N prompts, P points, C channels, h w a map, L = h * w, D head width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from anymask.models.fast import projected


class FourierPositions(nn.Module):
    """Sines and cosines of random frequencies, which are part of the checkpoint."""

    positional_encoding_gaussian_matrix: Tensor  # (2, C / 2), the official name

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, dim // 2))

    def forward(self, points: Tensor) -> Tensor:
        """(..., 2) x, y in 0..1 -> (..., C) float32; half precision is too coarse for angles."""
        matrix = self.positional_encoding_gaussian_matrix.float()
        angles = (2 * math.pi) * ((2 * points.float() - 1) @ matrix)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def grid(self, h: int, w: int) -> Tensor:
        """Encoding of every cell centre of an h x w map, (1, L, C) float32."""
        device = self.positional_encoding_gaussian_matrix.device
        y = (torch.arange(h, device=device, dtype=torch.float32) + 0.5) / h
        x = (torch.arange(w, device=device, dtype=torch.float32) + 0.5) / w
        centers = torch.stack([x.expand(h, w), y[:, None].expand(h, w)], dim=-1)
        return self(centers.reshape(1, h * w, 2))


def offsets(table: Tensor, side: int) -> Tensor:
    """Expand a table of 2 * side - 1 relative positions: (2 side - 1, D) -> (side, side, D).

    Entry [q, k] is the row for query position minus key position q - k.
    """
    at = torch.arange(side, device=table.device)
    return table[at[:, None] - at[None, :] + side - 1]


def relative_bias(queries: Tensor, along_h: Tensor, along_w: Tensor) -> Tensor:
    """Relative position bias of the attention logits, decomposed into rows and columns.

    Args:
        queries: Unscaled queries (B, heads, h, w, D).
        along_h: Table (2h - 1, D) of the rows.
        along_w: Table (2w - 1, D) of the columns.

    Returns:
        Bias (B, heads, L, L).
    """
    B, heads, h, w, _ = queries.shape
    rows = queries @ offsets(along_h, h).transpose(1, 2)  # faster than einsum in ONNX Runtime
    columns = (queries.transpose(2, 3) @ offsets(along_w, w).transpose(1, 2)).transpose(2, 3)
    return (rows[..., :, None] + columns[..., None, :]).reshape(B, heads, h * w, h * w)


def sine_grid(h: int, w: int, dim: int, device: torch.device | None = None) -> Tensor:
    """Fixed sine positions of DETR (Carion et al. 2020, appendix A.4), rows first: (1, L, dim)."""
    half = dim // 2
    at = torch.arange(half, dtype=torch.float32, device=device)
    periods = 10000 ** (2 * (at // 2) / half)
    encoded = []
    for length in (h, w):
        steps = torch.arange(1, length + 1, dtype=torch.float32, device=device)
        angles = (steps / (length + 1e-6) * (2 * math.pi))[:, None] / periods  # (length, half)
        pairs = torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=-1)
        encoded.append(pairs.flatten(1))
    rows, columns = encoded
    both = torch.cat([rows[:, None].expand(h, w, half), columns.expand(h, w, half)], dim=-1)
    return both.reshape(1, h * w, dim)


def sine_line(places: Tensor, dim: int) -> Tensor:
    """Fixed sine positions of Vaswani et al. 2017, sines before cosines: (P,) -> (P, dim)."""
    half = dim // 2
    at = torch.arange(half, dtype=torch.float32, device=places.device)
    angles = places[:, None] / 10000 ** (2 * (at // 2) / half)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


@dataclass(frozen=True)
class RotaryAngles:
    """Rotary angles of L places for C / 2 pairs of channels."""

    cosine: Tensor  # Cosines (L, C / 2)
    sine: Tensor  # Sines (L, C / 2)


def grid_turns(
    h: int, w: int, channels: int, device: torch.device | None = None, side: int = 1
) -> RotaryAngles:
    """Axial rotary angles: a quarter of the channels with x, a quarter with y: (L, C / 2).

    Args:
        h: Height of the map.
        w: Width of the map.
        channels: Channels C.
        device: Torch device.
        side: Side of the square of places that each place of the map represents by its centre.
    """
    steps = torch.arange(0, channels, 4, dtype=torch.float32, device=device)
    speeds = 1.0 / 10000.0 ** (steps / channels)  # (C / 4,)
    index = torch.arange(h * w, dtype=torch.float32, device=device)
    x, y = index % w, torch.div(index, w, rounding_mode="floor")
    x, y = (axis * side + (side - 1) / 2 for axis in (x, y))
    angles = torch.cat([torch.outer(x, speeds), torch.outer(y, speeds)], dim=-1)
    return RotaryAngles(angles.cos(), angles.sin())


def no_turns(places: int, channels: int, device: torch.device | None = None) -> RotaryAngles:
    """Angles of places without a position, which are not rotated."""
    return RotaryAngles(
        torch.ones(places, channels // 2, device=device),
        torch.zeros(places, channels // 2, device=device),
    )


def joined(turns: list[RotaryAngles]) -> RotaryAngles:
    """Concatenate angles: [(L, C / 2)] -> (sum of L, C / 2)."""
    return RotaryAngles(torch.cat([t.cosine for t in turns]), torch.cat([t.sine for t in turns]))


def in_halves(channels: int, device: torch.device | None = None) -> Tensor:
    """Order of channels with the pairs' first halves before their second halves: (C,)."""
    return torch.cat([torch.arange(half, channels, 2, device=device) for half in (0, 1)])


def turn(x: Tensor, turns: RotaryAngles) -> Tensor:
    """Rotate pairs whose first halves come before their second halves: (..., L, C)."""
    first, second = x.chunk(2, dim=-1)
    cosine, sine = turns.cosine.to(x.dtype), turns.sine.to(x.dtype)
    return torch.cat(
        [
            torch.addcmul(first * cosine, second, sine, value=-1),
            torch.addcmul(second * cosine, first, sine),
        ],
        dim=-1,
    )


def turned(x: Tensor, layer: nn.Linear, turns: RotaryAngles) -> Tensor:
    """Project and rotate: (..., L, C') -> (..., L, C), first halves first."""
    order = in_halves(layer.out_features, layer.weight.device)
    return turn(projected(x, layer.weight[order], layer.bias[order]), turns)
