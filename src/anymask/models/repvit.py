"""RepViT with EdgeSAM's neck: EdgeSAM's image encoder.

Letters: B images, C channels, H W the image sides, h w a stage's map.

Architecture: RepViT (Wang et al. 2023, arXiv:2307.09283, section 3; size M1), a convolutional
network with the layout of a ViT whose depthwise branches add up to one convolution in inference;
the neck adds the maps at strides 16 and 32: EdgeSAM (arXiv:2312.06660, section 3.1). Parameter
names are those of `edge_sam/modeling/rep_vit.py` (S-Lab License 1.0, as its weights:
non-commercial).

Differences: any side that is a multiple of 32 works, not only 1024.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.fast import ConvBn, convolved
from anymask.models.layers import add_submodule
from anymask.models.vit import neck

COARSE = "fuse_stage3.op_list.0"  # projection of the coarsest map in the checkpoint


@dataclass(frozen=True, kw_only=True)
class RepViTConfig:
    """Sizes of a RepViT encoder."""

    # Channels of the four stages, at strides 4, 8, 16 and 32
    widths: tuple[int, int, int, int] = (48, 96, 192, 384)
    # Blocks of the four stages, without the strided ones at the start of a stage
    depths: tuple[int, int, int, int] = (3, 3, 15, 2)
    squeeze: int = 4  # Ratio of channels to the hidden channels of squeeze-and-excitation
    # Interpolation of the neck from stride 32 to stride 16
    upsample: Literal["bicubic", "bilinear"] = "bicubic"
    out_channels: int = 256  # Channels of the embedding


EDGE_SAM = RepViTConfig()
TINY = RepViTConfig(widths=(8, 16, 24, 32), depths=(2, 2, 3, 2), out_channels=16)


class RepDepthwise(nn.Module):
    """Three parallel branches: 3 x 3 and 1 x 1 depthwise convolutions, and the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv: nn.Module = ConvBn(channels, channels, kernel=3, groups=channels)
        self.conv1: nn.Module = ConvBn(channels, channels, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.conv1(x) + x

    @torch.no_grad()
    def folded(self) -> nn.Conv2d:
        """The equivalent 3 x 3 convolution; both branches are already folded."""
        wide, narrow = self.conv, self.conv1
        assert isinstance(wide, nn.Conv2d)
        assert isinstance(narrow, nn.Conv2d)
        assert wide.bias is not None
        assert narrow.bias is not None
        wide.weight[:, :, 1:2, 1:2] += narrow.weight + 1
        wide.bias += narrow.bias
        return wide


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation: scales each channel by a factor computed from all channel means."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


def squeezed_width(channels: int, squeeze: int) -> int:
    """Hidden channels of a SqueezeExcite: rounded to a multiple of 8, halves up, as published."""
    return max(8, (channels // squeeze + 4) // 8 * 8)


class RepViTMlp(nn.Module):
    """The MLP as 1 x 1 convolutions, with a residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.m = nn.Sequential(
            ConvBn(channels, 2 * channels), nn.GELU(), ConvBn(2 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        widen, _, narrow = self.m
        return x + convolved(convolved(x, widen, "gelu"), narrow)


class RepViTBlock(nn.Module):
    """Spatial mixing, then channel mixing (B, C, h, w)."""

    def __init__(self, token_mixer: nn.Sequential, channels: int) -> None:
        super().__init__()
        self.token_mixer = token_mixer
        self.channel_mixer = RepViTMlp(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.channel_mixer(self.token_mixer(x))


class RepViT(nn.Module):
    """The image encoder."""

    def __init__(self, config: RepViTConfig) -> None:
        super().__init__()
        self.config = config
        self.features = nn.ModuleList([_stem(config.widths[0]), *_blocks(config)])
        out = config.out_channels
        self.fuse_stage2 = nn.Conv2d(config.widths[2], out, 1, bias=False)
        add_submodule(self, COARSE, nn.Conv2d(config.widths[3], out, 1, bias=False))
        self.neck = neck(out, out)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode normalized images.

        Args:
            images: Images (B, 3, H, W), H and W multiples of 32.

        Returns:
            The embedding: ((B, out_channels, H / 16, W / 16),).
        """
        x = images
        into_last = len(self.features) - 1 - self.config.depths[3]
        for layer in self.features[:into_last]:
            x = layer(x)
        fine = self.fuse_stage2(x)
        for layer in self.features[into_last:]:
            x = layer(x)
        coarse, mode = self.get_submodule(COARSE)(x), self.config.upsample
        coarse = F.interpolate(coarse, scale_factor=2.0, mode=mode, align_corners=False)
        return (self.neck(fine + coarse),)


def _stem(channels: int) -> nn.Sequential:
    """(B, 3, H, W) -> (B, C, H / 4, W / 4)."""
    return nn.Sequential(
        ConvBn(3, channels // 2, kernel=3, stride=2),
        nn.GELU(),
        ConvBn(channels // 2, channels, kernel=3, stride=2),
    )


def _blocks(config: RepViTConfig) -> list[RepViTBlock]:
    blocks = []
    for stage, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
        if stage > 0:
            blocks.append(_entry(config.widths[stage - 1], width))
        for index in range(depth):
            squeezed = index % 2 == 0 and index < depth - 1  # holds for M1, M2 and M3
            mixer = nn.Sequential(RepDepthwise(width))
            if squeezed:
                mixer.append(SqueezeExcite(width, squeezed_width(width, config.squeeze)))
            blocks.append(RepViTBlock(mixer, width))
    return blocks


def _entry(inputs: int, outputs: int) -> RepViTBlock:
    """The strided block between two stages."""
    mixer = nn.Sequential(
        ConvBn(inputs, inputs, kernel=3, stride=2, groups=inputs),
        nn.Identity(),  # keeps the published numbering
        ConvBn(inputs, outputs),
    )
    return RepViTBlock(mixer, outputs)
