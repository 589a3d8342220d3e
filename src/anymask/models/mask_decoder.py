"""The mask decoder of SAM's families.

Sources: Kirillov et al. 2023, section 3 and appendix A ("Lightweight mask decoder"); Ke et al. 2023
(SAM-HQ, section 3.2) for the HQ token; Ravi et al. 2024 (SAM 2, appendix D.1, "Mask decoder") for
fine maps and the object score; segment-anything, sam-hq, EfficientSAM and sam2 (all Apache-2.0) for
names and numbers. Differences: all masks are returned (callers select), and what SAM-HQ and SAM 2
compute from the image only is in `detail` and `fine_maps`, computed once per image.

Letters: B images, N prompts, T masks, P points, C channels, h w image features, m = 4 h, L = h * w.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.models.fast import Activation, convolved
from anymask.models.layers import LayerNorm2d, Mlp, add_submodule
from anymask.models.two_way import TwoWayConfig, TwoWayTransformer

SAM_HEAD = ("layers.0", "layers.1", "layers.2")
SAM_UPSCALING = ("output_upscaling.0", "output_upscaling.1", "output_upscaling.3")
EFFICIENT_SAM_HEAD = ("layers.0.0", "layers.1.0", "fc")
EFFICIENT_SAM_UPSCALING = tuple(f"final_output_upscaling_layers.{i}" for i in ("0.0", "0.1", "1.0"))


@dataclass(frozen=True, kw_only=True)
class MaskDecoderConfig:
    """Sizes and options of a mask decoder."""

    dim: int = 256  # Channels C
    masks: int = 4  # Number of mask tokens; token 0 is for unambiguous prompts
    # "all" masks, or "multi": all but token 0's (EfficientSAM)
    answers: Literal["all", "multi"] = "all"
    # Sizes of the two-way transformer
    transformer: TwoWayConfig = field(default_factory=TwoWayConfig)
    activation: Activation = "relu"  # Activation inside the heads
    # Norm of the upscaling: at each "place", or over the whole "map"
    norm: Literal["place", "map"] = "place"
    # Parameter names of a head's three layers in the checkpoint
    head_names: tuple[str, ...] = SAM_HEAD
    # Parameter names of both transposed convolutions and the norm between them
    upscaling_names: tuple[str, ...] = SAM_UPSCALING
    early_dim: int = 0  # SAM-HQ: channels of the encoder's early map, or 0 for no HQ token
    fine: bool = False  # SAM 2: whether fine maps of the encoder are added in the upscaling
    object_score: bool = False  # SAM 2: whether a token and a head predict the object's presence
    # "linear", or "sigmoid": between 0 and 1 (SAM 2)
    quality: Literal["linear", "sigmoid"] = "linear"


@dataclass(frozen=True, eq=False)
class Decoded:
    """All outputs of a decoder for N prompts."""

    logits: Tensor  # Logits (N, T, m, m)
    quality: Tensor  # Predicted IoU (N, T)
    tokens: Tensor  # Final mask tokens (N, masks, C)
    object_score: Tensor  # Logit (N, 1) of the object's presence; zeros without such a head


class MaskDecoder(nn.Module):
    """Predicts all candidate masks and their IoU."""

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        self.config = config
        dim, narrow = config.dim, config.dim // 8
        self.transformer = TwoWayTransformer(config.transformer)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(config.masks, dim)
        norm = LayerNorm2d(dim // 4) if config.norm == "place" else nn.GroupNorm(1, dim // 4)
        widen, _, widen_again = config.upscaling_names
        add_submodule(self, widen, nn.ConvTranspose2d(dim, dim // 4, 2, 2))
        add_submodule(self, config.upscaling_names[1], norm)
        add_submodule(self, widen_again, nn.ConvTranspose2d(dim // 4, narrow, 2, 2))
        self.output_hypernetworks_mlps = nn.ModuleList(
            self._head(narrow) for _ in range(config.masks)
        )
        self.iou_prediction_head = self._head(config.masks)
        if config.early_dim:
            self.hf_token = nn.Embedding(1, dim)
            self.hf_mlp = Mlp((dim, dim, dim, narrow), SAM_HEAD, "relu")
            self.compress_vit_feat = _widening(config.early_dim, dim, narrow)
            self.embedding_encoder = _widening(dim, dim // 4, narrow)
            self.embedding_maskfeature = nn.Sequential(
                nn.Conv2d(narrow, 2 * narrow, 3, padding=1),
                LayerNorm2d(2 * narrow),
                nn.GELU(),
                nn.Conv2d(2 * narrow, narrow, 3, padding=1),
            )
        if config.fine:
            self.conv_s0 = nn.Conv2d(dim, narrow, 1)
            self.conv_s1 = nn.Conv2d(dim, dim // 4, 1)
        if config.object_score:
            self.obj_score_token = nn.Embedding(1, dim)
            self.pred_obj_score_head = Mlp((dim, dim, dim, 1), SAM_HEAD, "relu")

    def _head(self, out_dim: int) -> Mlp:
        dim = self.config.dim
        return Mlp((dim, dim, dim, out_dim), self.config.head_names, self.config.activation)

    def detail(self, features: Tensor, early: Tensor) -> Tensor:
        """SAM-HQ's fine map of an image: (B, C, h, w), (B, early_dim, h, w) -> (B, C / 8, m, m)."""
        return self.embedding_encoder(features) + self.compress_vit_feat(early)

    def fine_maps(self, finest: Tensor, finer: Tensor) -> tuple[Tensor, Tensor]:
        """SAM 2's fine maps of an image, projected for the upscaling.

        (B, C, 4 h, 4 w), (B, C, 2 h, 2 w) -> (B, C / 8, 4 h, 4 w), (B, C / 4, 2 h, 2 w)
        """
        return convolved(finest, self.conv_s0), convolved(finer, self.conv_s1)

    def forward(
        self, features: Tensor, positions: Tensor, prompt: Tensor, dense: Tensor, *detail: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits and quality of `decode`."""
        decoded = self.decode(features, positions, prompt, dense, *detail)
        return decoded.logits, decoded.quality

    def decode(
        self, features: Tensor, positions: Tensor, prompt: Tensor, dense: Tensor, *detail: Tensor
    ) -> Decoded:
        """Decode N prompts.

        Args:
            features: Features (1 or N, C, h, w).
            positions: Positions (1, L, C) of the places in `features`.
            prompt: Tokens (N, P, C).
            dense: Added to `features`: (1 or N, C, h, w), or any shape that broadcasts.
            detail: SAM-HQ: (1 or N, C / 8, m, m); SAM 2: output of `fine_maps`, batch 1 or N.

        Returns:
            Logits (N, T, m, m), quality (N, T) and more. The HQ residual is last, with the quality
            of the single mask.
        """
        image = features + dense
        h, w = image.shape[-2:]
        tokens, cells = self.transformer(
            self.with_output_tokens(prompt), image.flatten(2).transpose(1, 2), positions
        )
        score, tokens = self._object_score(tokens)
        quality = self.iou_prediction_head(tokens[:, 0])
        if self.config.quality == "sigmoid":
            quality = quality.sigmoid()
        upscaled = self._upscale(cells.transpose(1, 2).unflatten(2, (h, w)), detail)
        first = 1 if self.config.answers == "multi" else 0
        of_mask = [
            head(tokens[:, 1 + i])
            for i, head in enumerate(self.output_hypernetworks_mlps)
            if i >= first
        ]
        logits = _mix(torch.stack(of_mask, dim=1), upscaled)
        quality = quality[:, first:]
        if self.config.early_dim:
            fine = self.embedding_maskfeature(upscaled) + detail[0]
            of_hq = self.hf_mlp(tokens[:, 1 + self.config.masks])[:, None]
            logits = torch.cat([logits, _mix(of_hq, fine)], dim=1)
            quality = torch.cat([quality, quality[:, :1]], dim=1)
        return Decoded(logits, quality, tokens[:, 1 : 1 + self.config.masks], score)

    def with_output_tokens(self, prompt: Tensor) -> Tensor:  # (N, P, C) -> (N, 1 + masks.. + P, C)
        outputs = [self.iou_token.weight, self.mask_tokens.weight]
        if self.config.object_score:
            outputs.insert(0, self.obj_score_token.weight)
        if self.config.early_dim:
            outputs.append(self.hf_token.weight)
        return torch.cat([torch.cat(outputs).expand(prompt.shape[0], -1, -1), prompt], dim=1)

    def _object_score(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Split off the object score: (N, T', C) -> (N, 1), and the other tokens."""
        if not self.config.object_score:
            return tokens.new_zeros(tokens.shape[0], 1), tokens
        return self.pred_obj_score_head(tokens[:, 0]), tokens[:, 1:]

    def _upscale(self, seen: Tensor, detail: tuple[Tensor, ...]) -> Tensor:
        """(N, C, h, w) -> (N, C / 8, m, m)."""
        widen, norm, widen_again = (self.get_submodule(n) for n in self.config.upscaling_names)
        if not self.config.fine:
            return F.gelu(widen_again(F.gelu(norm(widen(seen)))))
        finest, finer = detail
        return F.gelu(widen_again(F.gelu(norm(widen(seen) + finer))) + finest)


def _mix(weights: Tensor, features: Tensor) -> Tensor:
    """(N, T, C), (N, C, m, m) -> (N, T, m, m)."""
    return (weights @ features.flatten(2)).unflatten(2, features.shape[-2:])


def _widening(c_in: int, hidden: int, c_out: int) -> nn.Sequential:
    """Upscaling by 4: (B, c_in, h, w) -> (B, c_out, 4 h, 4 w)."""
    return nn.Sequential(
        nn.ConvTranspose2d(c_in, hidden, 2, 2),
        LayerNorm2d(hidden),
        nn.GELU(),
        nn.ConvTranspose2d(hidden, c_out, 2, 2),
    )
