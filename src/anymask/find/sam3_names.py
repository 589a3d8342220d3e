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

if TYPE_CHECKING:
    from torch import Tensor

PATTERN = "sam3*.pt"  # official file names
# Rotations that transformers computes, and prompts by points, which it does not have.
IGNORED = re.compile(r"freqs_cis|^detector\.geometry_encoder\.points_")
POINTS = "tracker_model.prompt_encoder.point_embed.weight"
POSITIONS = "tracker_model.prompt_encoder.shared_embedding.positional_embedding"
POSITIONS_AGAIN = "tracker_model.shared_image_embedding.positional_embedding"

_POINT = re.compile(r"^tracker\.sam_prompt_encoder\.point_embeddings\.\d\.weight$")
_NECK_LAYER = re.compile(
    r"^detector\.backbone\.vision_backbone\.(sam2_)?convs\.(\d)\.(\w+)\.(\w+)$"
)
_NECK = {
    "dconv_2x2_0": "scale_layers.0", "dconv_2x2_1": "scale_layers.2", "dconv_2x2": "scale_layers.0",
    "conv_1x1": "proj1", "conv_3x3": "proj2",
}  # fmt: skip
_THREE = ("q_proj", "k_proj", "v_proj")
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
_TRACKER = (
    (r"^sam_(mask_decoder|prompt_encoder)\.", r"\1."),
    (r"\.pe_layer\.positional_encoding_gaussian_matrix", ".shared_embedding.positional_embedding"),
    (r"mask_downscaling\.0", "mask_embed.conv1"),
    (r"mask_downscaling\.1", "mask_embed.layer_norm1"),
    (r"mask_downscaling\.3", "mask_embed.conv2"),
    (r"mask_downscaling\.4", "mask_embed.layer_norm2"),
    (r"mask_downscaling\.6", "mask_embed.conv3"),
    (r"output_upscaling\.0", "upscale_conv1"),
    (r"output_upscaling\.1", "upscale_layer_norm"),
    (r"output_upscaling\.3", "upscale_conv2"),
    (r"^obj_ptr_tpos_proj\.", "temporal_positional_encoding_projection_layer."),
    (r"^obj_ptr_proj\.", "object_pointer_proj."),
    (r"(hypernetworks_mlps\.\d|_head|object_pointer_proj)\.layers\.0", r"\1.proj_in"),
    (r"(hypernetworks_mlps\.\d|_head|object_pointer_proj)\.layers\.1", r"\1.layers.0"),
    (r"(hypernetworks_mlps\.\d|_head|object_pointer_proj)\.layers\.2", r"\1.proj_out"),
    (r"(mask_decoder\.transformer\..*)\.norm(\d)", r"\1.layer_norm\2"),
    (r"norm_final_attn", "layer_norm_final_attn"),
    (r"\.mlp\.(?:layers\.0|lin1)", ".mlp.proj_in"),
    (r"\.mlp\.(?:layers\.1|lin2)", ".mlp.proj_out"),
    (r"^maskmem_tpos_enc", "memory_temporal_positional_encoding"),
    (r"^no_mem_embed", "no_memory_embedding"),
    (r"^no_mem_pos_enc", "no_memory_positional_encoding"),
    (r"^no_obj_ptr", "no_object_pointer"),
    (r"^no_obj_embed_spatial", "occlusion_spatial_embedding_parameter"),
    (r"^transformer\.encoder\.", "memory_attention."),
    (r"(memory_attention(?:\.layers\.\d)?)\.norm(\d?)", r"\1.layer_norm\2"),
    (r"^maskmem_backbone\.out_proj", "memory_encoder.projection"),
    (r"^maskmem_backbone\.mask_downsampler\.encoder\.12\.",
     "memory_encoder.mask_downsampler.final_conv."),
    (r"^maskmem_backbone\.", "memory_encoder."),
    (r"pix_feat_proj", "feature_projection"),
    (r"\.fuser\.", ".memory_fuser."),
    (r"\.gamma", ".scale"),
    (r"dwconv", "depthwise_conv"),
    (r"pwconv", "pointwise_conv"),
    (r"(memory_fuser\.layers\.\d)\.norm", r"\1.layer_norm"),
    (r"\.out_proj\.", ".o_proj."),
)  # fmt: skip


def transformers_names(official: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Names of transformers by official name; ignored tensors are missing.

    Several names are the thirds of a tensor's rows: queries, keys and values. The point embeddings
    have the same name, because transformers joins them.
    """
    return {name: _named(name) for name in official if not IGNORED.search(name)}


def _named(name: str) -> tuple[str, ...]:
    if _POINT.match(name):
        return (POINTS,)
    if neck := _NECK_LAYER.match(name):
        kind, level, layer, end = neck.groups()
        owner = "tracker_neck" if kind else "detector_model.vision_encoder.neck"
        return (f"{owner}.fpn_layers.{level}.{_NECK[layer]}.{end}",)
    owner, _, found = name.partition(".")
    for pattern, replacement in _DETECTOR if owner == "detector" else _TRACKER:
        found = re.sub(pattern, replacement, found)
    if owner == "tracker":
        found = re.sub(r"(mask_downsampler)\.encoder\.(\d+)\.", _downsampler, found)
        return (f"tracker_model.{found}",)
    found = re.sub(
        r"^((?:detr_decoder|dot_product_scoring)\.\w+)\.layers\.(\d)\.",
        lambda match: f"{match[1]}.layer{int(match[2]) + 1}.",
        found,
    )
    if joined := re.search(r"\.(?:qkv\.|in_proj_)(weight|bias)$", found):
        begin = found[: joined.start()]
        return tuple(f"detector_model.{begin}.{part}.{joined[1]}" for part in _THREE)
    return (f"detector_model.{found}",)


def _downsampler(match: re.Match[str]) -> str:
    """Convolutions and norms alternate with activations."""
    place, part = divmod(int(match[2]), 3)
    return f"{match[1]}.layers.{place}.{('conv', 'layer_norm')[part]}."


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of an official checkpoint; `weights` is emptied to save memory."""
    import torch

    found: dict[str, Tensor] = {}
    points: list[Tensor] = []
    for name, places in transformers_names([*weights]).items():
        tensor = weights.pop(name)
        if places == (POINTS,):
            points.append(tensor)
            continue
        if name.endswith("trunk.pos_embed"):
            tensor = tensor[:, 1:]  # without the class token
        elif name.endswith("encoder.text_projection"):
            tensor = tensor.t().contiguous()
        found |= zip(places, tensor.chunk(len(places)), strict=True)
    if points:
        found[POINTS] = torch.cat(points)
    if POSITIONS in found:
        found[POSITIONS_AGAIN] = found[POSITIONS].clone()
    return found


def read_official(path: Path) -> dict[str, Any]:
    """Read `sam3.pt` under the names of transformers' files. Raises WeightsError."""
    from anymask.runtime import read_checkpoint

    return renamed(read_checkpoint(path))
