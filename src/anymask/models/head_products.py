"""Products of attention heads: tokens and places in, products in the layouts of a sweep out.

Letters: N prompts, T tokens, L places, C channels, H heads, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def columns(places: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
    """Projected places (L, H * D) -> (H, D, L)."""
    return places.unflatten(-1, (heads, -1)).permute(1, 2, 0).to(dtype).contiguous()


def by_head(tokens: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
    """(N, T, H * D) -> (N, H, T, D)."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2).to(dtype).contiguous()


def with_heads(rows: Tensor, heads: int) -> Tensor:
    """(H * T, L) -> (H, T, L), the same memory."""
    return rows.unflatten(0, (heads, -1))


def multiply_by_head(tokens: Tensor, weight: Tensor, heads: int) -> Tensor:
    """Tokens (N, T, H * D) times a weight (H * D, C), head by head -> (N, H * T, C)."""
    return multiply_head_by_head(tokens.float().unflatten(-1, (heads, -1)).transpose(1, 2), weight)


def multiply_head_by_head(x: Tensor, weight: Tensor) -> Tensor:
    """(N, H, T, D) times (H * D, C), each head with its own rows -> (N, H * T, C)."""
    N, H, T, _ = x.shape
    product = torch.bmm(x.transpose(0, 1).flatten(1, 2), weight.unflatten(0, (H, -1)))
    return product.unflatten(1, (N, T)).transpose(0, 1).flatten(1, 2)


def centre_rows(rows: Tensor) -> Tensor:
    """Rows (..., C) without their mean."""
    return rows - rows.mean(-1, keepdim=True)
