"""A frozen vision transformer beside a trainable EfficientNet: the backbone of `small`.

The transformer is ViT-S/14 of DINOv2 (Oquab et al. 2023, arXiv 2304.07193; architecture of
Dosovitskiy et al. 2020, arXiv 2010.11929, with layer scale). It is not trained here: its maps are
concatenated with those of the trainable network. Differences: layer scale and the normalization of
the colors are folded into the weights; queries, keys and values are one product; the image is
downscaled by 14/16, so that a patch of 14 pixels matches the grid of stride 16.

Letters: B images, H W an image, h w its cells at stride 16, S a square's side, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.mobilenet import EfficientNetLite0

PATCH, IMAGE_STRIDE = 14, 16  # pixels of the downscaled image, and of the image
POSITION_TABLE_SIDE = 37  # side of the position table: 518 pixels
DIM, HEADS, DEPTH = 384, 6, 12
TAKEN = (2, 5, 8, 11)  # blocks whose tokens are returned
EPSILON = 1e-6
CUBIC = -0.75  # Keys's constant, as in torch and OpenCV


class FrozenBlock(nn.Module):
    """Pre-norm attention and MLP (Dosovitskiy et al. 2020, equations 2 and 3)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim, EPSILON)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, EPSILON)
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:  # (B, T, C) -> the same
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(self.norm1(tokens)).chunk(3, dim=-1)
        )
        attended = F.scaled_dot_product_attention(q, k, v)
        tokens = tokens + self.proj(attended.transpose(1, 2).flatten(2))
        return tokens + self.fc2(F.gelu(self.fc1(self.norm2(tokens))))


class FrozenVit(nn.Module):
    """Images in -1..1 -> tokens of four blocks on the grid of stride 16."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, DIM, PATCH, PATCH)
        self.first = nn.Parameter(torch.zeros(DIM))  # the class token with its position
        self.positions = nn.Parameter(torch.zeros(POSITION_TABLE_SIDE, POSITION_TABLE_SIDE, DIM))
        self.blocks = nn.ModuleList(FrozenBlock(DIM, HEADS) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(DIM, EPSILON)

    def forward(self, images: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, 4 * C, h, w)
        h, w = images.shape[-2] // IMAGE_STRIDE, images.shape[-1] // IMAGE_STRIDE
        small = shrinking(h, images) @ images @ shrinking(w, images).t()
        # Non-square images are in the upper left of a square, as in training.
        places = bicubic(torch.sym_max(h, w), images)
        table = torch.einsum("ha,wb,abc->hwc", places[:h], places[:w], self.positions)
        cells = self.patch(small).flatten(2).transpose(1, 2) + table.flatten(0, 1)
        tokens = torch.cat([self.first.expand(images.shape[0], 1, DIM), cells], dim=1)
        taken = []
        for n, block in enumerate(self.blocks):
            tokens = block(tokens)
            if n in TAKEN:
                taken.append(self.norm(tokens)[:, 1:])
        return torch.cat(taken, dim=-1).transpose(1, 2).unflatten(2, (h, w))


def shrinking(cells: int, like: Tensor) -> Tensor:  # -> (14 * cells, 16 * cells)
    """Matrix that resizes 16 pixels per cell to 14: antialiased bilinear."""
    ratio = IMAGE_STRIDE / PATCH
    before = torch.arange(IMAGE_STRIDE * cells, device=like.device, dtype=torch.float32) + 0.5
    after = torch.arange(PATCH * cells, device=like.device, dtype=torch.float32) + 0.5
    weights = (1 - (before - ratio * after[:, None]).abs() / ratio).clamp(min=0)
    return (weights / weights.sum(1, keepdim=True)).to(like.dtype)


def bicubic(cells: int, like: Tensor) -> Tensor:  # -> (cells, POSITION_TABLE_SIDE)
    """Matrix that resizes the position table to another number of cells: bicubic (Keys 1981), with
    a replicated border."""
    after = torch.arange(cells, device=like.device, dtype=torch.float32) + 0.5
    middle = after * (POSITION_TABLE_SIDE / cells) - 0.5
    steps = torch.arange(-1, 3, device=like.device, dtype=torch.float32)
    source = middle.floor()[:, None] + steps  # (cells, 4)
    x = (middle[:, None] - source).abs()
    near = ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1
    far = ((CUBIC * x - 5 * CUBIC) * x + 8 * CUBIC) * x - 4 * CUBIC
    weights = torch.where(x <= 1, near, far)
    index = torch.arange(POSITION_TABLE_SIDE, device=like.device, dtype=torch.float32)
    hits = (source.clamp(0, POSITION_TABLE_SIDE - 1)[..., None] == index).to(torch.float32)
    return (weights[..., None] * hits).sum(1).to(like.dtype)


class EfficientNetBesideVit(nn.Module):
    """Maps at strides 4 to 32: those of EfficientNet, the last two with the transformer's."""

    TAP_CHANNELS = (*EfficientNetLite0.TAP_CHANNELS[:2], 112 + len(TAKEN) * DIM, 320 + DIM)

    def __init__(self) -> None:
        super().__init__()
        self.cnn = EfficientNetLite0()
        self.vit = FrozenVit().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> (B, 24, H/4, ..), (B, 40, ..), (B, 1648, h, w), (B, 704, h/2, w/2)."""
        x4, x8, x16, x32 = self.cnn(images)
        with torch.no_grad():
            features = self.vit(images)
        last = F.avg_pool2d(features[:, -DIM:], 2)
        return x4, x8, torch.cat([x16, features], dim=1), torch.cat([x32, last], dim=1)

    def load_folded(self, arrays: dict[str, Tensor]) -> None:
        """Load `cnn.stem.weight`, ..., `vit.blocks.0.qkv.weight`, ...; the rest is ignored."""
        self.load_state_dict({name: arrays[name].to(torch.float32) for name in self.state_dict()})
