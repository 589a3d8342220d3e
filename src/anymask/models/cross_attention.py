"""`nano`'s attention: few tokens and an image's places in, both updated by each other out.

Letters: N prompts, T tokens, L places, C channels, H heads, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Plain multi-head attention among few tokens."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, placed: Tensor, content: Tensor, bias: Tensor | None = None) -> Tensor:
        """Queries and keys (N, T, C), values (N, T, C), bias (N, 1, 1, T) -> (N, T, C)."""
        q, k, v = (
            split_heads(x, self.heads)
            for x in (self.q_proj(placed), self.k_proj(placed), self.v_proj(content))
        )
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        shares = torch.softmax(scores if bias is None else scores + bias, dim=-1)
        y: Tensor = self.out_proj((shares @ v).transpose(1, 2).flatten(2))
        return y


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(N, T, H * D) -> (N, H, T, D)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class CrossAttention(nn.Module):
    """Attention between few tokens and many image places, without projecting the image.

    A projection of the image followed by a product with a token is the image times the projected
    token: (W x) . q = x . (W^T q). With ten tokens and a thousand places that is half the work,
    and nothing of the image's size is ever transposed.
    """

    def __init__(self, dim: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (inner // heads) ** -0.5
        self.token = nn.Linear(dim, inner)  # what a token asks, or is asked by
        self.image = nn.Parameter(torch.empty(heads, inner // heads, dim))
        self.carry = nn.Parameter(torch.empty(heads, inner // heads, dim))
        self.value = nn.Linear(inner, dim)
        nn.init.xavier_uniform_(self.image.view(inner, dim))
        nn.init.xavier_uniform_(self.carry.view(inner, dim))

    def asked(self, tokens: Tensor) -> Tensor:
        """Each head's token in the image's channels: (N, T, C) -> (N, H * T, C)."""
        return (split_heads(self.token(tokens), self.heads) @ self.image).flatten(1, 2) * self.scale


class TokenToImage(CrossAttention):
    """Attention from tokens to the image."""

    def forward(self, tokens: Tensor, placed: Tensor, image: Tensor) -> Tensor:
        """(N, T, C), image with and without positions (N, L, C) -> (N, T, C)."""
        shares = torch.softmax(self.asked(tokens) @ placed.transpose(1, 2), dim=-1)
        seen = (shares @ image).unflatten(1, (self.heads, -1))  # (N, H, T, C)
        taken = (seen @ self.carry.transpose(1, 2)).transpose(1, 2).flatten(2)
        y: Tensor = self.value(taken)
        return y


class ImageToToken(CrossAttention):
    """Attention from the image to the tokens."""

    def forward(self, tokens: Tensor, content: Tensor, placed: Tensor, bias: Tensor) -> Tensor:
        """Tokens with and without positions (N, T, C), (N, L, C), (N, 1, 1, T) -> (N, L, C)."""
        scores = placed @ self.asked(tokens).transpose(1, 2)  # (N, L, H * T)
        shares = torch.softmax(scores.unflatten(-1, (self.heads, -1)) + bias, dim=-1).flatten(2)
        told = split_heads(content @ self.carry.flatten(0, 1).t(), self.heads)  # (N, H, T, D)
        weights = self.value.weight.t().unflatten(0, (self.heads, -1))  # (H, D, C)
        return shares @ (told @ weights).flatten(1, 2) + self.value.bias
