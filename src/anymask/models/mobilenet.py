"""MobileNetV2 1.0, batch norm folded: pictures in, maps at strides 4 to 32 out.

Source: Sandler et al. 2018, MobileNetV2, table 2. Deviations: no batch norm (the weights come
folded, so training has no running statistics), TensorFlow's "SAME" padding, no classifier.

Letters: B images, S input side.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.layers import Pointwise

# (expansion, channels out, stride) of the 17 blocks b0..b16
BLOCKS: tuple[tuple[int, int, int], ...] = (
    (1, 16, 1),
    (6, 24, 2),
    (6, 24, 1),
    (6, 32, 2),
    (6, 32, 1),
    (6, 32, 1),
    (6, 64, 2),
    (6, 64, 1),
    (6, 64, 1),
    (6, 64, 1),
    (6, 96, 1),
    (6, 96, 1),
    (6, 96, 1),
    (6, 160, 2),
    (6, 160, 1),
    (6, 160, 1),
    (6, 320, 1),
)
# the last block before each change of stride: strides 4, 8, 16, 32
TAPS: tuple[int, ...] = (2, 5, 12, 16)
TAP_CHANNELS: tuple[int, ...] = tuple(BLOCKS[i][1] for i in TAPS)


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's "SAME" padding: at stride 2 (even input) the odd pixel lies
    to the right and below."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(c_in, c_out, kernel, stride, kernel // 2 if stride == 1 else 0, 1, groups)
        before, after = (kernel - 2) // 2, (kernel - 1) // 2
        self.room = (before, after, before, after) if stride == 2 else ()

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> (B, C', h/stride, w/stride)
        return super().forward(F.pad(x, self.room) if self.room else x)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; a residual where the shape allows."""

    def __init__(self, c_in: int, c_out: int, expansion: int, stride: int, kernel: int = 3) -> None:
        super().__init__()
        hidden = c_in * expansion
        if expansion > 1:
            self.exp = Pointwise(c_in, hidden)
        self.dw = SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self.proj = Pointwise(hidden, c_out)
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> (B, C', h/stride, w/stride)
        y = F.relu6(self.exp(x)) if hasattr(self, "exp") else x
        y = self.proj(F.relu6(self.dw(y)))
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """Images in -1..1 to four maps at strides 4, 8, 16 and 32."""

    TAP_CHANNELS = TAP_CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2)
        channels = 32
        for i, (expansion, c_out, stride) in enumerate(BLOCKS):
            self.add_module(f"b{i}", InvertedResidual(channels, c_out, expansion, stride))
            channels = c_out

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, S, S) -> (B, 24, S/4, S/4), (B, 32, S/8, ..), (B, 96, ..), (B, 320, S/32, ..)."""
        x = F.relu6(self.stem(images))
        maps = []
        for i in range(len(BLOCKS)):
            x = cast(Tensor, self.get_submodule(f"b{i}")(x))
            if i in TAPS:
                maps.append(x)
        return tuple(maps)

    def load_folded(self, arrays: dict[str, Tensor]) -> None:
        """Take `stem.weight`, `b0.dw.weight`, ...; a classifier head in `arrays` is ignored."""
        own = self.state_dict()
        self.load_state_dict({name: arrays[name].to(torch.float32) for name in own})
