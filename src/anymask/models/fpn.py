"""SAM 2's image encoder: a trunk and a feature pyramid neck.

Sources: Lin et al. 2017 (FPN, arXiv:1612.03144), as in SAM 2 (arXiv:2408.00714, section 4, "Image
encoder"): sam2 and EdgeTAM (Apache-2.0), `modeling/backbones/image_encoder.py`, for names and
numbers; Li et al. 2022 (ViTDet) for the neck of a plain trunk, as in EfficientTAM
(arXiv:2411.18933; Apache-2.0).

Letters: B images, S input side, C channels, h w the coarsest returned map.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.fast import convolved
from anymask.models.vit import neck


@dataclass(frozen=True, kw_only=True)
class NeckConfig:
    """Sizes of a neck."""

    # Channels of the trunk's maps, the finest first; a single one for a plain trunk
    widths: tuple[int, ...]
    dim: int = 256  # Channels of the neck
    # Maps, counted from the finest, to which the next coarser one is added
    added: tuple[int, ...] = (2,)
    dropped: int = 1  # Number of coarsest maps that are not returned


class Lateral(nn.Module):
    """1 x 1 convolution of a trunk map to the neck's width."""

    def __init__(self, inputs: int, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, dim, 1)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> (B, dim, h, w)
        return convolved(x, self.conv)


def plain(inputs: int, dim: int) -> nn.Sequential:
    """Convolutions of a plain trunk's single map to the neck's width."""
    names = ("conv_1x1", "norm_0", "conv_3x3", "norm_1")
    return nn.Sequential(OrderedDict(zip(names, neck(inputs, dim), strict=True)))


class Neck(nn.Module):
    """Project the feature maps of a trunk to one number of channels."""

    def __init__(self, config: NeckConfig) -> None:
        super().__init__()
        self.config = config
        layer = plain if len(config.widths) == 1 else Lateral
        # The checkpoints count from the coarsest map.
        self.convs = nn.ModuleList(layer(width, config.dim) for width in reversed(config.widths))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Trunk maps, the finest first -> the returned maps (B, dim, ..), in the same order."""
        levels: list[Tensor] = []
        for conv, x in zip(self.convs, reversed(maps), strict=True):
            y = conv(x)
            if levels and len(maps) - 1 - len(levels) in self.config.added:
                # In float32, as in the reference.
                y = y + F.interpolate(levels[-1].float(), scale_factor=2.0).to(y.dtype)
            levels.append(y)
        return tuple(reversed(levels[self.config.dropped :]))


class ImageEncoder(nn.Module):
    """A trunk and its neck."""

    def __init__(self, trunk: nn.Module, neck: Neck) -> None:
        super().__init__()
        self.trunk = trunk
        self.neck = neck

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, S, S) -> the coarsest map (B, dim, h, w), then the others, the finest first."""
        *fine, coarsest = self.neck(self.trunk(images))
        return (coarsest, *fine)
