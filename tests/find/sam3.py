"""SAM 3 with the recipe's weights, in a folder as it is published for transformers."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.golden.parity import load_recipe

# Of the tracker, in order: what a name of the published code becomes.
TRACKER = (
    (r"^tracker\.sam_mask_decoder\.", "tracker.mask_decoder."),
    (r"^tracker\.sam_prompt_encoder\.", "tracker.prompt_encoder."),
    (r"\.pe_layer\.positional_encoding_gaussian_matrix", ".shared_embedding.positional_embedding"),
    (r"mask_downscaling\.0", "mask_embed.conv1"),
    (r"mask_downscaling\.1", "mask_embed.layer_norm1"),
    (r"mask_downscaling\.3", "mask_embed.conv2"),
    (r"mask_downscaling\.4", "mask_embed.layer_norm2"),
    (r"mask_downscaling\.6", "mask_embed.conv3"),
    (r"output_upscaling\.0", "upscale_conv1"),
    (r"output_upscaling\.1", "upscale_layer_norm"),
    (r"output_upscaling\.3", "upscale_conv2"),
    (r"(hypernetworks_mlps\.\d|_head|object_pointer_proj|obj_ptr_proj)\.layers\.0", r"\1.proj_in"),
    (r"(hypernetworks_mlps\.\d|_head|object_pointer_proj|obj_ptr_proj)\.layers\.1", r"\1.layers.0"),
    (r"(hypernetworks_mlps\.\d|_head|object_pointer_proj|obj_ptr_proj)\.layers\.2", r"\1.proj_out"),
    (r"(mask_decoder\.transformer\..*)\.norm(\d)", r"\1.layer_norm\2"),
    (r"norm_final_attn", "layer_norm_final_attn"),
    (r"\.mlp\.(?:layers\.0|lin1)", ".mlp.proj_in"),
    (r"\.mlp\.(?:layers\.1|lin2)", ".mlp.proj_out"),
    (r"\.out_proj\.", ".o_proj."),
    (r"^tracker\.maskmem_tpos_enc", "tracker.memory_temporal_positional_encoding"),
    (r"^tracker\.no_mem_embed", "tracker.no_memory_embedding"),
    (r"^tracker\.no_mem_pos_enc", "tracker.no_memory_positional_encoding"),
    (r"^tracker\.no_obj_ptr", "tracker.no_object_pointer"),
    (r"^tracker\.no_obj_embed_spatial", "tracker.occlusion_spatial_embedding_parameter"),
    (r"^tracker\.obj_ptr_tpos_proj", "tracker.temporal_positional_encoding_projection_layer"),
    (r"obj_ptr_proj", "object_pointer_proj"),
    (r"^tracker\.transformer\.encoder", "tracker.memory_attention"),
    (r"(memory_attention\.layers\.\d)\.norm(\d)", r"\1.layer_norm\2"),
    (r"memory_attention\.norm", "memory_attention.layer_norm"),
    (r"^tracker\.maskmem_backbone", "tracker.memory_encoder"),
    (r"memory_encoder\.o_proj", "memory_encoder.projection"),
    (r"pix_feat_proj", "feature_projection"),
    (r"\.fuser\.", ".memory_fuser."),
    (r"\.gamma", ".scale"),
    (r"dwconv", "depthwise_conv"),
    (r"pwconv", "pointwise_conv"),
    (r"(memory_fuser\.layers\.\d)\.norm", r"\1.layer_norm"),
)
NECK = {
    "dconv_2x2_0": "scale_layers.0", "dconv_2x2_1": "scale_layers.2", "dconv_2x2": "scale_layers.0",
    "conv_1x1": "proj1", "conv_3x3": "proj2",
}  # fmt: skip


def their_names(arrays: dict[str, np.ndarray], golden: Path) -> dict[str, np.ndarray]:
    """Arrays by the names of the published code -> by transformers' names."""
    detector = json.loads((golden / "sam3.names_hf.json").read_text())
    known = json.loads((golden / "sam3_video_hf.shapes.json").read_text())
    found: dict[str, np.ndarray] = {}
    points: list[np.ndarray] = []
    for name in [*arrays]:
        array = arrays.pop(name)  # the whole model is 3.4 GB
        if "freqs_cis" in name or "geometry_encoder.points_" in name:
            continue
        if name in detector:
            wanted = detector[name]
            several = wanted if isinstance(wanted, list) else [wanted]
            for one, piece in zip(several, np.split(array, len(several)), strict=True):
                if one.endswith("[1:]"):
                    one, piece = one.removesuffix("[1:]"), piece[:, 1:]
                if one.endswith(".T"):
                    one, piece = one.removesuffix(".T"), piece.T
                found[f"detector_model.{one}"] = piece
        elif match := re.search(r"sam2_convs\.(\d)\.(\w+)\.(weight|bias)", name):
            found[f"tracker_neck.fpn_layers.{match[1]}.{NECK[match[2]]}.{match[3]}"] = array
        elif match := re.fullmatch(
            r"tracker\.sam_prompt_encoder\.point_embeddings\.(\d).weight", name
        ):
            points.append(array)
        else:
            found[_tracker_name(name)] = array
    found["tracker_model.prompt_encoder.point_embed.weight"] = np.concatenate(points)
    same = found["tracker_model.prompt_encoder.shared_embedding.positional_embedding"]
    found["tracker_model.shared_image_embedding.positional_embedding"] = same
    assert not {name for name in found if name not in known}, sorted(set(found) - set(known))[:9]
    return {name: np.ascontiguousarray(array) for name, array in found.items()}


def _tracker_name(name: str) -> str:
    if match := re.search(r"mask_downsampler\.encoder\.(\d+)\.(\w+)", name):
        place, part = divmod(int(match[1]), 3)
        inside = "final_conv" if place == 4 else f"layers.{place}.{('conv', 'layer_norm')[part]}"
        return f"tracker_model.memory_encoder.mask_downsampler.{inside}.{match[2]}"
    for pattern, words in TRACKER:
        name = re.sub(pattern, words, name)
    return name.replace("tracker.", "tracker_model.", 1)


def sam3_config(mini: bool = True) -> Any:
    """The released configuration, or that of the golden case `sam3_mini`."""
    from transformers import Sam3VideoConfig

    if not mini:
        return Sam3VideoConfig()
    sides = [[96, 96], [48, 48], [24, 24]]
    backbone = {
        "model_type": "sam3_vit_model", "hidden_size": 128, "intermediate_size": 592,
        "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": 336, "window_size": 8,
        "global_attn_indexes": [1, 3], "pretrain_image_size": 112,
    }  # fmt: skip
    vision = {
        "model_type": "sam3_vision_model", "backbone_config": backbone,
        "backbone_feature_sizes": sides,
    }  # fmt: skip
    text = {
        "model_type": "clip_text_model", "vocab_size": 49408, "hidden_size": 128,
        "intermediate_size": 512, "projection_dim": 512, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 32, "hidden_act": "gelu",
    }  # fmt: skip
    detector = {
        "model_type": "sam3", "vision_config": vision, "text_config": text,
        "geometry_encoder_config": {"num_layers": 1}, "detr_encoder_config": {"num_layers": 2},
        "detr_decoder_config": {"num_layers": 2, "num_queries": 24},
    }  # fmt: skip
    tracker = {
        "model_type": "sam3_tracker_video", "vision_config": vision,
        "prompt_encoder_config": {"image_size": 336}, "memory_attention_num_layers": 2,
        "image_size": 336, "memory_attention_rope_feat_sizes": [24, 24],
    }  # fmt: skip
    return Sam3VideoConfig(detector_config=detector, tracker_config=tracker)


def write_sam3(
    folder: Path,
    shared: Path,
    case: str = "sam3_mini",
    changed: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """A folder with the recipe's weights and CLIP's tokenizer; `changed` is in place of some."""
    import transformers
    from safetensors.numpy import save_file

    recipe = load_recipe(shared)
    arrays = recipe.fill(recipe.shapes(case), recipe.SEED)
    arrays |= changed or {}
    published = their_names(arrays, shared / "golden")
    sam3_config(case == "sam3_mini").save_pretrained(folder)
    save_file(published, folder / "model.safetensors", metadata={"format": "pt"})
    packed = (shared / "data" / "text" / "bpe_simple_vocab_16e6.txt.gz").read_bytes()
    merges = [tuple(one.split()) for one in gzip.decompress(packed).decode().split("\n")[1:48895]]
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]  # bytes that stand for themselves
    letters = [*map(chr, shown), *(chr(256 + place) for place in range(256 - len(shown)))]
    tokens = [*letters, *(f"{one}</w>" for one in letters), *map("".join, merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = transformers.CLIPTokenizer(vocab=vocabulary, merges=merges)
    tokenizer.save_pretrained(folder)
    return folder
