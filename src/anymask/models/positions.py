"""Positional encodings: random Fourier features, relative biases, sines and rotary positions.

Sources: Tancik et al. 2020 (Fourier features), as in Segment Anything, appendix A, "Prompt
encoder"; Li et al. 2022 (MViTv2, section 4.1) for the decomposed relative positions; Su et al. 2021
(RoFormer, arXiv:2104.09864), along two axes as in Heo et al. 2024 (RoPE for vision transformers,
arXiv:2403.13298, "axial"). Deviation: the reference multiplies complex numbers of neighbouring
channels, which ONNX does not have; here all first halves of the pairs come before all second
halves, for queries and keys alike, which leaves their products as they are.

Letters: N prompts, P points, C channels, h w a map, L = h * w, D head width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from anymask.models.fast import projected


class FourierPositions(nn.Module):
    """Sines and cosines of random frequencies; the frequencies belong to the checkpoint."""

    positional_encoding_gaussian_matrix: Tensor  # (2, C / 2), the official name

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, dim // 2))

    def forward(self, points: Tensor) -> Tensor:
        """(..., 2) x, y in 0..1 -> (..., C) float32: half precision cannot carry the angles."""
        matrix = self.positional_encoding_gaussian_matrix.float()
        angles = (2 * math.pi) * ((2 * points.float() - 1) @ matrix)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def grid(self, h: int, w: int) -> Tensor:
        """The encoding of every cell centre of an h x w map, (1, L, C) float32."""
        device = self.positional_encoding_gaussian_matrix.device
        y = (torch.arange(h, device=device, dtype=torch.float32) + 0.5) / h
        x = (torch.arange(w, device=device, dtype=torch.float32) + 0.5) / w
        centres = torch.stack([x.expand(h, w), y[:, None].expand(h, w)], dim=-1)
        encoded: Tensor = self(centres.reshape(1, h * w, 2))
        return encoded


def offsets(table: Tensor, side: int) -> Tensor:
    """Spread a table of 2 * side - 1 relative positions: (2 side - 1, D) -> (side, side, D).

    Entry [q, k] is the row for "the query stands q - k after the key".
    """
    at = torch.arange(side, device=table.device)
    return table[at[:, None] - at[None, :] + side - 1]


def relative_bias(queries: Tensor, along_h: Tensor, along_w: Tensor) -> Tensor:
    """What relative positions add to the attention logits, rows and columns apart.

    Args:
        queries: (B, heads, h, w, D), not scaled.
        along_h: (2h - 1, D) table, along_w (2w - 1, D).

    Returns:
        (B, heads, L, L).
    """
    B, heads, h, w, _ = queries.shape
    rows = torch.einsum("bnhwd,hkd->bnhwk", queries, offsets(along_h, h))
    columns = torch.einsum("bnhwd,wkd->bnhwk", queries, offsets(along_w, w))
    return (rows[..., :, None] + columns[..., None, :]).reshape(B, heads, h * w, h * w)


def sine_grid(h: int, w: int, dim: int, device: torch.device | None = None) -> Tensor:
    """The fixed sines of DETR (Carion et al. 2020, appendix A.4), rows first: (1, h * w, dim)."""
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
    """The fixed sines of Vaswani et al. 2017, all sines before all cosines: (P,) -> (P, dim)."""
    half = dim // 2
    at = torch.arange(half, dtype=torch.float32, device=places.device)
    angles = places[:, None] / 10000 ** (2 * (at // 2) / half)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


THETA = 10000.0


@dataclass(frozen=True)
class RotaryAngles:
    """How far each of L places turns its C / 2 pairs of channels.

    Attributes:
        cosine: (L, C / 2).
        sine: (L, C / 2).
    """

    cosine: Tensor
    sine: Tensor


def grid_turns(
    h: int, w: int, channels: int, device: torch.device | None = None, side: int = 1
) -> RotaryAngles:
    """A quarter of the channels turn with x, a quarter with y, in pairs: (h, w) -> (L, C / 2).

    Args:
        side: Of the squares of places that each of the map's stands for: it lies in their
            middle.
    """
    steps = torch.arange(0, channels, 4, dtype=torch.float32, device=device)
    speeds = 1.0 / THETA ** (steps / channels)  # (C / 4,)
    place = torch.arange(h * w, dtype=torch.float32, device=device)
    x, y = place % w, torch.div(place, w, rounding_mode="floor")
    x, y = (axis * side + (side - 1) / 2 for axis in (x, y))
    angles = torch.cat([torch.outer(x, speeds), torch.outer(y, speeds)], dim=-1)
    return RotaryAngles(angles.cos(), angles.sin())


def no_turns(places: int, channels: int, device: torch.device | None = None) -> RotaryAngles:
    """Places without a position: they stay as they are."""
    return RotaryAngles(
        torch.ones(places, channels // 2, device=device),
        torch.zeros(places, channels // 2, device=device),
    )


def joined(turns: list[RotaryAngles]) -> RotaryAngles:
    """One after the other: [(L, C / 2)] -> (sum of L, C / 2)."""
    return RotaryAngles(torch.cat([t.cosine for t in turns]), torch.cat([t.sine for t in turns]))


def in_halves(channels: int, device: torch.device | None = None) -> Tensor:
    """The order of channels in which the pairs' first halves come before their second: (C,)."""
    return torch.cat([torch.arange(half, channels, 2, device=device) for half in (0, 1)])


def turn(x: Tensor, turns: RotaryAngles) -> Tensor:
    """Turn pairs whose first halves come before their second halves: (..., L, C) -> the same."""
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
    """Project, and turn what comes out: (..., L, C') -> (..., L, C), first halves first."""
    order = in_halves(layer.out_features, layer.weight.device)
    return turn(projected(x, layer.weight[order], layer.bias[order]), turns)
