"""TinyViT, the image encoder of MobileSAM, SAM-HQ light and TinySAM.

Letters: B images, C channels, H W the image sides, h w a stage's map, w2 tokens in a window.

Architecture: TinyViT (Wu et al. 2022, arXiv:2207.10666, section 3.3), with parts of LeViT,
MobileNetV2 and Swin; as an encoder: MobileSAM (arXiv:2306.14289, section 3). Parameter names are
those of `mobile_sam/modeling/tiny_vit_sam.py` (Apache-2.0). A first stage of convolutions and three
of windowed attention, at strides 4, 8, 16 and 16: the last merging keeps the resolution.

Differences: the published code caches the gathered attention biases at `eval()` and keeps them when
weights are loaded later; here they are gathered in every pass (less than a hundredth of its time),
and an exporter folds the constant. Any side that is a multiple of 16 works, not only 1024. The
convolution blocks have no drop path.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.fast import ConvBn, activated, convolved
from anymask.models.layers import DropPath
from anymask.models.vit import in_windows, neck


@dataclass(frozen=True, kw_only=True)
class TinyViTConfig:
    """Sizes of a TinyViT."""

    widths: tuple[int, int, int, int] = (64, 128, 160, 320)  # Channels of the four stages
    depths: tuple[int, int, int, int] = (2, 2, 6, 2)  # Blocks of the four stages
    heads: tuple[int, int, int] = (4, 5, 10)  # Attention heads of the last three stages
    # Side of the attention windows of the last three stages, in tokens
    windows: tuple[int, int, int] = (7, 14, 7)
    expansion: int = 4  # Ratio of hidden to outer channels in the convolution blocks and the MLPs
    out_channels: int = 256  # Channels of the embedding
    classes: int = 1000  # Size of the unused ImageNet head in the checkpoints
    taps: tuple[int, ...] = ()  # Stages whose outputs are also returned, 0..2


MOBILE_SAM = TinyViTConfig()
SAM_HQ_LIGHT = TinyViTConfig(taps=(1,))
TINY = TinyViTConfig(
    widths=(8, 16, 24, 32),
    depths=(1, 1, 2, 1),
    heads=(2, 3, 4),
    windows=(3, 4, 2),
    out_channels=16,
    classes=10,
    taps=(1,),
)


class InvertedBottleneck(nn.Module):
    """MobileNetV2's block: expand, filter each channel, project, residual (B, C, h, w)."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.conv1 = ConvBn(channels, hidden)
        self.conv2 = ConvBn(hidden, hidden, kernel=3, groups=hidden)
        self.conv3 = ConvBn(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        hidden = convolved(convolved(x, self.conv1, "gelu"), self.conv2, "gelu")
        return F.gelu(x + convolved(hidden, self.conv3))


class Merging(nn.Module):
    """Between two stages: changes the channels, and halves the side if `stride` is 2."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvBn(inputs, outputs)
        self.conv2 = ConvBn(outputs, outputs, kernel=3, stride=stride, groups=outputs)
        self.conv3 = ConvBn(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = convolved(convolved(x, self.conv1, "gelu"), self.conv2, "gelu")
        return convolved(x, self.conv3)


def pair_offsets(side: int) -> Tensor:
    """Index of the learned bias of each pair of tokens in a side x side window.

    Pairs with the same absolute offset (|dy|, |dx|) share one bias; offsets are numbered in reading
    order.

    Returns:
        Indices (side^2, side^2) int64 in 0..side^2 - 1.
    """
    axis = torch.arange(side)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    y, x = y.flatten(), x.flatten()
    return (y[:, None] - y).abs() * side + (x[:, None] - x).abs()


class WindowAttention(nn.Module):
    """Self-attention in a window, with LeViT's translation-invariant bias."""

    offset_index: Tensor

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        self.register_buffer("offset_index", pair_offsets(window), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, w2, C) -> (B, w2, C), where B counts windows."""
        batch, count, _ = tokens.shape
        # Unlike in a ViT, q, k and v of one head are adjacent in this projection.
        qkv = activated(self.norm(tokens), self.qkv).view(batch, count, self.heads, -1)
        q, k, v = qkv.transpose(1, 2).chunk(3, dim=-1)  # each (B, heads, w2, C / heads)
        bias = self.attention_biases[:, self.offset_index].to(q.dtype)[None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2)
        # An explicit copy: the output layout differs between attention kernels, and a traced
        # `reshape` would depend on that of this one.
        in_order = mixed.clone(memory_format=torch.contiguous_format)
        return activated(in_order.flatten(2), self.proj)


class TinyViTMlp(nn.Module):
    """Norm, widen, GELU, narrow."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        return activated(activated(self.norm(x), self.fc1, "gelu"), self.fc2)


class AttentionBlock(nn.Module):
    """Windowed attention, a 3 x 3 convolution across windows, and an MLP (B, C, h, w)."""

    def __init__(self, channels: int, heads: int, window: int, expansion: int) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(channels, heads, window)
        self.mlp = TinyViTMlp(channels, channels * expansion)
        self.drop_path = DropPath()
        self.local_conv = ConvBn(channels, channels, kernel=3, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        # The padding zeros are normalized, too, as in the published code.
        x = x + self.drop_path(in_windows(self._attend, x, self.window))
        x = convolved(x.permute(0, 3, 1, 2), self.local_conv).permute(0, 2, 3, 1)
        x = x + self.drop_path(self.mlp(x))
        return x.permute(0, 3, 1, 2)

    def _attend(self, x: Tensor) -> Tensor:  # (B, h, w, C) -> the same
        return self.attn(x.flatten(1, 2)).reshape(x.shape)


class TinyViTStage(nn.Module):
    """Blocks of one width, then the transition to the next stage (B, C, h, w)."""

    def __init__(self, blocks: list[nn.Module], downsample: Merging | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class TinyViTPatchEmbed(nn.Module):
    """The stem: (B, 3, H, W) -> (B, C, H / 4, W / 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvBn(3, channels // 2, kernel=3, stride=2),
            nn.GELU(),
            ConvBn(channels // 2, channels, kernel=3, stride=2),
        )

    def forward(self, images: Tensor) -> Tensor:
        return convolved(convolved(images, self.seq[0], "gelu"), self.seq[2])


class TinyViT(nn.Module):
    """The image encoder; `norm_head` and `head` exist only to load the checkpoints."""

    def __init__(self, config: TinyViTConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = TinyViTPatchEmbed(config.widths[0])
        self.layers = nn.ModuleList(_stage(config, index) for index in range(4))
        self.norm_head = nn.LayerNorm(config.widths[-1])
        self.head = nn.Linear(config.widths[-1], config.classes)
        self.neck = neck(config.widths[-1], config.out_channels)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode normalized images.

        Args:
            images: Images (B, 3, H, W), H and W multiples of 16.

        Returns:
            The embedding (B, out_channels, H / 16, W / 16), then the output of each stage in
            `config.taps`, channels first; stages 0, 1 and 2 are at strides 8, 16, 16.
        """
        x = self.patch_embed(images)
        tapped = []
        for index, stage in enumerate(self.layers):
            x = stage(x)
            if index in self.config.taps:
                tapped.append(x)
        return (self.neck(x), *tapped)


def _stage(config: TinyViTConfig, index: int) -> TinyViTStage:
    width, depth = config.widths[index], config.depths[index]
    blocks: list[nn.Module] = []
    for _ in range(depth):
        if index == 0:
            blocks.append(InvertedBottleneck(width, config.expansion))
        else:
            heads, window = config.heads[index - 1], config.windows[index - 1]
            blocks.append(AttentionBlock(width, heads, window, config.expansion))
    if index == 3:
        return TinyViTStage(blocks, None)
    return TinyViTStage(
        blocks, Merging(width, config.widths[index + 1], stride=1 if index == 2 else 2)
    )
