"""Rotary positions on a map: queries or keys and places in, rotated ones (real numbers) out.

Source: Su et al. 2021 (RoFormer, arXiv:2104.09864), along two axes as in Heo et al. 2024 (RoPE for
vision transformers, arXiv:2403.13298, "axial"). Deviation: the reference multiplies complex numbers
of neighbouring channels, which ONNX does not have; here all first halves of the pairs come before
all second halves, for queries and keys alike, which leaves their products as they are.

Letters: h w a map, L = h * w, C channels of a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from anymask.models.fused_layers import projected

THETA = 10000.0


@dataclass(frozen=True)
class RotaryAngles:
    """How far each of L places turns its C / 2 pairs of channels.

    cosine, sine  (L, C / 2)
    """

    cosine: Tensor
    sine: Tensor


def grid_turns(
    h: int, w: int, channels: int, device: torch.device | None = None, side: int = 1
) -> RotaryAngles:
    """A quarter of the channels turn with x, a quarter with y, in pairs: (h, w) -> (L, C / 2).

    side  of the squares of places that each of the map's stands for: it lies in their middle
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
