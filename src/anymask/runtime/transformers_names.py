"""Parameter names of SAM, SAM-HQ, SAM 2 and EdgeTAM in the transformers library.

Networks have their official names. `transformers_name` translates one; weights of transformers are
loaded by translating every name of the network, so both directions are one table. Source of the
names: transformers 5.23, `models/sam`, `sam_hq`, `sam2_video`, `edgetam_video` (Apache-2.0).

Two kinds of tensors are divided differently: SAM 2's four point embeddings are rows of one tensor,
and keys and values of EdgeTAM's perceiver are two tensors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

Rules = tuple[tuple[str, str], ...]  # pattern of an official name, replacement

# The two convolution stacks of SAM's prompt encoder and mask decoder, and heads of three layers.
_SHARED: Rules = (
    (r"pe_layer\.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
    (r"mask_downscaling\.0\b", "mask_embed.conv1"),
    (r"mask_downscaling\.1\b", "mask_embed.layer_norm1"),
    (r"mask_downscaling\.3\b", "mask_embed.conv2"),
    (r"mask_downscaling\.4\b", "mask_embed.layer_norm2"),
    (r"mask_downscaling\.6\b", "mask_embed.conv3"),
    (r"output_upscaling\.0\b", "upscale_conv1"),
    (r"output_upscaling\.1\b", "upscale_layer_norm"),
    (r"output_upscaling\.3\b", "upscale_conv2"),
    (r"(mlps\.\d|head|hf_mlp|obj_ptr_proj)\.layers\.0\b", r"\1.proj_in"),
    (r"(mlps\.\d|head|hf_mlp|obj_ptr_proj)\.layers\.1\b", r"\1.layers.0"),
    (r"(mlps\.\d|head|hf_mlp|obj_ptr_proj)\.layers\.2\b", r"\1.proj_out"),
    (r"\bnorm(\d|_final_attn)\b", r"layer_norm\1"),
    (r"patch_embed\.proj\b", "patch_embed.projection"),
)
_SAM: Rules = (
    *_SHARED,
    (r"^image_encoder\.blocks\.", "vision_encoder.layers."),
    (r"^image_encoder\.neck\.0\b", "vision_encoder.neck.conv1"),
    (r"^image_encoder\.neck\.1\b", "vision_encoder.neck.layer_norm1"),
    (r"^image_encoder\.neck\.2\b", "vision_encoder.neck.conv2"),
    (r"^image_encoder\.neck\.3\b", "vision_encoder.neck.layer_norm2"),
    (r"^image_encoder\.", "vision_encoder."),
    (r"point_embeddings\.", "point_embed."),
    # SAM-HQ
    (r"\bhf_token\b", "hq_token"),
    (r"\bhf_mlp\b", "hq_mask_mlp"),
    (r"compress_vit_feat\.0\b", "compress_vit_conv1"),
    (r"compress_vit_feat\.1\b", "compress_vit_norm"),
    (r"compress_vit_feat\.3\b", "compress_vit_conv2"),
    (r"embedding_encoder\.0\b", "encoder_conv1"),
    (r"embedding_encoder\.1\b", "encoder_norm"),
    (r"embedding_encoder\.3\b", "encoder_conv2"),
    (r"embedding_maskfeature\.0\b", "mask_conv1"),
    (r"embedding_maskfeature\.1\b", "mask_norm"),
    (r"embedding_maskfeature\.3\b", "mask_conv2"),
)
_SAM_2: Rules = (
    (r"^sam_(prompt_encoder|mask_decoder)\.", r"\1."),
    (r"^memory_encoder\.out_proj\b", "memory_encoder.projection"),
    (r"(blocks|transformer\.layers)\.(\d+)\.mlp\.layers\.0\b", r"\1.\2.mlp.proj_in"),
    (r"(blocks|transformer\.layers)\.(\d+)\.mlp\.layers\.1\b", r"\1.\2.mlp.proj_out"),
    *_SHARED,
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d)\.conv\b", r"vision_encoder.neck.convs.\1"),
    (r"\bout_proj\b", "o_proj"),
    (r"^memory_attention\.norm\b", "memory_attention.layer_norm"),
    (r"mask_downsampler\.encoder\.12\b", "mask_downsampler.final_conv"),
    (r"\bpix_feat_proj\b", "feature_projection"),
    (r"^memory_encoder\.fuser\.", "memory_encoder.memory_fuser."),
    (r"(memory_fuser\.layers\.\d)\.gamma\b", r"\1.scale"),
    (r"(memory_fuser\.layers\.\d)\.norm\b", r"\1.layer_norm"),
    (r"\bdwconv\b", "depthwise_conv"),
    (r"\bpwconv(\d)\b", r"pointwise_conv\1"),
    (r"^maskmem_tpos_enc$", "memory_temporal_positional_encoding"),
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"^no_mem_pos_enc$", "no_memory_positional_encoding"),
    (r"^no_obj_ptr$", "no_object_pointer"),
    (r"^no_obj_embed_spatial$", "occlusion_spatial_embedding_parameter"),
    (r"^obj_ptr_proj\.", "object_pointer_proj."),
    (r"^obj_ptr_tpos_proj\.", "temporal_positional_encoding_projection_layer."),
)
_EDGE_TAM: Rules = (
    (r"^spatial_perceiver\.latents$", "spatial_perceiver.latents_1d"),
    (r"^spatial_perceiver\.norm\b", "spatial_perceiver.layer_norm"),
    (r"\.attn\.norm_x\b", ".layer_norm_input"),
    (r"\.attn\.norm_latents\b", ".layer_norm_latents"),
    (r"\.self_attn\.norm\b", ".layer_norm_self"),
    (r"\.self_attn\.to_(q|kv|out)\b", r".self_attention.\1_proj"),
    (r"\.attn\.to_(q|kv|out)\b", r".cross_attention.\1_proj"),
    (r"attention\.out_proj\b", "attention.o_proj"),
    (r"\.(self_)?ff\.0\b", r".\1mlp.layer_norm"),
    (r"\.(self_)?ff\.1\b", r".\1mlp.up_proj"),
    (r"\.(self_)?ff\.3\b", r".\1mlp.down_proj"),
    (r"^(memory_attention\.layers\.\d)\.linear1\b", r"\1.mlp.up_proj"),
    (r"^(memory_attention\.layers\.\d)\.linear2\b", r"\1.mlp.down_proj"),
)
_DOWNSAMPLER = re.compile(r"mask_downsampler\.encoder\.(\d+)\b")
_POINT = re.compile(r"prompt_encoder\.point_embeddings\.(\d)\.weight$")
_KEYS_VALUES = "kv_proj."
_TIMM = ("image_encoder.trunk.body.", "vision_encoder.backbone.timm_model.")  # EdgeTAM's trunk

SIGNS = ("vision_encoder.", "shared_image_embedding.")  # begins of names in all of their files
DUPLICATE_TENSOR = "shared_image_embedding.positional_embedding"
POSITIONS = "prompt_encoder.shared_embedding.positional_embedding"  # the same tensor


@dataclass(frozen=True)
class NamedPart:
    """Names of transformers for an official tensor."""

    names: tuple[str, ...]  # One name, or the names of parts that are joined along the first axis
    row: int | None = None  # Row of the named tensor, or None for the whole


def transformers_names(official: Iterable[str]) -> dict[str, NamedPart]:
    """Names of transformers by official name, for all names of one network."""
    names = list(official)
    rules = _SAM_2 if any(name.startswith("sam_mask_decoder.") for name in names) else _SAM
    if any(name.startswith("spatial_perceiver.") for name in names):
        rules = (*_EDGE_TAM, *rules)
    return {name: _named(name, rules) for name in names}


def _named(name: str, rules: Rules) -> NamedPart:
    point = _POINT.search(name)
    if point and rules is not _SAM:
        return NamedPart(("prompt_encoder.point_embed.weight",), int(point[1]))
    if name.startswith(_TIMM[0]):
        return NamedPart((name.replace(*_TIMM),))
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    name = _DOWNSAMPLER.sub(_downsampler_layer, name)
    if _KEYS_VALUES in name:
        return NamedPart(tuple(name.replace(_KEYS_VALUES, f"{letter}_proj.") for letter in "kv"))
    return NamedPart((name,))


def _downsampler_layer(found: re.Match[str]) -> str:
    number, kind = divmod(int(found[1]), 3)
    return f"mask_downsampler.layers.{number}.{'layer_norm' if kind else 'conv'}"


def is_transformers(names: Iterable[str]) -> bool:
    """Whether parameter names are those of transformers."""
    return any(name.startswith(SIGNS) for name in names)
