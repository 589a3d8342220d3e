"""Tiny detectors with random weights, in folders as the published ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SPECIAL = {
    0: "[PAD]",
    100: "[UNK]",
    101: "[CLS]",
    102: "[SEP]",
    103: "[MASK]",
    1012: ".",
    1029: "?",
}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = ["cat", "dog", "red", "cup", "##s", *LETTERS, *(f"##{one}" for one in LETTERS)]


def write_vocabulary(folder: Path) -> None:
    """BERT's special tokens in their places, letters and a few words behind them."""
    tokens = [SPECIAL.get(number, f"[unused{number}]") for number in range(1030)] + PIECES
    (folder / "vocab.txt").write_text("\n".join(tokens), "utf-8")


def write_preprocessor(folder: Path, **size: int) -> None:
    """The rule of photos: ImageNet's colours."""
    told = {
        "size": size or {"shortest_edge": 64, "longest_edge": 128},
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 2,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(told))


def grounding_model(vocabulary: int = 1030 + len(PIECES), mm: bool = False) -> Any:
    """Grounding DINO as in the golden case `groundingdino_mini`: everything small."""
    import transformers

    backbone = transformers.SwinConfig(
        embed_dim=24, depths=[2, 2, 2, 2], num_heads=[3, 6, 12, 24], window_size=7, image_size=224,
        out_indices=[2, 3, 4], drop_path_rate=0.0,
    )  # fmt: skip
    text = transformers.BertConfig(
        vocab_size=vocabulary, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=128, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    kind = "MMGroundingDino" if mm else "GroundingDino"
    config = getattr(transformers, f"{kind}Config")(
        backbone_config=backbone, text_config=text, num_queries=40, encoder_layers=2,
        decoder_layers=2, encoder_ffn_dim=256, decoder_ffn_dim=256, dropout=0.0,
        fusion_droppath=0.0,
    )  # fmt: skip
    return getattr(transformers, f"{kind}ForObjectDetection")(config).eval()


def write_grounding(folder: Path, mm: bool = False, seed: int = 1) -> Path:
    """A folder with a tiny Grounding DINO or MM-Grounding-DINO (which LLMDet is)."""
    import torch

    torch.manual_seed(seed)
    model = grounding_model(mm=mm)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    write_vocabulary(folder)
    write_preprocessor(folder)
    return folder


def write_owl(folder: Path, second: bool = True) -> Path:
    """A folder with a tiny OWLv2 or OWL-ViT; its tokenizer knows letters."""
    import torch
    import transformers

    torch.manual_seed(2)
    kind = "Owlv2" if second else "OwlViT"
    text = {
        "vocab_size": 60, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 16, "bos_token_id": 0,
        "eos_token_id": 1, "pad_token_id": 0,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "image_size": 64, "patch_size": 16,
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(
        text_config=text, vision_config=vision, projection_dim=32
    )
    folder.mkdir(parents=True, exist_ok=True)
    getattr(transformers, f"{kind}ForObjectDetection")(config).save_pretrained(folder)
    ends = [f"{one}</w>" for one in LETTERS]
    tokens = ["<|startoftext|>", "<|endoftext|>", "!", *LETTERS, *ends]
    transformers.CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)}, merges=[]
    ).save_pretrained(folder)
    write_preprocessor(folder, height=64, width=64)
    return folder
