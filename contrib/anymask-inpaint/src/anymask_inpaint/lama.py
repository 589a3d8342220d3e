"""LaMa's generator: inpaints the hole of an image.

A ResNet with a global receptive field in every block: three quarters of the channels are convolved
in the frequency domain (Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier
Convolutions", 2022; Chi et al., "Fast Fourier Convolution", 2020; advimman/lama
saicinpainting/training/modules/ffc.py, Apache-2.0). Names are the published checkpoint's.

Letters: B images, C channels, L of them local and G global, h w a map.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Parts = tuple[Tensor, Tensor | None]  # local (B, L, h, w) and global (B, G, h, w)

GLOBAL = 0.75  # share of global channels in a block
DOWN = 3  # number of downscalings by 2
STEP = 2**DOWN  # input sides are multiples of it


@dataclass(frozen=True, kw_only=True)
class LamaConfig:
    """Sizes of a generator; the defaults are those of big-lama.

    Attributes:
        width: Channels at full resolution.
        blocks: Residual blocks at an eighth of the resolution.
    """

    width: int = 64
    blocks: int = 18

    @classmethod
    def of(cls, names: Mapping[str, Sequence[int]]) -> LamaConfig:
        """Sizes of a checkpoint, from its shapes: parameter name -> shape."""
        found = [
            re.match(r"generator\.model\.(\d+)\.conv1\.ffc\.convl2l\.weight$", n) for n in names
        ]
        return cls(
            width=names["generator.model.1.ffc.convl2l.weight"][0],
            blocks=len({one[1] for one in found if one}),
        )


class SpectralTransform(nn.Module):
    """Global to global: a 1 x 1 convolution in the frequency domain."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        half = outside // 2
        self.conv1 = nn.Sequential(
            nn.Conv2d(inside, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(inplace=True)
        )
        self.fu = FourierUnit(half)
        self.conv2 = nn.Conv2d(half, outside, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, G, h, w) -> (B, G, h, w)
        x = self.conv1(x)
        out: Tensor = self.conv2(x + self.fu(x))
        return out


class FourierUnit(nn.Module):
    """Convolution of frequencies, with real and imaginary parts as channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_layer = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(2 * channels)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> (B, C, h, w)
        batch, channels, height, width = x.shape
        waves = torch.view_as_real(torch.fft.rfft2(x, norm="ortho"))  # (B, C, h, w / 2 + 1, 2)
        waves = waves.permute(0, 1, 4, 2, 3).reshape(batch, 2 * channels, height, -1)
        waves = torch.relu(self.bn(self.conv_layer(waves)))
        waves = waves.reshape(batch, channels, 2, height, -1).permute(0, 1, 3, 4, 2).contiguous()
        back: Tensor = torch.fft.irfft2(
            torch.view_as_complex(waves), s=(height, width), norm="ortho"
        )
        return back


class FourierConvolution(nn.Module):
    """Convolution from local and global to local and global channels; empty parts are omitted."""

    def __init__(
        self, inside: tuple[int, int], outside: tuple[int, int], kernel: int, stride: int, pad: int
    ) -> None:
        super().__init__()

        def convolution(first: int, second: int) -> nn.Conv2d | None:
            if not first or not second:
                return None
            return nn.Conv2d(first, second, kernel, stride, pad, bias=False, padding_mode="reflect")

        self.convl2l = convolution(inside[0], outside[0])
        self.convl2g = convolution(inside[0], outside[1])
        self.convg2l = convolution(inside[1], outside[0])
        both = inside[1] and outside[1]
        self.convg2g = SpectralTransform(inside[1], outside[1]) if both else None

    def forward(self, parts: Parts) -> Parts:
        near, far = parts
        assert self.convl2l is not None  # every layer has local channels
        local = self.convl2l(near)
        if far is not None and self.convg2l is not None:
            local = local + self.convg2l(far)
        if self.convl2g is None:
            return local, None
        wide = self.convl2g(near)
        return local, wide if far is None or self.convg2g is None else wide + self.convg2g(far)


class FourierLayer(nn.Module):
    """A Fourier convolution with batch norm and ReLU for each part."""

    def __init__(
        self,
        inside: tuple[int, int],
        outside: tuple[int, int],
        kernel: int = 3,
        stride: int = 1,
        pad: int = 1,
    ) -> None:
        super().__init__()
        self.ffc = FourierConvolution(inside, outside, kernel, stride, pad)
        self.bn_l = nn.BatchNorm2d(outside[0])
        self.bn_g = nn.BatchNorm2d(outside[1]) if outside[1] else None

    def forward(self, parts: Parts) -> Parts:
        near, far = self.ffc(parts)
        wide = None if far is None or self.bn_g is None else torch.relu(self.bn_g(far))
        return torch.relu(self.bn_l(near)), wide


class FourierBlock(nn.Module):
    """Two Fourier layers with a residual."""

    def __init__(self, split: tuple[int, int]) -> None:
        super().__init__()
        self.conv1, self.conv2 = FourierLayer(split, split), FourierLayer(split, split)

    def forward(self, parts: Parts) -> Parts:
        near, far = self.conv2(self.conv1(parts))
        first, second = parts
        assert far is not None and second is not None  # noqa: PT018 - one condition
        return near + first, far + second


class Lama(nn.Module):
    """The generator: image without the hole, and the hole (B, 4, H, W) -> (B, 3, H, W) in 0..1.

    H and W are multiples of 8.
    """

    def __init__(self, config: LamaConfig) -> None:
        super().__init__()
        width, last = config.width, config.width * STEP
        split = (last - int(GLOBAL * last), int(GLOBAL * last))
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            FourierLayer((4, 0), (width, 0), kernel=7, pad=0),
            *(
                FourierLayer((width * 2**n, 0), (width * 2 ** (n + 1), 0), stride=2)
                for n in range(DOWN - 1)
            ),
            FourierLayer((last // 2, 0), split, stride=2),
            *(FourierBlock(split) for _ in range(config.blocks)),
            nn.Identity(),  # concatenates the parts
        ]
        for n in range(DOWN):
            wide = last // 2**n
            layers += [
                nn.ConvTranspose2d(wide, wide // 2, 3, stride=2, padding=1, output_padding=1),
                nn.BatchNorm2d(wide // 2),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Sigmoid()]
        self.generator = nn.Module()
        self.generator.model = nn.ModuleList(layers)

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:  # (B, 3, H, W), (B, 1, H, W)
        x = torch.cat([image * (1 - hole), hole], dim=1)
        parts: Parts = (x, None)
        for layer in self.generator.model:  # type: ignore[union-attr]
            if isinstance(layer, FourierLayer | FourierBlock):
                parts = layer(parts)
                continue
            near, far = parts
            parts = layer(near if far is None else torch.cat([near, far], dim=1)), None
        return parts[0]


def pad_to_step(image: Tensor) -> Tensor:  # (B, C, h, w) -> (B, C, H, W)
    """Pad right and bottom by mirroring to multiples of 8, border pixels included."""
    for axis in (2, 3):
        more = -image.shape[axis] % STEP
        mirrored = image.flip(axis).narrow(axis, 0, min(more, image.shape[axis]))
        image = torch.cat([image, mirrored], dim=axis)
    return image
