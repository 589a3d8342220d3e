"""RepViT in four stages (names as in timm): EdgeTAM's trunk.

The network of `repvit.py` (size M1) with other names and stages: a stage's map is returned before
its last block, which belongs to the transition to the next stage.

Letters: B images, S input side, C channels, h w a stage's map.

Architecture: Wang et al. 2023 (RepViT, arXiv:2307.09283, section 3). Parameter names are those of
EdgeTAM's checkpoint (Apache-2.0), which are timm's (`timm/models/repvit.py`, Apache-2.0).
"""

from __future__ import annotations

from torch import Tensor, nn

from anymask.models.fast import ConvBn, convolved
from anymask.models.repvit import RepDepthwise, RepViTConfig, SqueezeExcite, squeezed_width

EDGE_TAM = RepViTConfig(depths=(2, 2, 14, 2))
TINY = RepViTConfig(widths=(8, 16, 24, 32), depths=(2, 1, 2, 2))


class StagedRepViTMlp(nn.Module):
    """The MLP as 1 x 1 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvBn(channels, 2 * channels)
        self.conv2 = ConvBn(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> the same
        return convolved(convolved(x, self.conv1, "gelu"), self.conv2)


class StagedRepViTBlock(nn.Module):
    """Spatial mixing, then channel mixing (B, C, h, w); `squeeze` 0 omits the excitation."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.token_mixer = RepDepthwise(channels)
        if squeeze:
            self.se = SqueezeExcite(channels, squeezed_width(channels, squeeze))
        self.channel_mixer = StagedRepViTMlp(channels)
        self.squeezed = bool(squeeze)

    def forward(self, x: Tensor) -> Tensor:
        x = convolved(x, self.token_mixer)
        if self.squeezed:
            x = self.se(x)
        return x + self.channel_mixer(x)


class Downsample(nn.Module):
    """Between two stages: (B, C, h, w) -> (B, C', h / 2, w / 2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.pre_block = StagedRepViTBlock(inputs, 0)
        self.spatial_downsample = ConvBn(inputs, inputs, kernel=3, stride=2, groups=inputs)
        self.channel_downsample = ConvBn(inputs, outputs)
        self.ffn = StagedRepViTMlp(outputs)

    def forward(self, x: Tensor) -> Tensor:
        smaller = convolved(self.pre_block(x), self.spatial_downsample)
        x = convolved(smaller, self.channel_downsample)
        return x + self.ffn(x)


class RepViTStage(nn.Module):
    """Blocks of one width, every other one with squeeze-and-excitation."""

    def __init__(self, inputs: int, channels: int, depth: int, squeeze: int) -> None:
        super().__init__()
        self.enters = inputs != channels
        if self.enters:
            self.downsample = Downsample(inputs, channels)
        self.blocks = nn.Sequential(
            *(StagedRepViTBlock(channels, 0 if index % 2 else squeeze) for index in range(depth))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x) if self.enters else x)


class Stem(nn.Module):
    """(B, 3, S, S) -> (B, C, S / 4, S / 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvBn(3, channels // 2, kernel=3, stride=2)
        self.conv2 = ConvBn(channels // 2, channels, kernel=3, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        return convolved(convolved(images, self.conv1, "gelu"), self.conv2)


class StagedRepViT(nn.Module):
    """The trunk: an image to four maps."""

    def __init__(self, config: RepViTConfig) -> None:
        super().__init__()
        self.body = nn.Module()
        self.body.add_module("stem", Stem(config.widths[0]))
        inputs = config.widths[0]
        for index, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            self.body.add_module(
                f"stages_{index}", RepViTStage(inputs, width, depth, config.squeeze)
            )
            inputs = width

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, S, S) -> four maps (B, C, h, w), at strides 4, 8, 16 and 32."""
        stem, *stages = self.body.children()
        x = stem(images)
        maps = []
        for stage in stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)
