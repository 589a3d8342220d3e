"""XMem: video object segmentation with three memories.

A ResNet-50 encodes keys of a frame, a ResNet-18 encodes values of the frame and one object's mask.
The decoder reads values by key similarity together with a hidden state for each object, a
GRU over frames (Cheng and Schwing 2022, arXiv:2207.07115, sections 3.2 to 3.4; hkchengrex/XMem,
MIT, for names and numbers). `xmem_memory` holds the memories. Objects are the batch.

Letters: N objects, W the width of the network, h w the padded frame, h16 w16 a map at stride 16.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask_families.families import XMEM

STRIDE = 16  # input sides are multiples of it
CERTAIN = 1e-7  # probabilities are clamped to this distance from 0 and 1
WIDTH = 64  # channels of the first convolution; all others are multiples of it


class Residual(nn.Module):
    """ResNet block: two 3 x 3 convolutions, or a bottleneck with the stride in its middle."""

    def __init__(self, c_in: int, c_mid: int, c_out: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        plan = (
            [(c_in, c_mid, 1, 1), (c_mid, c_mid, 3, stride), (c_mid, c_out, 1, 1)]
            if bottleneck
            else [(c_in, c_mid, 3, stride), (c_mid, c_out, 3, 1)]
        )
        self.steps = len(plan)
        for number, (before, after, kernel, step) in enumerate(plan, 1):
            conv = nn.Conv2d(before, after, kernel, step, kernel // 2, bias=False)
            self.add_module(f"conv{number}", conv)
            self.add_module(f"bn{number}", nn.BatchNorm2d(after))
        self.downsample: nn.Sequential | None = None
        if stride != 1 or c_in != c_out:
            conv = nn.Conv2d(c_in, c_out, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:  # (N, c_in, h, w) -> (N, c_out, h / stride, ...)
        kept = x if self.downsample is None else self.downsample(x)
        for number in range(1, self.steps + 1):
            x = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x))
            x = F.relu(x) if number < self.steps else x
        return F.relu(x + kept)


def _stage(c_in: int, c_mid: int, blocks: int, stride: int, bottleneck: bool) -> nn.Sequential:
    c_out = 4 * c_mid if bottleneck else c_mid
    return nn.Sequential(
        *(
            Residual(*((c_in if one == 0 else c_out), c_mid, c_out),
                     stride if one == 0 else 1, bottleneck)
            for one in range(blocks)
        )
    )  # fmt: skip


class KeyEncoder(nn.Module):
    """ResNet-50 up to stride 16."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.res2 = _stage(width, width, 3, 1, bottleneck=True)
        self.layer2 = _stage(4 * width, 2 * width, 4, 2, bottleneck=True)
        self.layer3 = _stage(8 * width, 4 * width, 6, 2, bottleneck=True)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps at strides 16, 8 and 4 with 16, 8 and 4 W channels."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(image))), 3, 2, 1)
        f4 = self.res2(x)
        f8 = self.layer2(f4)
        return self.layer3(f8), f8, f4


class KeyProjection(nn.Module):
    """Keys, shrinkage (how sharply a memory cell matches) and selection (channels of a query)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.key_proj = nn.Conv2d(16 * width, width, 3, padding=1)
        self.d_proj = nn.Conv2d(16 * width, 1, 3, padding=1)
        self.e_proj = nn.Conv2d(16 * width, width, 3, padding=1)

    def forward(self, f16: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.key_proj(f16), self.d_proj(f16).square() + 1, self.e_proj(f16).sigmoid()


class PreActivated(nn.Module):
    """Residual block that activates before each of its two convolutions."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.downsample = None if c_in == c_out else nn.Conv2d(c_in, c_out, 3, padding=1)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(F.relu(self.conv1(F.relu(x))))
        return out + (x if self.downsample is None else self.downsample(x))


class ChannelGate(nn.Module):
    """Weights channels by their mean and maximum (Woo et al. 2018, arXiv:1807.06521)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers = nn.Linear(channels, channels // 16), nn.Linear(channels // 16, channels)
        self.mlp = nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1])

    def forward(self, x: Tensor) -> Tensor:
        logits = self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3)))
        return x * logits.sigmoid()[:, :, None, None]


class SpatialGate(nn.Module):
    """Weights places by the maximum and the mean of their channels."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.Sequential()
        self.spatial.add_module("conv", nn.Conv2d(2, 1, 7, padding=3))

    def forward(self, x: Tensor) -> Tensor:
        both = torch.stack([x.amax(1), x.mean(1)], 1)
        return x * self.spatial(both).sigmoid()


class ObjectFusion(nn.Module):
    """Fuses a map of the frame with maps of each object."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.block1 = PreActivated(c_in, c_out)
        self.attention = nn.Sequential()
        self.attention.add_module("ChannelGate", ChannelGate(c_out))
        self.attention.add_module("SpatialGate", SpatialGate())
        self.block2 = PreActivated(c_out, c_out)

    def forward(self, shared: Tensor, own: Tensor) -> Tensor:  # (1, C, h16, w16), (N, C', ...)
        x = self.block1(torch.cat([shared.expand(len(own), -1, -1, -1), own], 1))
        return self.block2(x + self.attention(x))


class HiddenUpdate(nn.Module):
    """GRU step of the hidden state (N, W, h16, w16)."""

    def __init__(self, c_in: int, width: int) -> None:
        super().__init__()
        self.transform = nn.Conv2d(c_in + width, 3 * width, 3, padding=1)

    def step(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Next hidden state. The new value does not depend on the forget gate."""
        forget, update, new = self.transform(torch.cat([x, hidden], 1)).chunk(3, 1)
        update = update.sigmoid()
        return forget.sigmoid() * hidden * (1 - update) + update * new.tanh()


class DecoderUpdate(HiddenUpdate):
    """GRU step on three maps of the decoder."""

    def __init__(self, width: int) -> None:
        super().__init__(4 * width, width)
        self.g16_conv = nn.Conv2d(8 * width, 4 * width, 1)
        self.g8_conv = nn.Conv2d(4 * width, 4 * width, 1)
        self.g4_conv = nn.Conv2d(4 * width + 1, 4 * width, 1)

    def forward(self, maps: tuple[Tensor, Tensor, Tensor], hidden: Tensor) -> Tensor:
        g16, g8, g4 = maps
        g8, g4 = F.avg_pool2d(g8, 2), F.avg_pool2d(g4, 4)
        return self.step(self.g16_conv(g16) + self.g8_conv(g8) + self.g4_conv(g4), hidden)


class ValueEncoder(nn.Module):
    """ResNet-18 up to stride 16 on a frame, an object's mask, and the sum of all other masks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(5, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, 2, 1, bottleneck=False)
        self.layer2 = _stage(width, 2 * width, 2, 2, bottleneck=False)
        self.layer3 = _stage(2 * width, 4 * width, 2, 2, bottleneck=False)
        self.fuser = ObjectFusion(20 * width, 8 * width)
        self.hidden_reinforce = HiddenUpdate(8 * width, width)

    def forward(
        self, image: Tensor, f16: Tensor, masks: Tensor, others: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Encode masks.

        Args:
            image: Frame (1, 3, h, w).
            f16: Its map at stride 16.
            masks: Probabilities of each object (N, h, w).
            others: Sum of the other objects' probabilities (N, h, w).
            hidden: Hidden states (N, W, h16, w16).

        Returns:
            Values (N, 8 W, h16, w16) and the next hidden states.
        """
        planes = torch.stack([masks, others], 1)
        x = self.conv1(torch.cat([image.expand(len(masks), -1, -1, -1), planes], 1))
        x = F.relu(F.max_pool2d(self.bn1(x), 3, 2, 1))
        x = self.fuser(f16, self.layer3(self.layer2(self.layer1(x))))
        return x, self.hidden_reinforce.step(x, hidden)


class Upsampling(nn.Module):
    """Doubles the sides of the objects' maps and adds a map of the frame."""

    def __init__(self, skip: int, c_in: int, c_out: int) -> None:
        super().__init__()
        self.skip_conv = nn.Conv2d(skip, c_in, 3, padding=1)
        self.out_conv = PreActivated(c_in, c_out)

    def forward(self, skip: Tensor, x: Tensor) -> Tensor:
        wide = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return self.out_conv(self.skip_conv(skip) + wide)


class Decoder(nn.Module):
    """Mask logits and next hidden states from the values that were read."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fuser = ObjectFusion(25 * width, 8 * width)
        self.hidden_update = DecoderUpdate(width)
        self.up_16_8 = Upsampling(8 * width, 8 * width, 4 * width)
        self.up_8_4 = Upsampling(4 * width, 4 * width, 4 * width)
        self.pred = nn.Conv2d(4 * width, 1, 3, padding=1)

    def forward(
        self, maps: tuple[Tensor, Tensor, Tensor], values: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (N, h, w) and hidden states (N, W, h16, w16)."""
        f16, f8, f4 = maps
        g16 = self.fuser(f16, torch.cat([values, hidden], 1))
        g8 = self.up_16_8(f8, g16)
        g4 = self.up_8_4(f4, g8)
        logits = self.pred(F.relu(g4))
        hidden = self.hidden_update((g16, g8, torch.cat([g4, logits], 1)), hidden)
        wide = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
        return wide[:, 0], hidden


@dataclass(frozen=True, eq=False)
class EncodedFrame:
    """A frame's padded image (1, 3, h, w), keys (W, L), shrinkage (1, L), selection (W, L) and
    maps at strides 16, 8 and 4; L = h16 * w16."""

    image: Tensor
    keys: Tensor
    shrinkage: Tensor
    selection: Tensor
    maps: tuple[Tensor, Tensor, Tensor]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns at stride 16."""
        return self.maps[0].shape[2], self.maps[0].shape[3]


class XMem(nn.Module):
    """The network, without its memories.

    Args:
        width: Width W; the published model has 64.
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.spec = XMEM
        self.width = width
        self.key_encoder = KeyEncoder(width)
        self.value_encoder = ValueEncoder(width)
        self.key_proj = KeyProjection(width)
        self.decoder = Decoder(width)

    def encode(self, image: Tensor) -> EncodedFrame:
        """Encode a normalized image (1, 3, h, w), whose sides are multiples of 16."""
        maps = self.key_encoder(image)
        keys, shrinkage, selection = (one[0].flatten(1) for one in self.key_proj(maps[0]))
        return EncodedFrame(image, keys, shrinkage, selection, maps)


def aggregate(probabilities: Tensor) -> Tensor:  # (N, h, w) -> (N + 1, h, w)
    """Soft aggregation of objects and background, which comes first (Oh et al. 2019, STM)."""
    background = (1 - probabilities).prod(0, keepdim=True)
    whole = torch.cat([background, probabilities]).clamp(CERTAIN, 1 - CERTAIN)
    return torch.logit(whole).softmax(0)
