"""Mask upscaling of a sweep: the sums that `sweep.py` keeps of a prompt in, its mask logits out.

The upscaling of `mask_decoder.py`, equal up to rounding. Its first transposed convolution is
linear, so that of the shared image is made once; the rest goes place by place, with the channels
last, and ends in the asked masks alone. No place needs another one: padding is not drawn at all.

Letters: L = h * w places, C channels, S rows of a view, k masks, p drawn places.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.mask_decoder import MaskDecoder


class Drawing:
    """The upscaling for one image of (h, w) places.

    dtype  of all that has the size of a map
    """

    def __init__(
        self,
        decoder: MaskDecoder,
        image: Tensor,
        constant: Tensor,
        hw: tuple[int, int],
        dtype: torch.dtype,
    ) -> None:  # (L, C), (C,)
        widen, self.norm, widen_again = (
            decoder.get_submodule(name) for name in decoder.config.upscaling_names
        )
        self.hw, self.dtype = hw, dtype
        first, bias = _as_linear(cast(nn.ConvTranspose2d, widen))
        self.first = first  # (C, 4 * C / 4)
        self.image = (image @ first).to(dtype).unflatten(0, hw)
        self.bias = (constant @ first + bias).to(dtype)
        second, bias = _as_linear(cast(nn.ConvTranspose2d, widen_again))
        self.second, self.second_bias = second.to(dtype), bias.to(dtype)
        self.norm_weight = cast(Tensor, self.norm.weight).to(dtype)
        self.norm_bias = cast(Tensor, self.norm.bias).to(dtype)
        self.eps = cast(float, self.norm.eps)

    def __call__(
        self, view: tuple[Tensor, Tensor, Tensor], weights: Tensor, shown: tuple[int, int]
    ) -> Tensor:
        """The first rows and columns of places of one prompt's masks -> (k, 4 h', 4 w') float32.

        view     scale (1, L), shares (S, L), rows (S, C)
        weights  (k, C / 8) of the masks
        shown    h', w'
        """
        part = tuple(slice(length) for length in shown)
        scale, shares = (x.unflatten(1, self.hw)[:, *part].flatten(1) for x in view[:2])
        image, rows = self.image[part].flatten(0, 1), (view[2] @ self.first).to(self.dtype)
        x = torch.addcmul(self.bias, scale.t(), image).addmm_(shares.t(), rows)
        drawn = self._draw(x, weights.t().to(self.dtype))
        # The two doublings of a place: y and x, and y and x of each.
        cells = drawn.float().view(*shown, 2, 2, 2, 2, -1)
        return cells.permute(6, 0, 2, 4, 1, 3, 5).flatten(4, 6).flatten(1, 3)

    def _draw(self, x: Tensor, mix: Tensor) -> Tensor:  # (p, C), (C / 8, k) -> (16 p, k)
        x = x.unflatten(-1, (4, -1)).flatten(0, 1)
        x = F.layer_norm(x, x.shape[-1:], self.norm_weight, self.norm_bias, self.eps)
        x = torch.addmm(self.second_bias, torch.ops.aten.gelu_(x), self.second)
        return torch.ops.aten.gelu_(x).unflatten(-1, (4, -1)).flatten(0, 1) @ mix


def _as_linear(widen: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """A transposed convolution that doubles the sides, as (C, 4 * C') and its bias (4 * C',)."""
    weight = widen.weight.float().permute(0, 2, 3, 1).flatten(1)
    return weight, cast(Tensor, widen.bias).float().repeat(4)
