"""`nano` and `small`, the bundled models: four masks per prompt.

An ImageNet backbone (MobileNetV2 for `nano`, EfficientNet-Lite0 beside a frozen vision transformer
for `small`) with a light neck, SAM's prompt tokens (Kirillov et al. 2023, section 3 and appendix A)
combined with dense prompt maps, a light two-way decoder, four masks at stride 4 and a quality head
with the masks as input. The dense maps encode clicks as gaussians of three widths, the soft inside
of the box, the previous mask, and the similarity of every place to the clicked ones: with few
training images, the decoder requires them to learn to follow a prompt. Further differences to SAM:
no batch norm, ReLU in the upscaler, image features sampled under each click, high-resolution skips,
a single attention from the image to the tokens, empty points masked out of attention.

Letters: B images, N prompts, P points, T tokens and masks (1 + 3), C channels, H heads, D head
width, h w a feature map, L = h * w places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.masks import ALL_KINDS, ModelSpec
from anymask.models.frozen_vit import EfficientNetBesideVit
from anymask.models.layers import LayerNorm2d, ModelParts, Pointwise
from anymask.models.mobilenet import MobileNetV2


class SelfAttention(nn.Module):
    """Multi-head self-attention among few tokens."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, placed: Tensor, content: Tensor, bias: Tensor | None = None) -> Tensor:
        """Queries and keys (N, T, C), values (N, T, C), bias (N, 1, 1, T) -> (N, T, C)."""
        q, k, v = (
            split_heads(x, self.heads)
            for x in (self.q_proj(placed), self.k_proj(placed), self.v_proj(content))
        )
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        shares = torch.softmax(scores if bias is None else scores + bias, dim=-1)
        return self.out_proj((shares @ v).transpose(1, 2).flatten(2))


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(N, T, H * D) -> (N, H, T, D)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class CrossAttention(nn.Module):
    """Attention between few tokens and many image places, without projecting the image.

    The product of a projected image and a token is the product of the image and the projected
    token: (W x) . q = x . (W^T q). With ten tokens and a thousand places that halves the work, and
        no tensor
    of the image's size is transposed.
    """

    def __init__(self, dim: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (inner // heads) ** -0.5
        self.token = nn.Linear(dim, inner)  # queries, or keys, of the tokens
        self.image = nn.Parameter(torch.empty(heads, inner // heads, dim))
        self.carry = nn.Parameter(torch.empty(heads, inner // heads, dim))
        self.value = nn.Linear(inner, dim)
        nn.init.xavier_uniform_(self.image.view(inner, dim))
        nn.init.xavier_uniform_(self.carry.view(inner, dim))

    def image_queries(self, tokens: Tensor) -> Tensor:
        """Each head's tokens in the image's channels: (N, T, C) -> (N, H * T, C)."""
        return (split_heads(self.token(tokens), self.heads) @ self.image).flatten(1, 2) * self.scale


class TokenToImage(CrossAttention):
    """Attention from tokens to the image."""

    def forward(self, tokens: Tensor, placed: Tensor, image: Tensor) -> Tensor:
        """(N, T, C), image with and without positions (N, L, C) -> (N, T, C)."""
        shares = torch.softmax(self.image_queries(tokens) @ placed.transpose(1, 2), dim=-1)
        attended = (shares @ image).unflatten(1, (self.heads, -1))  # (N, H, T, C)
        return self.value((attended @ self.carry.transpose(1, 2)).transpose(1, 2).flatten(2))


class ImageToToken(CrossAttention):
    """Attention from the image to the tokens."""

    def forward(self, tokens: Tensor, content: Tensor, placed: Tensor, bias: Tensor) -> Tensor:
        """Tokens with and without positions (N, T, C), (N, L, C), (N, 1, 1, T) -> (N, L, C)."""
        scores = placed @ self.image_queries(tokens).transpose(1, 2)  # (N, L, H * T)
        shares = torch.softmax(scores.unflatten(-1, (self.heads, -1)) + bias, dim=-1).flatten(2)
        values = split_heads(content @ self.carry.flatten(0, 1).t(), self.heads)  # (N, H, T, D)
        weights = self.value.weight.t().unflatten(0, (self.heads, -1))  # (H, D, C)
        return shares @ (values @ weights).flatten(1, 2) + self.value.bias


GAUSSIAN_WIDTHS = (0.012, 0.04, 0.12)  # of the gaussians, relative to the model side
SAMPLE_WIDTH = 0.6  # of the gaussian that samples a feature at a click, in cells
BOX_SHARPNESS = 320.0  # of the soft box edge, per model side
PROMPT_MAPS = 2 * len(GAUSSIAN_WIDTHS) + 2 + 2 + 4  # clicks, box, mask, likeness


def cell_centers(h: int, w: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """x (w,) and y (h,) of the cell centres, 0..1."""
    x = (torch.arange(w, device=like.device, dtype=like.dtype) + 0.5) / w
    y = (torch.arange(h, device=like.device, dtype=like.dtype) + 0.5) / h
    return x, y


def gaussians(points: Tensor, width: float, h: int, w: int) -> Tensor:
    """(N, P, 2) points in 0..1 -> (N, P, h, w) gaussians of height one."""
    x, y = cell_centers(h, w, points)
    along_x = torch.exp(-0.5 * ((points[..., 0:1] - x) / width) ** 2)  # (N, P, w)
    along_y = torch.exp(-0.5 * ((points[..., 1:2] - y) / width) ** 2)  # (N, P, h)
    return along_y[..., :, None] * along_x[..., None, :]


def sample_at(points: Tensor, features: Tensor) -> Tensor:
    """Sample features at points: (N, P, 2) in 0..1, (1 or N, C, h, w) -> (N, P, C)."""
    h, w = features.shape[-2:]
    window = gaussians(points, SAMPLE_WIDTH / w, h, w).flatten(2)  # (N, P, L)
    window = window / (window.sum(-1, keepdim=True) + 1e-6)
    return window @ features.flatten(2).transpose(1, 2)


def likeness(clicked: Tensor, features: Tensor) -> Tensor:
    """Cosine similarity of places to clicks: (N, P, C), (1 or N, C, h, w) -> (N, P, h, w)."""
    flat = features.flatten(2)
    length = (flat * flat).sum(1, keepdim=True).sqrt().clamp(min=1e-4)
    cosine = F.normalize(clicked, dim=-1, eps=1e-4) @ flat / length
    return cosine.unflatten(-1, (features.shape[-2], features.shape[-1]))


def strongest(maps: Tensor, chosen: Tensor) -> Tensor:
    """Maximum over the chosen points, 0 if none: (N, P, h, w), (N, P) -> (N, 1, h, w)."""
    return (maps * chosen[..., None, None]).amax(dim=1, keepdim=True).clamp(min=0)


def box_corners(points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(N, P, 2), (N, P) -> corners (N, 2, 2), zeros without a box; presence of a box (N,)."""
    first, second = ((labels == label).to(points.dtype) for label in (2, 3))
    corners = torch.stack(
        [(points * first[..., None]).sum(1), (points * second[..., None]).sum(1)], dim=1
    )
    return corners, first.amax(dim=1)


def soft_box(corners: Tensor, present: Tensor, h: int, w: int) -> Tensor:
    """(N, 2, 2) corners in 0..1, (N,) -> (N, 1, h, w), near 1 inside, 0 without a box."""
    x, y = cell_centers(h, w, corners)
    left, top = corners[:, 0, 0:1], corners[:, 0, 1:2]
    right, bottom = corners[:, 1, 0:1], corners[:, 1, 1:2]
    inside_x = torch.sigmoid((x - left) * BOX_SHARPNESS) * torch.sigmoid(
        (right - x) * BOX_SHARPNESS
    )
    inside_y = torch.sigmoid((y - top) * BOX_SHARPNESS) * torch.sigmoid(
        (bottom - y) * BOX_SHARPNESS
    )
    inside = inside_y[:, :, None] * inside_x[:, None, :]
    return (inside * present[:, None, None])[:, None]


class DensePrompts(nn.Module):
    """Encodes dense prompt maps at stride 8 as additions at strides 16 and 8."""

    def __init__(self, dim: int, fine_dim: int, hidden: int = 32) -> None:
        super().__init__()
        self.mix = nn.Conv2d(PROMPT_MAPS, hidden, 3, padding=1)
        self.coarse = nn.Linear(4 * hidden, dim)
        self.fine = nn.Linear(hidden, fine_dim)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """(N, PROMPT_MAPS, 2h, 2w) -> (N, h * w, dim), (N, 2h, 2w, fine_dim)."""
        x = F.relu(self.mix(maps)).permute(0, 2, 3, 1)
        h, w = x.shape[1] // 2, x.shape[2] // 2
        cells = x.unflatten(2, (w, 2)).unflatten(1, (h, 2)).permute(0, 1, 3, 2, 4, 5)
        return self.coarse(cells.flatten(3).flatten(1, 2)), self.fine(x)


def draw_maps(
    points: Tensor,
    labels: Tensor,
    masks: Tensor,
    clicked: tuple[Tensor, Tensor],
    features: tuple[Tensor, Tensor],
) -> Tensor:
    """Dense maps of N prompts at stride 8.

    Args:
        points: Points (N, P, 2) in 0..1, including corners of boxes.
        labels: Labels (N, P) as in ModelPrompts.labels.
        masks: Previous logits (N, 1, 4h, 4w), zeros without one.
        clicked: Coarse features (N, P, C) and fine features (N, P, C') at the points.
        features: Coarse features (1 or N, C, h, w) and fine features (1 or N, C', 2h, 2w).

    Returns:
        Maps (N, PROMPT_MAPS, 2h, 2w).
    """
    h, w = features[1].shape[-2:]
    positive, negative = (labels == 1).to(points.dtype), (labels == 0).to(points.dtype)
    maps = []
    for width in GAUSSIAN_WIDTHS:
        bumps = gaussians(points, width, h, w)
        maps += [strongest(bumps, positive), strongest(bumps, negative)]
    corners, has_box = box_corners(points, labels)
    inside = soft_box(corners, has_box, h, w)
    maps += [inside, torch.zeros_like(inside) + has_box[:, None, None, None]]
    earlier = F.avg_pool2d(masks.clamp(-8, 8), 2) / 4
    maps += [earlier, torch.sigmoid(4 * earlier) * (earlier != 0).to(earlier.dtype)]
    for feature, at in zip(features, clicked, strict=True):
        alike = likeness(at, feature)
        for chosen in (positive, negative):
            best = strongest(alike, chosen)
            if best.shape[-1] != w:
                best = F.interpolate(best, size=(h, w), mode="bilinear", align_corners=False)
            maps.append(best)
    return torch.cat(maps, dim=1)


N_MASKS = 4
BOX_MARGIN = 0.02  # relative to the box's sides, because hand-drawn boxes are inexact
COARSE_STRIDE = 16  # of the embedding, in model pixels
STRIDES = (COARSE_STRIDE, 8, 4)  # of the encoder's maps
PAD_MULTIPLE = 32  # the backbone's stride
# Edges and colors, the most expensive maps: frozen, because training them is not worth the time.
FIRST_BLOCKS = ("stem", "b0", "b1", "b2")
BLANK_SIDE = 64  # side of a padding-only image; its maps are constants of the graph


@dataclass(frozen=True, kw_only=True)
class NanoConfig:
    """Sizes of `nano`; `SMALL` are those of `small`, `TINY` is for tests."""

    name: str = "nano"  # Name of the model
    # "mobilenet", or the larger "efficientnet_vit"
    backbone: Literal["mobilenet", "efficientnet_vit"] = "mobilenet"
    dim: int = 128  # Channels C of the embedding at stride 16
    fine_dims: tuple[int, int] = (48, 16)  # Channels of the skips at strides 8 and 4
    depth: int = 2  # Token blocks; the image attends to the tokens after the first
    heads: int = 4  # Attention heads
    mlp_dim: int = 512  # Hidden width of the token MLP
    mixers: int = 4  # Depthwise blocks of the neck at stride 16
    image_side: int = 512  # Input side S


SMALL = NanoConfig(
    name="small", backbone="efficientnet_vit", dim=192, fine_dims=(64, 24), heads=6, mlp_dim=768
)
TINY = NanoConfig(dim=32, fine_dims=(16, 8), depth=1, heads=2, mlp_dim=64, mixers=1, image_side=128)


class Mixer(nn.Module):
    """Depthwise 5x5, then a two-layer MLP on the channels, with a residual."""

    def __init__(self, dim: int, expansion: int = 2) -> None:
        super().__init__()
        self.dw = nn.Conv2d(dim, dim, 5, padding=2, groups=dim)
        self.norm = LayerNorm2d(dim)
        self.up = Pointwise(dim, dim * expansion)
        self.down = Pointwise(dim * expansion, dim)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> the same
        return x + self.down(F.relu(self.up(self.norm(self.dw(x)))))


class TokenBlock(nn.Module):
    """Self-attention of tokens, attention to the image, then an MLP (appendix A)."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        dim = config.dim
        self.self_attn = SelfAttention(dim, config.heads)
        self.norm1 = nn.LayerNorm(dim)
        self.read = TokenToImage(dim, config.heads, dim // 2)
        self.norm2 = nn.LayerNorm(dim)
        self.lin1 = nn.Linear(dim, config.mlp_dim)
        self.lin2 = nn.Linear(config.mlp_dim, dim)
        self.norm3 = nn.LayerNorm(dim)

    def forward(
        self, tokens: Tensor, places: Tensor, image: tuple[Tensor, Tensor], bias: Tensor
    ) -> Tensor:
        """(N, T, C) twice, image with and without positions (N, L, C), (N, 1, 1, T)."""
        tokens = self.norm1(tokens + self.self_attn(tokens + places, tokens, bias))
        tokens = self.norm2(tokens + self.read(tokens + places, *image))
        return self.norm3(tokens + self.lin2(F.relu(self.lin1(tokens))))


class ContextBlock(nn.Module):
    """A pre-norm transformer block over the coarsest map, for long-range context."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = SelfAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.lin1 = nn.Linear(dim, 2 * dim)
        self.lin2 = nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> the same
        flat = x.flatten(2).transpose(1, 2)
        y = self.norm1(flat)
        flat = flat + self.attn(y, y)
        flat = flat + self.lin2(F.relu(self.lin1(self.norm2(flat))))
        return flat.transpose(1, 2).unflatten(2, (x.shape[-2], x.shape[-1]))


class NanoEncoder(nn.Module):
    """Image to the embedding (C, S/16, S/16) and two skips at strides 8 and 4."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        dim, (fine8, fine4) = config.dim, config.fine_dims
        self.backbone: MobileNetV2 | EfficientNetBesideVit
        frozen: tuple[str, ...] = FIRST_BLOCKS
        if config.backbone == "mobilenet":
            self.backbone = MobileNetV2()
        else:
            self.backbone = EfficientNetBesideVit()
            frozen = (*(f"cnn.{name}" for name in FIRST_BLOCKS), "vit")
        self.frozen = tuple(f"encoder.backbone.{name}." for name in frozen)
        c4, c8, c16, c32 = self.backbone.TAP_CHANNELS
        self.lateral32 = Pointwise(c32, dim)
        self.context = nn.Sequential(
            Mixer(dim), ContextBlock(dim, config.heads), Mixer(dim), ContextBlock(dim, config.heads)
        )
        self.summary = nn.Linear(dim, dim)
        self.lateral16 = Pointwise(c16, dim)
        self.mixers = nn.Sequential(*(Mixer(dim) for _ in range(config.mixers)))
        self.norm = LayerNorm2d(dim)
        self.lateral8 = Pointwise(c8, fine8)
        self.down8 = Pointwise(dim, fine8)
        self.smooth8 = nn.Conv2d(fine8, fine8, 3, padding=1)
        self.lateral4 = Pointwise(c4, fine4)
        self.down4 = Pointwise(fine8, fine4)
        self.smooth4 = nn.Conv2d(fine4, fine4, 3, padding=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, S, S) -> (B, C, S/16, ..), (B, C8, S/8, ..), (B, C4, S/4, ..)."""
        x4, x8, x16, x32 = self.backbone(images)
        deep = self.context(self.lateral32(x32))
        deep = deep + self.summary(deep.mean((2, 3)))[:, :, None, None]
        x = self.lateral16(x16) + F.interpolate(deep, scale_factor=2.0, mode="nearest")
        x = self.norm(self.mixers(x))
        fine8 = self.lateral8(x8) + F.interpolate(self.down8(x), scale_factor=2.0, mode="nearest")
        fine8 = self.smooth8(F.relu(fine8))
        fine4 = self.lateral4(x4) + F.interpolate(
            self.down4(F.relu(fine8)), scale_factor=2.0, mode="nearest"
        )
        return x, fine8, self.smooth4(F.relu(fine4))


class QualityHead(nn.Module):
    """Predicts the IoU of each mask from its token, its content, its edge and the other masks."""

    STATISTICS = 8
    DROPOUT = 0.2  # in training, against overfitting

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.look = nn.Linear(4 * dim + self.STATISTICS, 2 * dim)
        self.think = nn.Linear(2 * dim, dim)
        self.judge = nn.Linear(dim, 1)

    def forward(self, tokens: Tensor, overall: Tensor, image: Tensor, logits: Tensor) -> Tensor:
        """(N, T, C), (N, C), (N, L, C), (N, T, 4h, 4w) -> (N, T) in 0..1."""
        logits = logits.detach()[..., ::2, ::2]
        soft = torch.sigmoid(logits)
        cover = F.avg_pool2d(soft, 2).flatten(2)  # (N, T, L)
        inside = (cover @ image) / (cover.sum(-1, keepdim=True) + 1.0)
        outside = ((1 - cover) @ image) / ((1 - cover).sum(-1, keepdim=True) + 1.0)
        contrast = 1 - F.cosine_similarity(inside, outside, dim=-1)
        statistics = torch.cat([edge_statistics(logits, soft), agreement(cover)], dim=-1)
        clues = torch.cat(
            [
                F.dropout(
                    torch.cat([tokens, overall[:, None].expand_as(tokens), inside, outside], -1),
                    self.DROPOUT,
                    self.training,
                ),
                statistics,
                contrast[..., None],
            ],
            dim=-1,
        )
        y = F.relu(self.think(F.relu(self.look(clues))))
        return torch.sigmoid(self.judge(y))[..., 0]


def edge_statistics(logits: Tensor, soft: Tensor) -> Tensor:
    """Size, stability and uncertainty of each mask: (N, T, h, w) twice -> (N, T, 5)."""
    area = soft.mean((2, 3))
    strict = torch.sigmoid(4 * (logits - 1)).mean((2, 3))
    loose = torch.sigmoid(4 * (logits + 1)).mean((2, 3))
    doubt = (soft * (1 - soft)).mean((2, 3))
    return torch.stack(
        [area, area.sqrt(), strict / (loose + 1e-4), doubt / (area + 1e-3), doubt.sqrt()], dim=-1
    )


def agreement(cover: Tensor) -> Tensor:
    """Soft IoU of each mask with mask 0, and mean soft IoU with all: (N, T, L) -> (N, T, 2)."""
    both = cover @ cover.transpose(1, 2)
    areas = cover.sum(-1)
    overlap = both / (areas[:, :, None] + areas[:, None] - both + 1e-3)
    return torch.stack([overlap[:, :, 0], overlap.mean(-1)], dim=-1)


class NanoDecoder(nn.Module):
    """Decodes prompts on an embedding into four masks at stride 4 with their quality."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        dim, (fine8, fine4) = config.dim, config.fine_dims
        self.frequencies: Tensor
        self.register_buffer("frequencies", torch.randn(2, dim // 2))
        self.label_embed = nn.Embedding(5, dim)  # no point, background, object, two corners
        self.under8 = nn.Linear(fine8, dim)
        self.under16 = nn.Linear(dim, dim)
        self.output_tokens = nn.Embedding(1 + N_MASKS, dim)
        self.dense = DensePrompts(dim, fine8)
        self.blocks = nn.ModuleList(TokenBlock(config) for _ in range(config.depth))
        self.tell = ImageToToken(dim, config.heads, dim // 2)
        self.tell_norm = nn.LayerNorm(dim)
        self.upscale8 = nn.Linear(dim, 4 * fine8)
        self.upscale_norm = nn.LayerNorm(fine8)
        self.upscale4 = nn.Linear(fine8, 4 * fine4)
        self.hyper = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, fine4 + 1))
            for _ in range(N_MASKS)
        )
        self.outside = nn.Parameter(torch.tensor(4.0))  # subtracted from the logits outside a box
        self.quality = QualityHead(dim)

    def positions(self, points: Tensor) -> Tensor:  # (..., 2) in 0..1 -> (..., C)
        angles = 2 * torch.pi * ((2 * points - 1) @ self.frequencies.to(points.dtype))
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def image_positions(self, h: int, w: int, like: Tensor) -> Tensor:  # -> (1, L, C)
        """`positions` of all cell centres, by the angle sums of rows and columns."""
        x, y = cell_centers(h, w, like)
        along_x, along_y = self.frequencies.to(like.dtype)
        columns, rows = (
            2 * torch.pi * (2 * at - 1)[:, None] * along
            for at, along in ((x, along_x), (y, along_y))
        )
        sin_x, cos_x, sin_y, cos_y = (
            columns.sin(), columns.cos(), rows.sin()[:, None], rows.cos()[:, None],
        )  # fmt: skip
        sines = sin_y * cos_x + cos_y * sin_x
        cosines = cos_y * cos_x - sin_y * sin_x
        return torch.cat([sines, cosines], dim=-1).flatten(0, 1)[None]

    def forward(
        self, features: tuple[Tensor, Tensor, Tensor], coords: Tensor, labels: Tensor, masks: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Decode N prompts on one image (batch 1), or on one image per prompt (batch N).

        Args:
            features: Output of the encoder.
            coords: Points (N, P, 2) in model pixels.
            labels: Labels (N, P) as in ModelPrompts.labels.
            masks: Logits (N, 1, S/4, S/4), zeros without a mask prompt.

        Returns:
            Logits (N, T, S/4, S/4), quality (N, T).
        """
        coarse, fine8, fine4 = features
        points = coords_to_unit(coords, coarse)
        at16, at8 = sample_at(points, coarse), sample_at(points, fine8)
        add16, add8 = self.dense(draw_maps(points, labels, masks, (at16, at8), (coarse, fine8)))
        tokens, bias = self._tokens(points, labels, (at16, at8))
        places, (h, w) = tokens, (coarse.shape[-2], coarse.shape[-1])
        image = coarse.flatten(2).transpose(1, 2) + add16
        at = self.image_positions(h, w, image)
        tokens = self.blocks[0](tokens, places, (image + at, image), bias)
        image = self.tell_norm(image + self.tell(tokens + places, tokens, image + at, bias))
        for block in self.blocks[1:]:
            tokens = block(tokens, places, (image + at, image), bias)
        masks_tokens = tokens[:, 1 : 1 + N_MASKS]
        logits = self._draw(masks_tokens, image.unflatten(1, (h, w)), (fine8, add8), fine4)
        logits = logits - self._outside_penalty(points, labels, logits)
        return logits, self.quality(masks_tokens, tokens[:, 0], image, logits)

    def _tokens(
        self, points: Tensor, labels: Tensor, under: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        at16, at8 = under
        present = (labels >= 0).to(points.dtype)[..., None]
        click = self.label_embed(labels + 1) + self.under16(at16) + self.under8(at8)
        outputs = self.output_tokens.weight[None].expand(points.shape[0], -1, -1)
        tokens = torch.cat([outputs, (click + self.positions(points)) * present], dim=1)
        absent = torch.cat([torch.zeros_like(outputs[..., 0]), 1 - present[..., 0]], dim=1)
        return tokens, absent[:, None, None] * -1e4

    def _outside_penalty(self, points: Tensor, labels: Tensor, logits: Tensor) -> Tensor:
        """Amount to subtract from the logits outside the box: (N, 1, 4h, 4w); 0 without a box."""
        corners, has_box = box_corners(points, labels)
        margin = BOX_MARGIN * (corners[:, 1:] - corners[:, :1])
        wider = torch.cat([corners[:, :1] - margin, corners[:, 1:] + margin], dim=1)
        inside = soft_box(wider, has_box, logits.shape[-2], logits.shape[-1])
        return F.relu(self.outside) * (has_box[:, None, None, None] - inside)

    def _draw(
        self, tokens: Tensor, image: Tensor, fine8: tuple[Tensor, Tensor], fine4: Tensor
    ) -> Tensor:
        """Mask tokens (N, T, C) times the image (N, h, w, C), upscaled to stride 4: (N, T, 4h, 4w).

        The last upscaling stays in the channels until the masks are computed: 4 places per cell.
        """
        detail, added = fine8
        x = shuffle(self.upscale8(image)) + detail.permute(0, 2, 3, 1) + added
        x = F.relu(self.upscale_norm(x))  # (N, 2h, 2w, C8)
        h, w = x.shape[1:3]
        # Inverse of `shuffle`: each 2 x 2 square becomes the four quarters of a cell.
        squares = fine4.permute(0, 2, 3, 1).unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
        skip = squares.permute(0, 1, 3, 2, 4, 5).flatten(3)
        y = F.relu(self.upscale4(x).unflatten(-1, (4, -1)) + skip.unflatten(-1, (4, -1)))
        weights = torch.stack([mlp(tokens[:, i]) for i, mlp in enumerate(self.hyper)], dim=1)
        masks = y.flatten(1, 3) @ weights[..., :-1].transpose(1, 2) + weights[:, None, :, -1]
        return shuffle(masks.unflatten(1, (h, w, 4)).flatten(3)).permute(0, 3, 1, 2)


# Channels last: a transposition that moves whole rows of channels is several times as fast in ONNX
# Runtime as one of six dimensions that moves single values.


def shuffle(x: Tensor) -> Tensor:  # (N, h, w, 4 * C) -> (N, 2h, 2w, C)
    """Pixel shuffle: each cell's four quarters to a map of twice the side."""
    return x.unflatten(-1, (2, 2, -1)).permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)


def coords_to_unit(coords: Tensor, coarse: Tensor) -> Tensor:
    """Scale model pixels to 0..1 of the square of the embedding (B, C, S/16, S/16).

    The side is that of the embedding, because training uses several sides.
    """
    return coords / (COARSE_STRIDE * coarse.shape[-1])


class Nano(nn.Module):
    """The whole model; `encode` and `decode` are the two exported graphs."""

    def __init__(self, config: NanoConfig | None = None) -> None:
        super().__init__()
        self.config = config or NanoConfig()
        self.encoder = NanoEncoder(self.config)
        self.decoder = NanoDecoder(self.config)
        self.spec = nano_spec(self.config)
        self.precomputed = False
        self.parts = ModelParts(
            encoder="encoder.",
            pretrained="encoder.backbone.",
            frozen=self.encoder.frozen,
            quality="decoder.quality.",
        )

    def load_backbone(self, arrays: dict[str, Tensor]) -> None:
        """Load pretrained weights of the backbone, with folded batch norm."""
        self.encoder.backbone.load_folded(arrays)

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, h, w) -> (B, C, S/16, S/16), then the skips at strides 8 and 4.

        h and w are multiples of 32, the larger one is S: an image of 3 to 2 takes two thirds of the
        time of a square. The maps are padded with the encoder's output for padding, because the
        decoder and above all its quality head were trained on squares. Training uses only squares.
        """
        if self.training:
            return tuple(self.encoder(images))
        h, w = images.shape[-2:]
        side = torch.sym_max(h, w)
        padding = (
            tuple(self.get_buffer(f"padding{n}") for n in range(len(STRIDES)))
            if self.precomputed
            else self.padding_of(images)
        )
        maps = []
        for fmap, filling, stride in zip(self.encoder(images), padding, STRIDES, strict=True):
            room = (0, (side - w) // stride, 0, (side - h) // stride)
            maps.append(F.pad(fmap - filling, room) + filling)
        return tuple(maps)

    def padding_of(self, like: Tensor) -> tuple[Tensor, ...]:
        """Mean output of the encoder for padding, in the dtype and on the device of `like`."""
        blank = self.encoder(torch.zeros(1, 3, BLANK_SIDE, BLANK_SIDE).to(like))
        return tuple(empty.mean((2, 3), keepdim=True) for empty in blank)

    def precompute(self) -> None:
        """Store the padding for these weights, for export: it takes half of the encoder's graph."""
        for n, filling in enumerate(self.padding_of(next(self.parameters()))):
            self.register_buffer(f"padding{n}", filling, persistent=False)
        self.precomputed = True

    def decode(
        self,
        features: tuple[Tensor, ...],
        coords: Tensor,
        labels: Tensor,
        masks: Tensor,
        has_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        coarse, fine8, fine4 = features
        earlier = masks * has_mask[:, None, None, None].to(masks.dtype)
        return self.decoder((coarse, fine8, fine4), coords, labels, earlier)


def nano_spec(config: NanoConfig) -> ModelSpec:
    """Specification of `nano` or `small`."""
    return ModelSpec(
        name=config.name,
        image_side=config.image_side,
        mask_side=config.image_side // 4,
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        resample="area",
        accepts=ALL_KINDS,
        family=config.name,
        pad_multiple=PAD_MULTIPLE,
        pad_point=False,
    )
