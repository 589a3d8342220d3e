"""The two-way transformer: mutual attention of prompt tokens and image features.

Source: Kirillov et al. 2023, appendix A ("Lightweight mask decoder", figure 14); segment-anything
(Apache-2.0), `modeling/transformer.py`, for names and numbers.

The image may have batch 1 while the prompts have batch N. Then everything that is independent of
the prompt (the first projections of the image, a third of the work) is computed once.

Letters: N prompts, T tokens, L places of the image, C channels, D head width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.fast import Activation
from anymask.models.layers import Mlp


@dataclass(frozen=True, kw_only=True)
class TwoWayConfig:
    """Sizes and options of a two-way transformer."""

    dim: int = 256  # Channels C
    depth: int = 2  # Number of layers
    heads: int = 8  # Attention heads
    mlp_dim: int = 2048  # Hidden width of the MLP
    shrink: int = 2  # Ratio of dim to the width of the cross attention
    activation: Activation = "relu"  # Activation of the MLP
    # Parameter names of a layer's MLP in the checkpoint
    mlp_names: tuple[str, str] = ("lin1", "lin2")
    # "sam": the first layer replaces the tokens, the others are residual, and positions only affect
    # queries and keys; "plain" (EfficientSAM): every layer is residual, and positions are added to
    # the tokens after the first
    self_attention: Literal["sam", "plain"] = "sam"


# Attention of queries (N, H, T, D) to keys and values (N, H, L, D) -> (N, H, T, D)
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
SOFTMAX: Attend = F.scaled_dot_product_attention


class DownscaledAttention(nn.Module):
    """Multi-head attention with a narrower inner width."""

    def __init__(self, dim: int, heads: int, shrink: int = 1) -> None:
        super().__init__()
        self.heads = heads
        inner = dim // shrink
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj = nn.Linear(dim, inner)
        self.v_proj = nn.Linear(dim, inner)
        self.out_proj = nn.Linear(inner, dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, N: int, attend: Attend = SOFTMAX) -> Tensor:
        """Queries (1 or N, T, C), keys and values (1 or N, L, C) -> (N, T, C)."""
        q, k, v = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2).expand(N, -1, -1, -1)
            for projected in (self.q_proj(q), self.k_proj(k), self.v_proj(v))
        )
        return self.out_proj(attend(q, k, v).transpose(1, 2).flatten(2))


class TwoWayLayer(nn.Module):
    """Self-attention of tokens, attention to the image, an MLP, attention from image to tokens."""

    def __init__(self, config: TwoWayConfig, first: bool) -> None:
        super().__init__()
        dim, heads, shrink = config.dim, config.heads, config.shrink
        self.first = first
        self.plain = config.self_attention == "plain"
        self.self_attn = DownscaledAttention(dim, heads)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = DownscaledAttention(dim, heads, shrink)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp((dim, config.mlp_dim, dim), config.mlp_names, config.activation)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = DownscaledAttention(dim, heads, shrink)

    def forward(
        self,
        tokens: Tensor,
        image: Tensor,
        token_at: Tensor,
        image_at: Tensor,
        attend: Attend = SOFTMAX,
    ) -> tuple[Tensor, Tensor]:
        """(N, T, C), (1 or N, L, C) and their positions -> (N, T, C), (N, L, C).

        Args:
            attend: Attention from the tokens to the image.
        """
        N = tokens.shape[0]
        tokens = self.norm1(self.attend_to_each_other(tokens, token_at))
        image_placed = image + image_at
        read = self.cross_attn_token_to_image(tokens + token_at, image_placed, image, N, attend)
        tokens = self.norm2(tokens + read)
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = image + self.cross_attn_image_to_token(image_placed, tokens + token_at, tokens, N)
        return tokens, self.norm4(image)

    def attend_to_each_other(self, tokens: Tensor, token_at: Tensor) -> Tensor:
        N = tokens.shape[0]
        # In the first layer the tokens are their own positions.
        placed = tokens if self.first else tokens + token_at
        base = placed if self.plain else tokens
        read: Tensor = self.self_attn(placed, placed, base, N)
        return read if self.first and not self.plain else base + read


class TwoWayTransformer(nn.Module):
    """Two-way layers, then a final attention from the tokens to the image."""

    def __init__(self, config: TwoWayConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayLayer(config, i == 0) for i in range(config.depth))
        self.final_attn_token_to_image = DownscaledAttention(
            config.dim, config.heads, config.shrink
        )
        self.norm_final_attn = nn.LayerNorm(config.dim)

    def forward(self, tokens: Tensor, image: Tensor, image_at: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (N, T, C), image (1 or N, L, C), its positions (1, L, C) -> tokens, image."""
        token_at = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_at, image_at)
        read = self.final_attn_token_to_image(
            tokens + token_at, image + image_at, image, tokens.shape[0]
        )
        return self.norm_final_attn(tokens + read), image
