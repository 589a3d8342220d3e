"""Masks of one prompt from the sums that `sweep.py` keeps instead of the prompt's image.

The upscaling of `mask_decoder.py`, equal up to rounding. Its first transposed convolution is
linear, so that of the shared image is made once; the rest goes place by place in pieces that stay
in the processor's caches, with the channels last, and ends in the asked masks alone.

Letters: L = h * w places, C channels, S rows of a view, k masks.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.mask_decoder import MaskDecoder

PLACES_AT_ONCE = 512


class Drawing:
    """The upscaling for one image of (h, w) places.

    dtypes  of the sums and their norm, and of the products
    """

    def __init__(
        self,
        decoder: MaskDecoder,
        image: Tensor,
        constant: Tensor,
        hw: tuple[int, int],
        dtypes: tuple[torch.dtype, torch.dtype],
    ) -> None:  # (L, C), (C,)
        widen, self.norm, widen_again = (
            decoder.get_submodule(name) for name in decoder.config.upscaling_names
        )
        self.hw, (dtype, self.dtype) = hw, dtypes
        first, bias = _as_linear(cast(nn.ConvTranspose2d, widen))
        self.first = first  # (C, 4 * C / 4)
        self.image = (image @ first).to(dtype)
        self.bias = (constant @ first + bias).to(dtype)
        second, bias = _as_linear(cast(nn.ConvTranspose2d, widen_again))
        self.second, self.second_bias = second.to(self.dtype), bias.to(self.dtype)
        self.norm_weight = cast(Tensor, self.norm.weight).to(dtype)
        self.norm_bias = cast(Tensor, self.norm.bias).to(dtype)
        self.eps = cast(float, self.norm.eps)

    def __call__(self, scale: Tensor, shares: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        """One prompt's view (1, L), (S, L), (S, C) and k masks' (k, C / 8) -> (k, 4 h, 4 w)."""
        rows = (rows @ self.first).to(self.dtype)
        shares, scale = shares.t(), scale.t().to(self.image.dtype)
        out = weights.new_empty(len(self.image), 16, len(weights), dtype=torch.float32)
        mix = weights.t().to(self.dtype)
        for start in range(0, len(self.image), PLACES_AT_ONCE):
            part = slice(start, start + PLACES_AT_ONCE)
            x = (shares[part].to(self.dtype) @ rows).to(self.image.dtype)
            x.add_(self.bias).addcmul_(scale[part], self.image[part])
            out[part] = self._draw(x, mix).unflatten(0, (-1, 16))
        # The two doublings of a place: (h, w, 2, 2, 2, 2) are y, x, and y and x of each.
        cells = out.unflatten(0, self.hw).unflatten(2, (2, 2, 2, 2))
        return cells.permute(6, 0, 2, 4, 1, 3, 5).flatten(4, 6).flatten(1, 3)

    def _draw(self, x: Tensor, mix: Tensor) -> Tensor:  # (l, C), (C / 8, k) -> (16 l, k)
        x = x.unflatten(-1, (4, -1)).flatten(0, 1)
        x = F.layer_norm(x, x.shape[-1:], self.norm_weight, self.norm_bias, self.eps)
        x = F.gelu(torch.addmm(self.second_bias, F.gelu(x).to(self.dtype), self.second))
        return x.unflatten(-1, (4, -1)).flatten(0, 1) @ mix


def _as_linear(widen: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """A transposed convolution that doubles the sides, as (C, 4 * C') and its bias (4 * C',)."""
    weight = widen.weight.float().permute(0, 2, 3, 1).flatten(1)
    return weight, cast(Tensor, widen.bias).float().repeat(4)
