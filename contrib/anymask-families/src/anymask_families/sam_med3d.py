"""SAM-Med3D: segments a cube of voxels from clicks.

Source: Wang et al. 2023 (SAM-Med3D, arXiv:2310.15161), section 3: SAM with every block in three
dimensions; uni-medical/SAM-Med3D (Apache-2.0, builder `vit_b_ori`) for names and numbers. The
two-way transformer is SAM's own, on the flattened cells of the cube. Axes are those of the given
cube throughout, called d, h and w as in the reference.

Letters: B cubes, N prompts, P points, S the cube's side, C channels, d h w tokens along the axes,
L = d * h * w, m = 4 d the side of low-resolution masks, T masks of the decoder, D head width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.masks import NO_POINT, ModelSpec
from anymask.models import LayerNorm2d, Mlp, TwoWayConfig, TwoWayTransformer, offsets
from anymask_families.families import SAM_MED3D

AXES = ("d", "h", "w")
BIAS_LIMIT = 2**25  # elements of attention bias at once, per cube: 128 MiB in float32
HEAD = ("layers.0", "layers.1", "layers.2")  # names of the layers of a head


@dataclass(frozen=True, kw_only=True)
class CubeConfig:
    """Sizes of a cube model.

    Attributes:
        side: Side S of a cube in voxels.
        quality: Hidden width of the quality head.
    """

    side: int = 128
    patch: int = 16
    dim: int = 768
    depth: int = 12
    heads: int = 12
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    window: int = 14
    out_dim: int = 384
    mlp_dim: int = 2048
    quality: int = 256
    masks: int = 4

    @property
    def grid(self) -> int:
        """Number of tokens along one side."""
        return self.side // self.patch


class LayerNorm3d(LayerNorm2d):
    """Layer norm over the channels of (B, C, d, h, w) at each cell."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C, d, h, w) -> the same
        by_cell = x.movedim(1, -1)
        normal = F.layer_norm(by_cell, self.weight.shape, self.weight, self.bias, self.eps)
        return normal.movedim(-1, 1)


class CubeAttention(nn.Module):
    """Multi-head attention over a cube, with relative positions along each axis."""

    def __init__(self, dim: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        for axis in AXES:
            table = nn.Parameter(torch.zeros(2 * side - 1, dim // heads))
            self.register_parameter(f"rel_pos_{axis}", table)

    def forward(self, x: Tensor) -> Tensor:  # (B, d, h, w, C) -> the same
        B, *sides, C = x.shape
        cells = math.prod(sides)
        qkv = self.qkv(x).reshape(B, cells, 3, self.heads, C // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, L, D)
        step = max(1, BIAS_LIMIT // cells**2)
        parts = []
        for start in range(0, self.heads, step):
            some = slice(start, start + step)
            bias = self._bias(q[:, some].unflatten(2, sides))
            parts.append(
                F.scaled_dot_product_attention(q[:, some], k[:, some], v[:, some], attn_mask=bias)
            )
        joined = torch.cat(parts, dim=1).transpose(1, 2).reshape(x.shape)
        y: Tensor = self.proj(joined)
        return y

    def _bias(self, queries: Tensor) -> Tensor:  # (B, heads, d, h, w, D) -> (B, heads, L, L)
        """Relative position bias of the attention logits.

        The reference adds its three sums along other axes of queries and keys than those they were
        computed for, which only works for cubes. The weights were trained that way, so it is
        reproduced.
        """
        d, h, w = sides = queries.shape[2:5]
        along = (
            offsets(self.get_parameter(f"rel_pos_{axis}"), side)
            for axis, side in zip(AXES, sides, strict=True)
        )
        forms = ("bndhwc,dkc->bndhwk", "bndhwc,hkc->bndhwk", "bndhwc,wkc->bndhwk")
        of_d, of_h, of_w = (
            torch.einsum(form, queries, table) for form, table in zip(forms, along, strict=True)
        )
        bias = (
            of_d[..., None, None, :]  # the query's own place, by the key's last axis
            + of_h[..., None, :, None, :]  # the query's last axis is the key's first
            + of_w[..., None, None, :, :]  # the query's last axis is the key's second
        )
        return bias.reshape(*queries.shape[:2], d * h * w, d * h * w)


class CubeBlock(nn.Module):
    """Pre-norm attention and MLP with residuals; window 0 is global attention."""

    def __init__(self, config: CubeConfig, window: int) -> None:
        super().__init__()
        dim = config.dim
        self.window = window
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = CubeAttention(dim, config.heads, window or config.grid)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp((dim, 4 * dim, dim), ("lin1", "lin2"), "gelu")

    def forward(self, x: Tensor) -> Tensor:  # (B, d, h, w, C) -> the same
        y = self.norm1(x)
        if self.window:  # the padding zeros are attended to, as in training
            y = cells_back(self.attn(cells_to_windows(y, self.window)), x, self.window)
        else:
            y = self.attn(y)
        x = x + y
        z: Tensor = x + self.mlp(self.norm2(x))
        return z


def cells_to_windows(x: Tensor, side: int) -> Tensor:
    """(B, d, h, w, C) -> (B * n, side, side, side, C), zeros at the far ends."""
    d, h, w = x.shape[1:4]
    x = F.pad(x, (0, 0, 0, -w % side, 0, -h % side, 0, -d % side))
    for axis in (3, 2, 1):
        x = x.unflatten(axis, (-1, side))  # (B, n_d, side, n_h, side, n_w, side, C)
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, side, side, side, x.shape[-1])


def cells_back(windows: Tensor, like: Tensor, side: int) -> Tensor:
    """Join windows without the padding, in the shape of `like`."""
    B, d, h, w, C = like.shape
    counts = [-(-length // side) for length in (d, h, w)]
    x = windows.reshape(B, *counts, side, side, side, C).permute(0, 1, 4, 2, 5, 3, 6, 7)
    full = (count * side for count in counts)
    return x.reshape(B, *full, C)[:, :d, :h, :w]


class CubePatches(nn.Module):
    """Non-overlapping cubes of voxels as tokens."""

    def __init__(self, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(1, dim, patch, patch)

    def forward(self, cubes: Tensor) -> Tensor:  # (B, 1, S, S, S) -> (B, d, h, w, C)
        tokens: Tensor = self.proj(cubes).movedim(1, -1)
        return tokens


class CubeEncoder(nn.Module):
    """The ViT encoder."""

    def __init__(self, config: CubeConfig) -> None:
        super().__init__()
        grid, out = config.grid, config.out_dim
        self.patch_embed = CubePatches(config.patch, config.dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, grid, config.dim))
        windows = [0 if i in config.global_blocks else config.window for i in range(config.depth)]
        self.blocks = nn.ModuleList(CubeBlock(config, window) for window in windows)
        self.neck = nn.Sequential(
            nn.Conv3d(config.dim, out, 1, bias=False),
            LayerNorm3d(out),
            nn.Conv3d(out, out, 3, padding=1, bias=False),
            LayerNorm3d(out),
        )

    def forward(self, cubes: Tensor) -> Tensor:  # (B, 1, S, S, S) -> (B, C, d, h, w)
        x = self.patch_embed(cubes) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.neck(x.movedim(-1, 1))
        return y


class CubePositions(nn.Module):
    """Fourier features of places in 0..1 along three axes: sine, cosine, sine again."""

    positional_encoding_gaussian_matrix: Tensor  # (3, C / 3)

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(3, dim // 3))

    def forward(self, places: Tensor) -> Tensor:  # (..., 3) -> (..., C)
        matrix = self.positional_encoding_gaussian_matrix.float()
        angles = (2 * math.pi) * ((2 * places.float() - 1) @ matrix)
        return torch.cat([angles.sin(), angles.cos(), angles.sin()], dim=-1)

    def grid(self, side: int) -> Tensor:
        """Encoding of every cell, the first two axes swapped as in the reference: (1, L, C)."""
        at = (
            torch.arange(side, device=self.positional_encoding_gaussian_matrix.device) + 0.5
        ) / side
        first, second, third = torch.meshgrid(at, at, at, indexing="ij")
        encoded: Tensor = self(torch.stack([second, first, third], dim=-1))
        return encoded.reshape(1, side**3, -1)


class CubePrompts(nn.Module):
    """Encodes clicks and a mask prompt."""

    def __init__(self, config: CubeConfig) -> None:
        super().__init__()
        dim = config.out_dim
        self.side = config.side
        self.pe_layer = CubePositions(dim)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, dim) for _ in range(2))
        self.not_a_point_embed = nn.Embedding(1, dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv3d(1, 4, 2, 2),
            LayerNorm3d(4),
            nn.GELU(),
            nn.Conv3d(4, 16, 2, 2),
            LayerNorm3d(16),
            nn.GELU(),
            nn.Conv3d(16, dim, 1),
        )
        self.no_mask_embed = nn.Embedding(1, dim)

    def embed_points(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Points (N, P, 3) in voxels, labels (N, P): 1 object, 0 not, -1 no point -> (N, P, C)."""
        tokens = self.pe_layer((coords.float() + 0.5) / self.side)
        nowhere = (labels == NO_POINT)[..., None]
        tokens = torch.where(nowhere, self.not_a_point_embed.weight, tokens)
        for label in range(len(self.point_embeddings)):
            learned = self.get_parameter(f"point_embeddings.{label}.weight")
            tokens = tokens + torch.where((labels == label)[..., None], learned, 0.0)
        return tokens

    def embed_mask(self, masks: Tensor | None) -> Tensor:
        """Logits (N, 1, m, m, m) of an earlier prediction, or None -> (N or 1, C, d, h, w)."""
        if masks is None:
            return self.no_mask_embed.weight[..., None, None, None]
        y: Tensor = self.mask_downscaling(masks)
        return y


class CubeDecoder(nn.Module):
    """Predicts all candidate masks and their IoU."""

    def __init__(self, config: CubeConfig) -> None:
        super().__init__()
        dim, narrow = config.out_dim, config.out_dim // 8
        self.transformer = TwoWayTransformer(TwoWayConfig(dim=dim, mlp_dim=config.mlp_dim))
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(config.masks, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose3d(dim, dim // 4, 2, 2),
            LayerNorm3d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose3d(dim // 4, narrow, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            Mlp((dim, dim, dim, narrow), HEAD, "relu") for _ in range(config.masks)
        )
        hidden = config.quality
        self.iou_prediction_head = Mlp((dim, hidden, hidden, config.masks), HEAD, "relu")

    def forward(
        self, features: Tensor, positions: Tensor, prompt: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(1 or N, C, d, h, w), (1, L, C), (N, P, C), dense prompt -> (N, T, m, m, m), (N, T)."""
        cells = features + dense
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(prompt), -1, -1), prompt], dim=1)
        tokens, seen = self.transformer(tokens, cells.flatten(2).transpose(1, 2), positions)
        upscaled = self.output_upscaling(seen.transpose(1, 2).unflatten(2, cells.shape[2:]))
        heads = enumerate(self.output_hypernetworks_mlps, start=1)
        of_mask = torch.stack([head(tokens[:, place]) for place, head in heads], dim=1)
        logits = (of_mask @ upscaled.flatten(2)).unflatten(2, upscaled.shape[2:])
        return logits, self.iou_prediction_head(tokens[:, 0])


class CubeModel(nn.Module):
    """SAM-Med3D, stateless."""

    def __init__(self, spec: ModelSpec, config: CubeConfig | None = None) -> None:
        super().__init__()
        config = config or CubeConfig()
        self.spec, self.config = spec, config
        self.image_encoder = CubeEncoder(config)
        self.prompt_encoder = CubePrompts(config)
        self.mask_decoder = CubeDecoder(config)

    def encode(self, cubes: Tensor) -> Tensor:  # (B, 1, S, S, S) -> (B, C, d, h, w)
        """Encode normalized cubes of voxels."""
        y: Tensor = self.image_encoder(cubes)
        return y

    def decode(
        self, features: Tensor, coords: Tensor, labels: Tensor, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Decode N prompts on one cube.

        Args:
            features: Features (1, C, d, h, w).
            coords: Points (N, P, 3) in voxels of the cube, in the order of its axes.
            labels: Labels (N, P).
            masks: Logits (N, 1, m, m, m) of an earlier prediction, or None.

        Returns:
            Logits (N, T, m, m, m), quality (N, T); token 0 is for unambiguous prompts.
        """
        logits, quality = self.mask_decoder(
            features,
            self.prompt_encoder.pe_layer.grid(self.config.grid),
            self.prompt_encoder.embed_points(coords, labels),
            self.prompt_encoder.embed_mask(masks),
        )
        return logits, quality


# For tests: 32 voxels per side, 4 x 4 x 4 features of 48 channels.
TINY = CubeConfig(
    side=32, patch=8, dim=24, depth=2, heads=2, global_blocks=(1,), window=3, out_dim=48,
    mlp_dim=32, quality=16,
)  # fmt: skip
TINY_SPEC = replace(SAM_MED3D, name="tiny_cubes", image_side=32, mask_side=16)
