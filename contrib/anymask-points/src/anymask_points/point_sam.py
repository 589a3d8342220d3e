"""Point-SAM: segments a point cloud from clicks in three dimensions.

Source: Zhou et al. 2024 (Point-SAM, arXiv:2406.17741), section 3; zyc00/Point-SAM (MIT) for names
and numbers. The encoder's blocks are those of EVA-02 (Fang et al. 2023, arXiv:2303.11331) without
rotary positions. The two-way transformer is SAM's own, on the patches of the cloud. Difference: a
cloud with fewer points than patches or neighbours has as many of them as it has points.

Letters: M prompts, P clicks, N points, L patches, K neighbours of a patch, C channels, T masks of
the decoder, D head width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.masks import ModelSpec
from anymask.models import Mlp, TwoWayConfig, TwoWayTransformer, add_submodule

PART = 2**15  # points that are compared with the centres, or decoded, at once
NEAREST = 3  # centres that a point is interpolated from
HEAD = ("layers.0", "layers.1", "layers.2")  # parameter names of the decoder's MLPs
LEAST_SQUARE = 1e-8  # of a distance, in the units of the normalized cloud


@dataclass(frozen=True, kw_only=True)
class PointConfig:
    """Sizes of a point cloud model.

    Attributes:
        patches: Number of patches L, and neighbours K of each.
        dense_patches: The same for clouds of more than `dense` points.
        gate: Hidden width of a block's gated MLP.
        widths: Hidden widths of a patch encoder, and its channels.
        image_patch: Patch side, grid side and classes of the stored parts of the image model that
            the encoder was initialized from. They are not used.
    """

    patches: tuple[int, int] = (512, 64)
    dense_patches: tuple[int, int] = (2048, 256)
    dense: int = 100_000
    dim: int = 1024
    depth: int = 24
    heads: int = 16
    gate: int = 2730
    widths: tuple[int, int] = (128, 512)
    out_dim: int = 256
    mlp_dim: int = 2048
    masks: int = 4
    image_patch: tuple[int, int, int] = (14, 32, 1000)


def farthest_points(coords: Tensor, count: int) -> Tensor:
    """Indices (count,) of points that are far from each other, from the first point on.

    Each further index is the point that is farthest from those before it, (N, 3) -> (count,).
    """
    chosen = torch.zeros(count, dtype=torch.long, device=coords.device)
    nearest = torch.full((len(coords),), torch.inf, device=coords.device)
    for place in range(1, count):
        far = (coords - coords[chosen[place - 1]]).square().sum(dim=1)
        nearest = torch.minimum(nearest, far)
        chosen[place] = nearest.argmax()
    return chosen


def neighbors(query: Tensor, coords: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Distances and indices of the nearest points, (Q, 3), (N, 3) -> (Q, count) each."""
    step = max(1, PART * 512 // len(coords))
    found = [
        torch.cdist(part, coords).topk(count, dim=1, largest=False) for part in query.split(step)
    ]
    return torch.cat([one.values for one in found]), torch.cat([one.indices for one in found])


@dataclass(frozen=True, eq=False)
class PointFeatures:
    """An encoded point cloud.

    Attributes:
        tokens: Features (1, L, C) of the patches.
        coords: Points (N, 3) in -1..1.
        centers: Indices (L,) of the patches' centres.
        neighbors: Indices (L, K) of the points of each patch.
        near: Indices (N, 3) of the centres that a point is interpolated from.
        weights: Their weights (N, 3).
    """

    tokens: Tensor
    coords: Tensor
    centers: Tensor
    neighbors: Tensor
    near: Tensor
    weights: Tensor


class PatchEncoder(nn.Module):
    """Encodes the points of each patch, in any order, as one vector (PointNet)."""

    def __init__(self, c_in: int, widths: tuple[int, int], c_out: int) -> None:
        super().__init__()
        first, second = widths
        self.conv1 = nn.Sequential(
            nn.Linear(c_in, first), nn.LayerNorm(first), nn.GELU(), nn.Linear(first, first)
        )
        self.conv2 = nn.Sequential(
            nn.Linear(2 * first, second), nn.LayerNorm(second), nn.GELU(), nn.Linear(second, c_out)
        )

    def forward(self, points: Tensor) -> Tensor:  # (..., K, c_in) -> (..., c_out)
        x = self.conv1(points)
        together = x.amax(dim=-2, keepdim=True).expand_as(x)
        y: Tensor = self.conv2(torch.cat([together, x], dim=-1)).amax(dim=-2)
        return y


class EvaAttention(nn.Module):
    """Multi-head attention whose keys have no bias."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:  # (B, L, C) -> the same
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, L, D)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        y: Tensor = self.proj(mixed)
        return y


class GatedMlp(nn.Module):
    """SwiGLU with a norm of the gated values."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1_g = nn.Linear(dim, hidden)
        self.fc1_x = nn.Linear(dim, hidden)
        self.norm = nn.LayerNorm(hidden, eps=1e-6)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:  # (..., C) -> the same
        y: Tensor = self.fc2(self.norm(F.silu(self.fc1_g(x)) * self.fc1_x(x)))
        return y


class EvaBlock(nn.Module):
    """Pre-norm attention and gated MLP with residuals."""

    def __init__(self, config: PointConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.dim, eps=1e-6)
        self.attn = EvaAttention(config.dim, config.heads)
        self.norm2 = nn.LayerNorm(config.dim, eps=1e-6)
        self.mlp = GatedMlp(config.dim, config.gate)

    def forward(self, x: Tensor) -> Tensor:  # (B, L, C) -> the same
        x = x + self.attn(self.norm1(x))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class EvaBlocks(nn.Module):
    """The blocks of EVA-02, with the unused image parts of its checkpoint."""

    def __init__(self, config: PointConfig) -> None:
        super().__init__()
        patch, grid, classes = config.image_patch
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, grid**2 + 1, config.dim))
        add_submodule(self, "patch_embed.proj", nn.Conv2d(3, config.dim, patch, patch))
        self.blocks = nn.ModuleList(EvaBlock(config) for _ in range(config.depth))
        self.fc_norm = nn.LayerNorm(config.dim, eps=1e-6)
        self.head = nn.Linear(config.dim, classes)

    def forward(self, x: Tensor) -> Tensor:  # (B, L, C) -> the same
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.fc_norm(x)
        return y


class PointEncoder(nn.Module):
    """Groups a cloud into patches and encodes them."""

    def __init__(self, config: PointConfig) -> None:
        super().__init__()
        self.config = config
        narrow, wide = config.widths
        add_submodule(self, "patch_embed.patch_encoder", PatchEncoder(6, config.widths, wide))
        self.patch_proj = nn.Linear(wide, config.dim)
        self.pos_embed = nn.Sequential(
            nn.Linear(3, narrow), nn.GELU(), nn.Linear(narrow, config.dim)
        )
        self.transformer = EvaBlocks(config)
        self.out_proj = nn.Linear(config.dim, config.out_dim)

    def forward(self, coords: Tensor, colors: Tensor) -> PointFeatures:
        """Points (N, 3) in -1..1 and their colors (N, 3) in 0..1 -> features."""
        dense = len(coords) > self.config.dense
        sizes = self.config.dense_patches if dense else self.config.patches
        patches, each = (min(size, len(coords)) for size in sizes)
        centers = farthest_points(coords, patches)
        at = coords[centers]
        _, inside = neighbors(at, coords, each)
        given = torch.cat([coords[inside] - at[:, None], colors[inside]], dim=-1)  # (L, K, 6)
        encoder = self.get_submodule("patch_embed.patch_encoder")
        x = self.patch_proj(encoder(given)) + self.pos_embed(at)
        tokens = self.out_proj(self.transformer(x[None]))
        far, near = neighbors(coords, at, min(NEAREST, patches))
        weights = 1.0 / far.square().clamp(min=LEAST_SQUARE)
        weights = weights / weights.sum(dim=1, keepdim=True)
        return PointFeatures(tokens, coords, centers, inside, near, weights)


class SpacePositions(nn.Module):
    """Fourier features of places in -1..1 along three axes."""

    positional_encoding_gaussian_matrix: Tensor  # (3, C / 2)

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(3, dim // 2))

    def forward(self, places: Tensor) -> Tensor:  # (..., 3) -> (..., C)
        angles = (2 * math.pi) * (places @ self.positional_encoding_gaussian_matrix)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class ClickEncoder(nn.Module):
    """Encodes clicks as tokens."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.pe_layer = SpacePositions(dim)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, dim) for _ in range(2))

    def forward(self, clicks: Tensor, labels: Tensor) -> Tensor:
        """Clicks (M, P, 3) in -1..1, labels (M, P): 1 object, 0 background -> (M, P, C)."""
        weights = (self.get_parameter(f"point_embeddings.{kind}.weight") for kind in range(2))
        learned = torch.cat(tuple(weights))
        tokens: Tensor = self.pe_layer(clicks) + learned[labels]
        return tokens


class MaskEncoder(nn.Module):
    """Encodes the logits of an earlier mask for each patch."""

    def __init__(self, config: PointConfig) -> None:
        super().__init__()
        self.patch_encoder = PatchEncoder(4, config.widths, config.out_dim)
        self.no_mask_embed = nn.Embedding(1, config.out_dim)

    def forward(self, masks: Tensor | None, features: PointFeatures) -> Tensor:
        """Logits (M, N) or None -> (M, L, C) or (1, 1, C)."""
        if masks is None:
            return self.no_mask_embed.weight[None]
        inside, coords = features.neighbors, features.coords
        moved = coords[inside] - coords[features.centers][:, None]  # (L, K, 3)
        moved = moved.expand(len(masks), -1, -1, -1)
        y: Tensor = self.patch_encoder(torch.cat([moved, masks[:, inside, None]], dim=-1))
        return y


class PointDecoder(nn.Module):
    """Predicts all candidate masks and their IoU."""

    def __init__(self, config: PointConfig) -> None:
        super().__init__()
        dim = config.out_dim
        self.transformer = TwoWayTransformer(TwoWayConfig(dim=dim, mlp_dim=config.mlp_dim))
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(config.masks, dim)
        self.output_hypernetworks_mlps = nn.ModuleList(
            Mlp((dim, dim, dim, dim), HEAD, "relu") for _ in range(config.masks)
        )
        self.output_upscaling = nn.Sequential(
            nn.Linear(dim, dim), nn.LayerNorm(dim), nn.GELU(), nn.Linear(dim, dim), nn.GELU()
        )
        self.iou_prediction_head = Mlp((dim, dim, dim, config.masks), HEAD, "relu")

    def forward(
        self, features: PointFeatures, positions: Tensor, prompt: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Features, (1, L, C), (M, P, C), dense prompt -> logits (M, T, N), quality (M, T)."""
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(prompt), -1, -1), prompt], dim=1)
        tokens, seen = self.transformer(tokens, features.tokens + dense, positions)
        heads = enumerate(self.output_hypernetworks_mlps, start=1)
        of_mask = torch.stack([head(tokens[:, place]) for place, head in heads], dim=1)
        parts = zip(features.near.split(PART), features.weights.split(PART), strict=True)
        logits = [
            of_mask @ self.output_upscaling((seen[:, near] * weights[..., None]).sum(2)).mT
            for near, weights in parts
        ]
        return torch.cat(logits, dim=-1), self.iou_prediction_head(tokens[:, 0])


class PointModel(nn.Module):
    """Point-SAM, stateless."""

    def __init__(self, spec: ModelSpec, config: PointConfig | None = None) -> None:
        super().__init__()
        config = config or PointConfig()
        self.spec, self.config = spec, config
        self.pc_encoder = PointEncoder(config)
        self.point_encoder = ClickEncoder(config.out_dim)
        self.mask_encoder = MaskEncoder(config)
        self.mask_decoder = PointDecoder(config)

    def encode(self, coords: Tensor, colors: Tensor) -> PointFeatures:
        """Encode points (N, 3) in -1..1 with colors (N, 3) in 0..1."""
        features: PointFeatures = self.pc_encoder(coords, colors)
        return features

    def decode(
        self, features: PointFeatures, clicks: Tensor, labels: Tensor, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Decode M prompts on one cloud.

        Args:
            features: The encoded cloud.
            clicks: Clicks (M, P, 3) in the coordinates of the cloud.
            labels: Labels (M, P): 1 object, 0 background.
            masks: Logits (M, N) of an earlier prediction, or None.

        Returns:
            Logits (M, T, N), quality (M, T); token 0 is for unambiguous prompts.
        """
        logits, quality = self.mask_decoder(
            features,
            self.point_encoder.pe_layer(features.coords[features.centers])[None],
            self.point_encoder(clicks, labels),
            self.mask_encoder(masks, features),
        )
        return logits, quality


POINT_SAM_L = ModelSpec(
    name="point_sam_l", accepts=frozenset({"point", "negative_point", "mask"}), family="point_sam"
)

# For tests: 16 patches of 8 points.
TINY = PointConfig(
    patches=(16, 8), dense_patches=(24, 8), dense=500, dim=32, depth=2, heads=2, gate=24,
    widths=(16, 24), out_dim=32, mlp_dim=32, image_patch=(2, 2, 3),
)  # fmt: skip
TINY_SPEC = replace(POINT_SAM_L, name="tiny_points")
