"""EfficientNet-Lite0, batch norm folded: pictures in, maps at strides 4 to 32 out.

Source: Tan and Le 2019, EfficientNet (arXiv 1905.11946), table 1, in the "Lite" form of
TensorFlow's model garden: ReLU6, no squeeze and excitation, a stem of fixed width. Deviations: no
batch norm (the weights come folded), no classifier.

Letters: B images, S input side.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.mobilenet import InvertedResidual, SameConv

# (kernel, expansion, channels out, stride of the first, blocks) of the stages, b0..b15 in all
STAGES: tuple[tuple[int, int, int, int, int], ...] = (
    (3, 1, 16, 1, 1),
    (3, 6, 24, 2, 2),
    (5, 6, 40, 2, 2),
    (3, 6, 80, 2, 3),
    (5, 6, 112, 1, 3),
    (5, 6, 192, 2, 4),
    (3, 6, 320, 1, 1),
)
TAPS = (2, 4, 10, 15)  # the last block before each change of stride: strides 4, 8, 16, 32
TAP_CHANNELS = (24, 40, 112, 320)


class EfficientNetLite0(nn.Module):
    """Images in -1..1 to four maps at strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2)
        channels, self.depth = 32, 0
        for kernel, expansion, c_out, first_stride, count in STAGES:
            for n in range(count):
                stride = first_stride if n == 0 else 1
                block = InvertedResidual(channels, c_out, expansion, stride, kernel)
                self.add_module(f"b{self.depth}", block)
                channels, self.depth = c_out, self.depth + 1

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, S, S) -> (B, 24, S/4, S/4), (B, 40, S/8, ..), (B, 112, ..), (B, 320, S/32, ..)."""
        x = F.relu6(self.stem(images))
        maps = []
        for i in range(self.depth):
            x = cast(Tensor, self.get_submodule(f"b{i}")(x))
            if i in TAPS:
                maps.append(x)
        return tuple(maps)
