"""Semantic-SAM: six masks of one click, from parts to whole objects.

Li et al. 2023, "Semantic-SAM: Segment and Recognize Anything at Any Granularity" (arXiv 2307.04767,
UX-Decoder/Semantic-SAM), the model trained on SA-1B: Mask DINO's pixel decoder (Li et al. 2022) on
Swin-T, and a decoder in which six queries share the anchor of a click. Each query has the embedding
of its level. The text heads are part of the checkpoint and are not used, because these weights have
no labels.

Difference: by default the queries of one click do not attend to those of others, as in training.
The published demo lets all clicks of a call attend to each other; `decode` does so for the points
of one prompt.

Letters: B images, S input side, N prompts, P points, T levels, C channels, h w a map, K places of
all maps, m side of the masks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.masks import ModelSpec
from anymask.models import Mlp, add_submodule, sine_grid
from anymask_families.deformable import DeformableAttention, Sizes
from anymask_families.families import SEMANTIC_SAM
from anymask_families.swin import Swin, SwinConfig

CLICK_SIDE = 0.005  # side of a click's anchor, relative to the input
LEVELS = 6
EPS = 1e-5  # of the inverse sigmoid


@dataclass(frozen=True, kw_only=True)
class SemanticSamConfig:
    """Sizes of the model. The default has Swin-T."""

    swin: SwinConfig = field(default_factory=SwinConfig)
    dim: int = 256
    mlp_dim: int = 2048
    heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 9
    text_dim: int = 512


# For tests: at most 128 pixels.
TINY = SemanticSamConfig(
    swin=SwinConfig(dim=8, depths=(2, 1, 1, 1), heads=(1, 2, 4, 4)),
    dim=64, mlp_dim=48, heads=4, encoder_layers=1, decoder_layers=2, text_dim=8,
)  # fmt: skip
TINY_SPEC = replace(SEMANTIC_SAM, name="tiny_semantic", image_side=128, mask_side=32)


class SemanticSam(nn.Module):
    """A stateless image encoder and click decoder, with the interface of `ImageModel`."""

    def __init__(self, spec: ModelSpec, config: SemanticSamConfig = SemanticSamConfig()) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = Swin(config.swin)
        add_submodule(self, "sem_seg_head.pixel_decoder", PixelDecoder(config))
        add_submodule(self, "sem_seg_head.predictor", Predictor(config))

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights, to which inputs are converted."""
        return self.backbone.patch_embed.proj.weight.dtype

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode B images.

        Args:
            images: Normalized images (B, 3, h, w), padded to a multiple of 32.

        Returns:
            Mask features (B, C, h / 4, w / 4), then the maps at strides 8, 16, 32 and 64.
        """
        maps = self.backbone(images.to(self.dtype))
        features: tuple[Tensor, ...] = self.get_submodule("sem_seg_head.pixel_decoder")(maps)
        return features

    def decode(
        self,
        features: tuple[Tensor, ...],
        coords: Tensor,
        labels: Tensor,
        masks: Tensor,
        has_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Decode N prompts on one image.

        Args:
            features: Output of `encode`.
            coords: Points (N, P, 2) in model pixels.
            labels: Labels (N, P), all 1.
            masks: Not used.
            has_mask: Not used.

        Returns:
            Logits (N, P T, m, m) and quality (N, P T), float32, by level.
        """
        pixels, *maps = (one.to(self.dtype) for one in features)
        rows, columns = pixels.shape[-2:]
        points = coords.float() / torch.tensor([4 * columns, 4 * rows], device=coords.device)
        anchors = torch.cat([points, torch.full_like(points, CLICK_SIDE)], dim=-1)
        logits, quality = self.get_submodule("sem_seg_head.predictor")(maps, pixels, anchors)
        side = self.spec.mask_side
        # Repeated edges, so that resizing does not mix the padding into the image.
        square = F.pad(logits.float(), (0, side - columns, 0, side - rows), mode="replicate")
        return square, quality.float()


class PixelDecoder(nn.Module):
    """Maps of the backbone to four maps that exchanged information, and to mask features."""

    def __init__(self, config: SemanticSamConfig) -> None:
        super().__init__()
        first, *others = config.swin.widths
        dim = config.dim
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, dim, 1), nn.GroupNorm(32, dim)) for width in others
        )
        self.input_proj.append(
            nn.Sequential(nn.Conv2d(others[-1], dim, 3, stride=2, padding=1), nn.GroupNorm(32, dim))
        )
        self.transformer = nn.Module()
        levels = nn.Parameter(torch.zeros(len(self.input_proj), dim))
        self.transformer.register_parameter("level_embed", levels)
        layers = nn.ModuleList(_EncoderLayer(config) for _ in range(config.encoder_layers))
        add_submodule(self.transformer, "encoder.layers", layers)
        self.mask_features = nn.Conv2d(dim, dim, 1)
        self.adapter_1 = _NormedConv(first, dim, 1)
        self.layer_1 = _NormedConv(dim, dim, 3)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, ...]:
        """Four maps (B, C, h, w) at strides 4 to 32 -> mask features, maps at strides 8 to 64."""
        first, *others = maps
        seen = [proj(one) for proj, one in zip(self.input_proj, [*others, others[-1]], strict=True)]
        sizes = [(one.shape[-2], one.shape[-1]) for one in seen]
        memory = torch.cat([one.flatten(2).transpose(1, 2) for one in seen], dim=1)
        levels = self.transformer.get_parameter("level_embed")
        places = torch.cat(
            [
                sine_grid(h, w, memory.shape[-1], memory.device).to(memory.dtype) + level
                for (h, w), level in zip(sizes, levels, strict=True)
            ],
            dim=1,
        )
        centers = cell_centers(sizes, memory.device).expand(len(memory), -1, -1)
        for layer in self.transformer.get_submodule("encoder.layers").children():
            memory = layer(memory, places, centers, sizes)
        joined = split_maps(memory, sizes)
        fine = self.adapter_1(first)
        coarse = F.interpolate(joined[0], fine.shape[-2:], mode="bilinear", align_corners=False)
        detail = F.relu(self.layer_1(fine + coarse))
        return (self.mask_features(detail), *joined)


class _NormedConv(nn.Conv2d):
    """A convolution with a norm, whose parameters are named as in detectron2."""

    def __init__(self, c_in: int, c_out: int, side: int) -> None:
        super().__init__(c_in, c_out, side, padding=side // 2, bias=False)
        self.norm = nn.GroupNorm(32, c_out)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, h, w) -> (B, C', h, w)
        normal: Tensor = self.norm(super().forward(x))
        return normal


def cell_centers(sizes: Sizes, device: torch.device) -> Tensor:  # -> (1, K, 2)
    """Centres (x, y) of all cells of the maps, 0..1."""
    centers = []
    for h, w in sizes:
        y = (torch.arange(h, device=device, dtype=torch.float32) + 0.5) / h
        x = (torch.arange(w, device=device, dtype=torch.float32) + 0.5) / w
        centers.append(torch.stack([x.expand(h, w), y[:, None].expand(h, w)], -1).flatten(0, 1))
    return torch.cat(centers)[None]


def split_maps(memory: Tensor, sizes: Sizes) -> list[Tensor]:  # (B, K, C) -> (B, C, h, w) each
    """Maps of flattened places."""
    parts = memory.split([h * w for h, w in sizes], dim=1)
    return [
        part.transpose(1, 2).unflatten(2, size) for part, size in zip(parts, sizes, strict=True)
    ]


class _EncoderLayer(nn.Module):
    def __init__(self, config: SemanticSamConfig) -> None:
        super().__init__()
        dim = config.dim
        self.self_attn = DeformableAttention(dim, heads=config.heads)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, config.mlp_dim)
        self.linear2 = nn.Linear(config.mlp_dim, dim)

    def forward(self, x: Tensor, places: Tensor, centers: Tensor, sizes: Sizes) -> Tensor:
        x = self.norm1(x + self.self_attn(x + places, centers, x, sizes))
        answer: Tensor = self.norm2(x + self.linear2(F.relu(self.linear1(x))))
        return answer


class Predictor(nn.Module):
    """Anchors to masks: six queries each, nine layers that also move the anchors."""

    def __init__(self, config: SemanticSamConfig) -> None:
        super().__init__()
        dim, three = config.dim, ("layers.0", "layers.1", "layers.2")
        for name in ("class_embed", "class_embed_part"):  # of the text heads
            self.register_parameter(name, nn.Parameter(torch.zeros(dim, config.text_dim)))
        self.lang_mapper = nn.Parameter(torch.zeros(config.text_dim, dim))
        self.mask_embed = Mlp((dim,) * 4, three, "relu")
        self.decoder_norm = nn.LayerNorm(dim)
        self.decoder = nn.Module()
        layers = nn.ModuleList(_DecoderLayer(config) for _ in range(config.decoder_layers))
        self.decoder.layers = layers
        self.decoder.norm = self.decoder_norm
        self.decoder.ref_point_head = Mlp((2 * dim, dim, dim), three[:2], "relu")
        # One network, stored under many names.
        self._bbox_embed = Mlp((dim, dim, dim, 4), three, "relu")
        self.bbox_embed = nn.ModuleList([self._bbox_embed] * config.decoder_layers)
        self.decoder.bbox_embed = self.bbox_embed
        self.iou_prediction_head = Mlp((dim, dim, dim, 1), three, "relu")
        self.mask_tokens = nn.Embedding(LEVELS, dim)
        self.pb_embedding = nn.Embedding(2, dim)
        self.label_enc = nn.Embedding(2, dim)

    def forward(self, maps: list[Tensor], pixels: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """Four maps and the mask features of one image, and anchors (N, P, 4), centre and size.

        Returns logits (N, P T, h, w) and quality (N, P T).
        """
        maps = maps[::-1]  # the coarsest first
        sizes = [(one.shape[-2], one.shape[-1]) for one in maps]
        memory = torch.cat([one.flatten(2).transpose(1, 2) for one in maps], dim=1)
        count, points = anchors.shape[:2]
        click = self.label_enc.weight[0] + self.pb_embedding.weight[0]  # not a box
        queries = (click + self.mask_tokens.weight).repeat(count, points, 1)
        anchors = anchors.repeat_interleave(LEVELS, dim=1)
        decoder = self.decoder
        for layer in decoder.get_submodule("layers").children():
            code = sine_anchors(anchors, queries.shape[-1] // 2).to(queries.dtype)
            places = decoder.get_submodule("ref_point_head")(code)
            queries = layer(queries, places, anchors, memory, sizes)
            moved = self._bbox_embed(queries).float() + inverse_sigmoid(anchors)
            anchors = moved.sigmoid()
        decoded = self.decoder_norm(self.decoder_norm(queries))  # twice, as in the reference
        logits = torch.einsum("nqc,chw->nqhw", self.mask_embed(decoded), pixels[0])
        return logits, self.iou_prediction_head(decoded)[..., 0]


class _DecoderLayer(nn.Module):
    def __init__(self, config: SemanticSamConfig) -> None:
        super().__init__()
        dim = config.dim
        self.cross_attn = DeformableAttention(dim, heads=config.heads)
        self.self_attn = nn.MultiheadAttention(dim, config.heads, batch_first=True)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.linear1 = nn.Linear(dim, config.mlp_dim)
        self.linear2 = nn.Linear(config.mlp_dim, dim)

    def forward(
        self, x: Tensor, places: Tensor, anchors: Tensor, memory: Tensor, sizes: Sizes
    ) -> Tensor:  # (N, Q, C) -> the same
        placed = x + places
        x = self.norm2(x + self.self_attn(placed, placed, x, need_weights=False)[0])
        query, at = (one.reshape(1, -1, one.shape[-1]) for one in (x + places, anchors))
        x = self.norm1(x + self.cross_attn(query, at, memory, sizes).view_as(x))
        answer: Tensor = self.norm3(x + self.linear2(F.relu(self.linear1(x))))
        return answer


def sine_anchors(anchors: Tensor, width: int) -> Tensor:  # (..., 4) -> (..., 4 width)
    """Sine code of anchors in the order y, x, width, height; sines and cosines alternate."""
    at = torch.arange(width, dtype=torch.float32, device=anchors.device)
    periods = 10000 ** (2 * (at // 2) / width)
    angles = anchors[..., [1, 0, 2, 3], None] * (2 * math.pi) / periods
    pairs = torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], dim=-1)
    return pairs.flatten(-3)


def inverse_sigmoid(x: Tensor) -> Tensor:
    """Logits of numbers 0..1, with `EPS` as the smallest number and distance to 1."""
    return torch.log(x.clamp(min=EPS) / (1 - x).clamp(min=EPS))
