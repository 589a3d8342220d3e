"""Parts of a model for training: prefixes of the parameter names of each part."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelParts:
    """Prefixes of parameter names.

    encoder     of everything that sees the picture
    pretrained  of what learns at a lower rate, as it has learned elsewhere before
    frozen      of what never learns
    quality     of the head that estimates the quality
    hq          of what SAM-HQ adds to SAM, where the model has it
    """

    encoder: str
    pretrained: str
    frozen: tuple[str, ...] = ()
    quality: str
    hq: tuple[str, ...] = ()


# SAM 2's families: what only videos ask for stays as videos have taught it.
VIDEO_PARTS = ModelParts(
    encoder="image_encoder.",
    pretrained="image_encoder.",
    frozen=(
        "maskmem_tpos_enc", "no_mem_pos_enc", "no_obj_ptr", "no_obj_embed_spatial",
        "mask_downsample.", "memory_attention.", "memory_encoder.", "spatial_perceiver.",
        "obj_ptr_proj.", "obj_ptr_tpos_proj.", "sam_mask_decoder.obj_score_token.",
        "sam_mask_decoder.pred_obj_score_head.",
    ),
    quality="sam_mask_decoder.iou_prediction_head.",
)  # fmt: skip
