"""SAM's prompt encoder: clicks, boxes and a mask to tokens and dense features.

Source: Kirillov et al. 2023, section 3 and appendix A ("Prompt encoder"); segment-anything and
EfficientSAM (both Apache-2.0) for names and numbers. Differences: boxes are two labelled points,
and every selection is a `torch.where` on the labels, so that the graph exports with any N and P.

Letters: N prompts, P points, C channels, S the model's input side, m side of a low-resolution mask,
h w the image features, L = h * w.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from anymask.models.layers import LayerNorm2d, add_submodule, embedding
from anymask.models.positions import FourierPositions

NO_POINT = -1

SAM_NAMES: tuple[tuple[int, str], ...] = (
    (NO_POINT, "not_a_point_embed"),
    (0, "point_embeddings.0"),
    (1, "point_embeddings.1"),
    (2, "point_embeddings.2"),
    (3, "point_embeddings.3"),
)
EFFICIENT_SAM_NAMES: tuple[tuple[int, str], ...] = (
    (NO_POINT, "invalid_points"),
    (1, "point_embeddings"),
    (2, "bbox_top_left_embeddings"),
    (3, "bbox_bottom_right_embeddings"),
)


@dataclass(frozen=True, kw_only=True)
class PromptEncoderConfig:
    """Sizes and options of a prompt encoder."""

    dim: int = 256  # Channels C
    image_side: int = 1024  # Side S, the range of the coordinates
    mask_channels: int = 16  # Hidden channels of the mask branch, or 0 without mask prompts
    # Label -> name of its learned embedding in the checkpoint
    label_names: tuple[tuple[int, str], ...] = SAM_NAMES
    # Position of "no point": "nowhere" (SAM: only its embedding is used), or "outside"
    # (EfficientSAM: its embedding at (-1, -1))
    no_point: Literal["nowhere", "outside"] = "nowhere"


class PromptEncoder(nn.Module):
    """Encodes clicks, box corners and a mask prompt for the mask decoder."""

    def __init__(self, config: PromptEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.pe_layer = FourierPositions(config.dim)
        for _, name in config.label_names:
            add_submodule(self, name, nn.Embedding(1, config.dim))
        if config.mask_channels:
            hidden = config.mask_channels
            self.mask_downscaling = nn.Sequential(
                nn.Conv2d(1, hidden // 4, 2, 2),
                LayerNorm2d(hidden // 4),
                nn.GELU(),
                nn.Conv2d(hidden // 4, hidden, 2, 2),
                LayerNorm2d(hidden),
                nn.GELU(),
                nn.Conv2d(hidden, config.dim, 1),
            )
            self.no_mask_embed = nn.Embedding(1, config.dim)

    def embed_points(self, coords: Tensor, labels: Tensor) -> Tensor:
        """One token per point.

        Args:
            coords: Points (N, P, 2) in model pixels; 0 is the centre of the first pixel.
            labels: Labels (N, P): 1 object, 0 background, 2 and 3 box corners, -1 no point.

        Returns:
            Tokens (N, P, C).
        """
        absent = (labels == NO_POINT)[..., None]
        if self.config.no_point == "outside":
            coords = torch.where(absent, -1.0, coords)
        tokens: Tensor = self.pe_layer((coords.float() + 0.5) / self.config.image_side)
        if self.config.no_point == "nowhere":
            tokens = torch.where(absent, 0.0, tokens)
        for label, name in self.config.label_names:
            tokens = tokens + torch.where((labels == label)[..., None], embedding(self, name), 0.0)
        return tokens.to(self.pe_layer.positional_encoding_gaussian_matrix.dtype)

    def embed_masks(self, masks: Tensor, has_mask: Tensor) -> Tensor:
        """Dense embedding of a mask prompt, which is added to the image features.

        Args:
            masks: Logits (N, 1, m, m), used only if has_mask is 1.
            has_mask: (N,) 1 or 0.

        Returns:
            Features (N, C, m / 4, m / 4), or a zero of shape (1, 1, 1, 1) without a mask branch.
        """
        if not self.config.mask_channels:
            return masks.new_zeros(1, 1, 1, 1)
        absent = (has_mask < 0.5)[:, None, None, None]
        nothing = self.no_mask_embed.weight[..., None, None]  # (1, C, 1, 1)
        return torch.where(absent, nothing, self.mask_downscaling(masks))

    def grid(self, h: int, w: int) -> Tensor:
        """Position of every cell of the image features, (1, L, C)."""
        return self.pe_layer.grid(h, w).to(self.pe_layer.positional_encoding_gaussian_matrix.dtype)
