"""Guided decoding: a SAM model whose decoder is guided towards a target.

Zhang et al. 2023, "Personalize Segment Anything Model with One Shot" (PerSAM), section 3.2, and
its released code (MIT) for the order of steps:

    attention  In each block, where tokens attend to the image, the similarity of every cell to the
               target is added to the softmax, and a second softmax follows.
    prompting  The target's feature is added to all tokens before each block. Before the first block
               tokens are their own positions, so those also change. It is added once more to the
               queries of the last attention.

Letters: N prompts, T tokens, L cells of the image, C channels.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from anymask.models.two_way import TwoWayTransformer

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Guidance:
    """Target of guided decoding."""

    attention: Tensor  # Similarity of each cell to the target (L,), 0..1
    target: Tensor  # Feature of the target (C,)


def guided(module: M, guidance: Guidance) -> M:
    """Model with the same weights and guided decoding; the module itself is unchanged."""
    decoder = _copied(module.get_submodule("mask_decoder"))
    decoder.transformer = GuidedTransformer(
        cast(TwoWayTransformer, decoder.get_submodule("transformer")), guidance
    )
    with_guidance = _copied(module)
    with_guidance.mask_decoder = decoder
    return with_guidance


def _copied(module: M) -> M:
    """Shallow copy of a module whose parts can be replaced independently."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin


class GuidedTransformer(nn.Module):
    """A two-way transformer with attention guided by `Guidance`."""

    def __init__(self, plain: TwoWayTransformer, guidance: Guidance) -> None:
        super().__init__()
        self.plain, self.guidance = plain, guidance

    def forward(self, tokens: Tensor, image: Tensor, image_at: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (N, T, C), image (1 or N, L, C), its positions (1, L, C) -> tokens, image."""
        target = self.guidance.target
        tokens = tokens + target
        token_at = tokens
        for number, layer in enumerate(self.plain.layers):
            tokens = tokens + target if number else tokens
            tokens, image = layer(tokens, image, token_at, image_at, self._attend)
        read = self.plain.final_attn_token_to_image(
            tokens + token_at + target, image + image_at, image, tokens.shape[0]
        )
        return self.plain.norm_final_attn(tokens + read), image

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        return torch.softmax(scores + self.guidance.attention, -1) @ v
