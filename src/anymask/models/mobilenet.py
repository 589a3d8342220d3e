"""MobileNetV2 1.0 and EfficientNet-Lite0 with folded batch norm: maps of four strides.

Sources: Sandler et al. 2018, MobileNetV2, table 2; Tan and Le 2019, EfficientNet (arXiv
1905.11946), table 1, in the "Lite" form of TensorFlow's model garden: ReLU6, no squeeze and
excitation, a stem of fixed width. Differences: no batch norm (the weights are folded, so training
has no running statistics), TensorFlow's "SAME" padding, no classifier.

Letters: B images, S input side.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.layers import Pointwise


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's "SAME" padding: at stride 2 (even input) the odd pixel is
    padded on the right and at the bottom."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(c_in, c_out, kernel, stride, kernel // 2 if stride == 1 else 0, 1, groups)
        before, after = (kernel - 2) // 2, (kernel - 1) // 2
        self.room = (before, after, before, after) if stride == 2 else ()

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> (B, C', h/stride, w/stride)
        return super().forward(F.pad(x, self.room) if self.room else x)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; with a residual if the shapes agree."""

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


class BlockSize(NamedTuple):
    """Sizes of an inverted residual block."""

    expansion: int
    c_out: int
    stride: int
    kernel: int = 3


class InvertedResiduals(nn.Module):
    """A stem and inverted residual blocks b0, b1, ...: images in -1..1 to four maps.

    Args:
        blocks: Sizes of the blocks.
        taps: Last block before each change of stride: strides 4, 8, 16, 32.
    """

    def __init__(self, blocks: Iterable[BlockSize], taps: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2)
        self.taps, self.depth, channels = taps, 0, 32
        for size in blocks:
            block = InvertedResidual(channels, size.c_out, size.expansion, size.stride, size.kernel)
            self.add_module(f"b{self.depth}", block)
            channels, self.depth = size.c_out, self.depth + 1

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, S, S) -> (B, C, S/4, S/4), (B, C, S/8, ..), (B, C, S/16, ..), (B, C, S/32, ..)."""
        x = F.relu6(self.stem(images))
        maps = []
        for i in range(self.depth):
            x = cast(Tensor, self.get_submodule(f"b{i}")(x))
            if i in self.taps:
                maps.append(x)
        return tuple(maps)

    def load_folded(self, arrays: dict[str, Tensor]) -> None:
        """Load `stem.weight`, `b0.dw.weight`, ...; a classifier head in `arrays` is ignored."""
        self.load_state_dict({name: arrays[name].to(torch.float32) for name in self.state_dict()})


BLOCKS = tuple(
    BlockSize(expansion, c_out, stride if n == 0 else 1)
    for expansion, c_out, count, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    for n in range(count)
)  # fmt: skip
TAPS = (2, 5, 12, 16)
TAP_CHANNELS: tuple[int, ...] = tuple(BLOCKS[i].c_out for i in TAPS)


class MobileNetV2(InvertedResiduals):
    """Backbone with maps of 24, 32, 96 and 320 channels."""

    TAP_CHANNELS = TAP_CHANNELS

    def __init__(self) -> None:
        super().__init__(BLOCKS, TAPS)


class EfficientNetLite0(InvertedResiduals):
    """Backbone with maps of 24, 40, 112 and 320 channels."""

    TAP_CHANNELS = (24, 40, 112, 320)
    STAGES = (  # expansion, channels out, blocks, stride of the first, kernel
        (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
    )  # fmt: skip

    def __init__(self) -> None:
        blocks = (
            BlockSize(expansion, c_out, stride if n == 0 else 1, kernel)
            for expansion, c_out, count, stride, kernel in self.STAGES
            for n in range(count)
        )
        super().__init__(blocks, (2, 4, 10, 15))
