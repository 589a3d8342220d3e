"""SAM's image model, without input validation.

Letters: B images, S input side, N prompts, P points, T masks of the decoder, C channels, h w image
features, m side of the low-resolution masks.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from anymask.masks import ModelSpec
from anymask.models.layers import ModelParts
from anymask.models.mask_decoder import MaskDecoder
from anymask.models.prompt_encoder import PromptEncoder

# Ke et al. 2023, section 3.2: the trained parameters; SAM is frozen.
HQ_PARTS = tuple(
    f"mask_decoder.{name}."
    for name in (
        "hf_token", "hf_mlp", "compress_vit_feat", "embedding_encoder", "embedding_maskfeature",
    )
)  # fmt: skip


class ImageModel(nn.Module):
    """A stateless image encoder, prompt encoder and mask decoder.

    Args:
        spec: Specification of the model.
        image_encoder: (B, 3, S, S) -> features (B, C, h, w) and, for SAM-HQ, the early map.
        prompt_encoder: The prompt encoder.
        mask_decoder: The mask decoder.
    """

    parts = ModelParts(
        encoder="image_encoder.",
        pretrained="image_encoder.",
        quality="mask_decoder.iou_prediction_head.",
    )

    def __init__(
        self,
        spec: ModelSpec,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        if mask_decoder.config.early_dim:
            self.parts = replace(type(self).parts, hq=HQ_PARTS)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights, to which inputs are converted."""
        return self.mask_decoder.mask_tokens.weight.dtype

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode B images.

        Args:
            images: Normalized images (B, 3, S, S).

        Returns:
            Features (B, C, h, w), then the extra maps of the family, in the model's dtype: SAM-HQ
            has one, the fine map (B, C / 8, m, m).
        """
        features, *early = self.image_encoder(images.to(self.dtype))
        if not self.mask_decoder.config.early_dim:
            return (features,)
        return (features, self.mask_decoder.detail(features, early[0]))

    def decode(
        self,
        features: tuple[Tensor, ...],
        coords: Tensor,
        labels: Tensor,
        masks: Tensor,
        has_mask: Tensor,
        vectors: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Decode N prompts on one image (features of batch 1), or one each on N images.

        Args:
            features: Output of `encode`.
            coords: Points (N, P, 2) in model pixels.
            labels: Labels (N, P): 1 object, 0 background, 2 and 3 box corners, -1 no point.
            masks: Logits (N, 1, m, m) of an earlier prediction, used if has_mask is 1. Without any
                mask prompts, pass zeros (1, 1, m, m) and has_mask (1,), which saves a quarter of
                the work.
            has_mask: (N,) 1 or 0.
            vectors: Further tokens (N, V, C), appended to the points.

        Returns:
            Logits (N, T, m, m) and quality (N, T), float32, in the model's own order.
        """
        image, *detail = (x.to(self.dtype) for x in features)
        tokens = self.prompt_encoder.embed_points(coords, labels)
        if vectors is not None:
            tokens = torch.cat([tokens, vectors.to(tokens.dtype)], dim=1)
        logits, quality = self.mask_decoder(
            image,
            self.prompt_encoder.grid(image.shape[-2], image.shape[-1]),
            tokens,
            self.prompt_encoder.embed_masks(masks.to(self.dtype), has_mask),
            *detail,
        )
        return logits.float(), quality.float()
