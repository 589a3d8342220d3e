"""The official checkpoint of SAM 3, under the parameter names of transformers.

`sam3.pt` is renamed when it is read, because SAM 3 runs on transformers' network. The names of the
published file are those of its parameters; those of transformers are of version 5.23, `models/sam3`
and `models/sam3_tracker_video` (Apache-2.0).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.find import official_names
from anymask.runtime import transformers_names as sam_names

if TYPE_CHECKING:
    from torch import Tensor

PATTERN = "sam3*.pt"  # official file names
# Rotations that transformers computes, and prompts by points, which it does not have.
IGNORED = re.compile(r"freqs_cis|^detector\.geometry_encoder\.points_")
TRACKER = "tracker."
POINTS = "tracker_model.prompt_encoder.point_embed.weight"
POSITIONS = "tracker_model.prompt_encoder.shared_embedding.positional_embedding"
POSITIONS_AGAIN = "tracker_model.shared_image_embedding.positional_embedding"

_NECK_LAYER = re.compile(r"^backbone\.vision_backbone\.(sam2_)?convs\.(\d)\.(\w+)\.(\w+)$")
_NECK = {
    "dconv_2x2_0": "scale_layers.0", "dconv_2x2_1": "scale_layers.2", "dconv_2x2": "scale_layers.0",
    "conv_1x1": "proj1", "conv_3x3": "proj2",
}  # fmt: skip
_DECODER = r"^(detr_decoder\.layers\.\d+)\."
_DETECTOR = (
    (r"^backbone\.vision_backbone\.trunk\.pos_embed$",
     "vision_encoder.backbone.embeddings.position_embeddings"),
    (r"^backbone\.vision_backbone\.trunk\.patch_embed\.proj\.",
     "vision_encoder.backbone.embeddings.patch_embeddings.projection."),
    (r"^backbone\.vision_backbone\.trunk\.blocks\.", "vision_encoder.backbone.layers."),
    (r"^backbone\.vision_backbone\.trunk\.ln_pre\.", "vision_encoder.backbone.layer_norm."),
    (r"^(vision_encoder\..*)\.attn\.", r"\1.attention."),
    (r"^(vision_encoder\..*)\.attention\.proj\.", r"\1.attention.o_proj."),
    (r"^(vision_encoder\..*)\.norm(\d)\.", r"\1.layer_norm\2."),
    (r"^backbone\.language_backbone\.resizer\.", "text_projection."),
    (r"^backbone\.language_backbone\.encoder\.text_projection$",
     "text_encoder.text_projection.weight"),
    (r"^backbone\.language_backbone\.encoder\.positional_embedding$",
     "text_encoder.text_model.embeddings.position_embedding.weight"),
    (r"^backbone\.language_backbone\.encoder\.token_embedding\.",
     "text_encoder.text_model.embeddings.token_embedding."),
    (r"^backbone\.language_backbone\.encoder\.transformer\.resblocks\.",
     "text_encoder.text_model.encoder.layers."),
    (r"^backbone\.language_backbone\.encoder\.ln_final\.",
     "text_encoder.text_model.final_layer_norm."),
    (r"^(text_encoder\..*)\.attn\.", r"\1.self_attn."),
    (r"^(text_encoder\..*)\.ln_(\d)\.", r"\1.layer_norm\2."),
    (r"^(text_encoder\..*)\.mlp\.c_fc\.", r"\1.mlp.fc1."),
    (r"^(text_encoder\..*)\.mlp\.c_proj\.", r"\1.mlp.fc2."),
    (r"^geometry_encoder\.norm\.", "geometry_encoder.prompt_layer_norm."),
    (r"^geometry_encoder\.img_pre_norm\.", "geometry_encoder.vision_layer_norm."),
    (r"^geometry_encoder\.encode_norm\.", "geometry_encoder.output_layer_norm."),
    (r"^geometry_encoder\.encode\.", "geometry_encoder.layers."),
    (r"^transformer\.encoder\.", "detr_encoder."),
    (r"^((?:geometry|detr)_encoder\.layers\..*)\.norm(\d)\.", r"\1.layer_norm\2."),
    (r"^((?:geometry|detr)_encoder\.layers\..*)\.cross_attn_image\.", r"\1.cross_attn."),
    (r"^transformer\.decoder\.bbox_embed\.", "detr_decoder.box_head."),
    (r"^transformer\.decoder\.boxRPB_embed_", "detr_decoder.box_rpb_embed_"),
    (r"^transformer\.decoder\.presence_token_head\.", "detr_decoder.presence_head."),
    (r"^transformer\.decoder\.presence_token_out_norm\.", "detr_decoder.presence_layer_norm."),
    (r"^transformer\.decoder\.norm\.", "detr_decoder.output_layer_norm."),
    (r"^transformer\.decoder\.", "detr_decoder."),
    (_DECODER + r"cross_attn\.", r"\1.vision_cross_attn."),
    (_DECODER + r"ca_text\.", r"\1.text_cross_attn."),
    (_DECODER + r"catext_norm\.", r"\1.text_cross_attn_layer_norm."),
    (_DECODER + r"norm1\.", r"\1.vision_cross_attn_layer_norm."),
    (_DECODER + r"norm2\.", r"\1.self_attn_layer_norm."),
    (_DECODER + r"norm3\.", r"\1.mlp_layer_norm."),
    (r"^((?:geometry|detr)_(?:en|de)coder\.layers\..*)\.linear(\d)\.", r"\1.mlp.fc\2."),
    (r"^segmentation_head\.mask_predictor\.mask_embed\.", "mask_decoder.mask_embedder."),
    (r"^segmentation_head\.cross_attend_prompt\.", "mask_decoder.prompt_cross_attn."),
    (r"^segmentation_head\.cross_attn_norm\.", "mask_decoder.prompt_cross_attn_norm."),
    (r"^segmentation_head\.(semantic|instance)_seg_head\.", r"mask_decoder.\1_projection."),
    (r"^segmentation_head\.", "mask_decoder."),
    (r"^dot_prod_scoring\.prompt_mlp\.out_norm\.", "dot_product_scoring.text_mlp_out_norm."),
    (r"^dot_prod_scoring\.prompt_", "dot_product_scoring.text_"),
    (r"^dot_prod_scoring\.hs_proj\.", "dot_product_scoring.query_proj."),
    (r"^((?!text_encoder).*)\.out_proj\.", r"\1.o_proj."),
)  # fmt: skip
# The tracker is that of SAM 2; here what its names in `sam3.pt` are in SAM 2's files.
_AS_SAM_2 = (
    (r"^maskmem_backbone\.", "memory_encoder."),
    (r"^transformer\.encoder\.", "memory_attention."),
    (r"\.mlp\.lin1\.", ".mlp.layers.0."),
    (r"\.mlp\.lin2\.", ".mlp.layers.1."),
)


def transformers_names(official: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Names of transformers by official name; ignored tensors are missing.

    Several names are the thirds of a tensor's rows: queries, keys and values. The point embeddings
    have the same name, because transformers joins them.
    """
    given = [name for name in official if not IGNORED.search(name)]
    tracker = {name: official_names.renamed(name.removeprefix(TRACKER), _AS_SAM_2)
               for name in given if name.startswith(TRACKER)}  # fmt: skip
    as_sam_2 = sam_names.transformers_names(tracker.values())
    return {
        name: (f"tracker_model.{as_sam_2[tracker[name]].names[0]}",)
        if name in tracker
        else _named(name.removeprefix("detector."))
        for name in given
    }


def _named(name: str) -> tuple[str, ...]:
    """Names of transformers for a tensor of the detector."""
    if neck := _NECK_LAYER.match(name):
        kind, level, layer, end = neck.groups()
        owner = "tracker_neck" if kind else "detector_model.vision_encoder.neck"
        return (f"{owner}.fpn_layers.{level}.{_NECK[layer]}.{end}",)
    inner = re.sub(
        r"^((?:detr_decoder|dot_product_scoring)\.\w+)\.layers\.(\d)\.",
        lambda match: f"{match[1]}.layer{int(match[2]) + 1}.",
        official_names.renamed(name, _DETECTOR),
    )
    return official_names.split_joined(f"detector_model.{inner}", ("q_proj", "k_proj", "v_proj"))


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of an official checkpoint; `weights` is emptied to save memory."""
    import torch

    tensors: dict[str, Tensor] = {}
    points: list[Tensor] = []
    for name, targets in transformers_names([*weights]).items():
        tensor = weights.pop(name)
        if targets == (POINTS,):
            points.append(tensor)
            continue
        if name.endswith("trunk.pos_embed"):
            tensor = tensor[:, 1:]  # without the class token
        elif name.endswith("encoder.text_projection"):
            tensor = tensor.t().contiguous()
        tensors |= zip(targets, tensor.chunk(len(targets)), strict=True)
    if points:
        tensors[POINTS] = torch.cat(points)
    if POSITIONS in tensors:
        tensors[POSITIONS_AGAIN] = tensors[POSITIONS].clone()
    return tensors


def read_official(path: Path) -> dict[str, Any]:
    """Read `sam3.pt` under the names of transformers' files. Raises WeightsError."""
    from anymask.runtime import read_checkpoint

    return renamed(read_checkpoint(path))
