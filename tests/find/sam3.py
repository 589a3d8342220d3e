"""SAM 3 with the recipe's weights, in a folder as it is published for transformers."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from anymask.find.sam3_names import renamed
from tests.golden.parity import load_recipe


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
    official: bool = False,
) -> Path:
    """A folder with the recipe's weights and CLIP's tokenizer; `changed` is in place of some.

    The folder is transformers', or has the official files.
    """
    recipe = load_recipe(shared)
    arrays = recipe.fill(recipe.shapes(case), recipe.SEED)
    arrays |= changed or {}
    # The whole model is 3.4 GB.
    weights = {name: torch.from_numpy(np.ascontiguousarray(arrays.pop(name))) for name in [*arrays]}
    sam3_config(case == "sam3_mini").save_pretrained(folder)
    packed = shared / "data" / "text" / "bpe_simple_vocab_16e6.txt.gz"
    if official:
        torch.save({"model": weights}, folder / "sam3.pt")
        shutil.copy(packed, folder)
    else:
        save_file(renamed(weights), folder / "model.safetensors", metadata={"format": "pt"})
        write_tokenizer(folder, packed.read_bytes())
    return folder


def write_tokenizer(folder: Path, packed: bytes) -> None:
    """CLIP's tokenizer as transformers saves it."""
    import transformers

    merges = [tuple(one.split()) for one in gzip.decompress(packed).decode().split("\n")[1:48895]]
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]  # bytes that stand for themselves
    letters = [*map(chr, shown), *(chr(256 + place) for place in range(256 - len(shown)))]
    tokens = [*letters, *(f"{one}</w>" for one in letters), *map("".join, merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    transformers.CLIPTokenizer(vocab=vocabulary, merges=merges).save_pretrained(folder)
