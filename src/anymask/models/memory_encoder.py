"""Memory encoder: encodes a frame's features and an object's mask as a memory map.

Source: Ravi et al. 2024 (SAM 2, arXiv:2408.00714, section 4, "Memory encoder and memory bank", and
appendix D.1); sam2 (Apache-2.0), `modeling/memory_encoder.py`, for names and numbers. Difference:
the frame is projected once for all objects.

Letters: N objects, S input side, C channels of the image, Cm of a memory, h w the image features.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.layers import LayerNorm2d, add_submodule

EPSILON = 1e-6
MASK, FUSER = "mask_downsampler.encoder", "fuser.layers"  # names in the checkpoints


@dataclass(frozen=True, kw_only=True)
class MemoryEncoderConfig:
    """Sizes of a memory encoder."""

    dim: int = 256  # Channels of the image features
    out_dim: int = 64  # Channels of a memory
    steps: int = 4  # Number of times that the mask is downscaled by 2 to the features' size
    depth: int = 2  # Blocks that fuse the mask with the frame


class FuserBlock(nn.Module):
    """A ConvNeXt block (Liu et al. 2022, arXiv:2201.03545, section 2)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = LayerNorm2d(dim, EPSILON)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(EPSILON * self.norm.weight.detach().clone())

    def forward(self, x: Tensor) -> Tensor:  # (N, C, h, w) -> the same
        y = self.norm(self.dwconv(x)).permute(0, 2, 3, 1)
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + y.permute(0, 3, 1, 2)


class MemoryEncoder(nn.Module):
    """Encodes the memory of a frame for each object."""

    def __init__(self, config: MemoryEncoderConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []  # each step of the mask multiplies its channels by four
        for step in range(config.steps):
            inputs, outputs = 4**step, 4 ** (step + 1)
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), LayerNorm2d(outputs), nn.GELU()]
        layers.append(nn.Conv2d(4**config.steps, config.dim, 1))
        add_submodule(self, MASK, nn.Sequential(*layers))
        self.pix_feat_proj = nn.Conv2d(config.dim, config.dim, 1)
        blocks = (FuserBlock(config.dim) for _ in range(config.depth))
        add_submodule(self, FUSER, nn.Sequential(*blocks))
        self.out_proj = nn.Conv2d(config.dim, config.out_dim, 1)

    def forward(self, image: Tensor, masks: Tensor) -> Tensor:
        """Features (1 or N, C, h, w), scaled masks (N, 1, S, S) -> (N, Cm, h, w)."""
        features = self.pix_feat_proj(image) + self.get_submodule(MASK)(masks)
        return self.out_proj(self.get_submodule(FUSER)(features))
