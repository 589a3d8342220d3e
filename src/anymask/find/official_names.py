"""Official checkpoints of Grounding DINO, under the parameter names of transformers.

Grounding DINO runs on transformers' network, so `groundingdino_swint_ogc.pth` is renamed when it is
read. Sources of the names: IDEA-Research/GroundingDINO (Apache-2.0) and transformers 5.23,
`models/grounding_dino` (Apache-2.0).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PATTERN = "groundingdino_swint*.pth"  # official file names of the size in transformers' defaults
# Constants that transformers computes, and BERT's pooler, which Grounding DINO does not use.
IGNORED = re.compile(r"relative_position_index|^bert\.(pooler\.|embeddings\.position_ids)")

_SWIN = "model.backbone.conv_encoder.model."
_LAYER = r"^transformer\.encoder\.{}\.(\d+)\."
_RULES = (
    (r"^bert\.", "model.text_backbone."),
    (r"^feat_map\.", "model.text_projection."),
    (r"^input_proj\.", "model.input_proj_vision."),
    # Swin
    (r"^backbone\.0\.norm1\.", f"{_SWIN}hidden_states_norms.stage2."),
    (r"^backbone\.0\.norm2\.", f"{_SWIN}hidden_states_norms.stage3."),
    (r"^backbone\.0\.norm3\.", f"{_SWIN}hidden_states_norms.stage4."),
    (r"^backbone\.0\.patch_embed\.proj\.", f"{_SWIN}embeddings.patch_embeddings.projection."),
    (r"^backbone\.0\.patch_embed\.norm\.", f"{_SWIN}embeddings.norm."),
    (r"^backbone\.0\.layers\.", f"{_SWIN}encoder.layers."),
    (r"(blocks\.\d+)\.norm1\.", r"\1.layernorm_before."),
    (r"(blocks\.\d+)\.norm2\.", r"\1.layernorm_after."),
    (r"(blocks\.\d+)\.attn\.proj\.", r"\1.attention.output.dense."),
    (r"(blocks\.\d+)\.attn\.", r"\1.attention.self."),
    (r"(blocks\.\d+)\.mlp\.fc1\.", r"\1.intermediate.dense."),
    (r"(blocks\.\d+)\.mlp\.fc2\.", r"\1.output.dense."),
    # Encoder
    (_LAYER.format("text_layers"), r"model.encoder.layers.\1.text_enhancer_layer."),
    (_LAYER.format("fusion_layers"), r"model.encoder.layers.\1.fusion_layer."),
    (_LAYER.format("layers"), r"model.encoder.layers.\1.deformable_layer."),
    (r"text_enhancer_layer\.norm1\.", "text_enhancer_layer.layer_norm_before."),
    (r"text_enhancer_layer\.norm2\.", "text_enhancer_layer.layer_norm_after."),
    (r"deformable_layer\.norm1\.", "deformable_layer.self_attn_layer_norm."),
    (r"deformable_layer\.norm2\.", "deformable_layer.final_layer_norm."),
    (r"fusion_layer\.gamma_v$", "fusion_layer.vision_param"),
    (r"fusion_layer\.gamma_l$", "fusion_layer.text_param"),
    (r"fusion_layer\.layer_norm_v\.", "fusion_layer.layer_norm_vision."),
    (r"fusion_layer\.layer_norm_l\.", "fusion_layer.layer_norm_text."),
    (r"fusion_layer\.attn\.(values_|out_|)v_proj\.", r"fusion_layer.attn.\1vision_proj."),
    (r"fusion_layer\.attn\.(values_|out_|)l_proj\.", r"fusion_layer.attn.\1text_proj."),
    # Decoder
    (r"^transformer\.tgt_embed\.", "model.query_position_embeddings."),
    (r"^transformer\.enc_out_bbox_embed\.", "model.encoder_output_bbox_embed."),
    (r"^transformer\.decoder\.norm\.", "model.decoder.layer_norm."),
    (r"^transformer\.decoder\.ref_point_head\.", "model.decoder.reference_points_head."),
    (r"^transformer\.", "model."),
    (r"^(model\.decoder\.layers\.\d+)\.cross_attn\.", r"\1.encoder_attn."),
    (r"^(model\.decoder\.layers\.\d+)\.ca_text\.", r"\1.encoder_attn_text."),
    (r"^(model\.decoder\.layers\.\d+)\.catext_norm\.", r"\1.encoder_attn_text_layer_norm."),
    (r"^(model\.decoder\.layers\.\d+)\.norm1\.", r"\1.encoder_attn_layer_norm."),
    (r"^(model\.decoder\.layers\.\d+)\.norm2\.", r"\1.self_attn_layer_norm."),
    (r"^(model\.decoder\.layers\.\d+)\.norm3\.", r"\1.final_layer_norm."),
    (r"^(model\..*layer.*)\.linear(\d)\.", r"\1.fc\2."),
)
_JOINED = re.compile(r"\.(?:qkv\.|in_proj_)(weight|bias)$")


def transformers_names(official: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Names of transformers by official name: one, or those of queries, keys and values, which the
    official tensor joins along its first axis. Ignored tensors are missing."""
    given = (name for name in official if not IGNORED.search(name))
    parts = ("query", "key", "value")
    return {name: split_joined(renamed(name, _RULES), parts) for name in given}


def renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    """Apply pairs of a pattern and its replacement to a name, in order."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def split_joined(name: str, parts: tuple[str, ...]) -> tuple[str, ...]:
    """Names of queries, keys and values, if a tensor joins them; else its own name."""
    if joined := _JOINED.search(name):
        return tuple(f"{name[: joined.start()]}.{part}.{joined[1]}" for part in parts)
    return (name,)


def official_file(folder: Path, pattern: str = PATTERN) -> Path | None:
    """Official checkpoint in a folder, or None."""
    return min(folder.glob(pattern), default=None)


def read_official(path: Path) -> dict[str, Any]:
    """Read the tensors of an official checkpoint under the names of transformers' files."""
    from anymask.runtime import read_checkpoint

    weights, renamed = read_checkpoint(path), dict[str, Any]()
    for name, places in transformers_names(weights).items():
        pieces = weights[name].chunk(len(places)) if len(places) > 1 else [weights[name]]
        renamed |= zip(places, pieces, strict=True)
    return renamed
