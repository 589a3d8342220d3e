"""SAMed: semantic segmentation of scans by SAM with a low-rank change of the encoder.

Source: Zhang and Liu 2023, "Customized Segment Anything Model for Medical Image Segmentation"
(arXiv 2304.13785, section 3), and the files that hitachinsk/SAMed (MIT) saves. A file contains
`w_a_000`, `w_b_000`, ... (A and B of the queries, then of the values, of each block), and the
prompt encoder and mask decoder with 1 + K mask tokens: "no class" and the classes. The frozen
encoder is that of SAM, with positions for a smaller input. Difference: the image is resized once,
bilinearly; SAMed resizes slices to 224 pixels first.

Letters: K classes, r rank, C channels of the encoder, h cells along a side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from anymask.base import InputError, WeightsError
from anymask.models import ImageModel, Variant, VitConfig, variant
from anymask.runtime import entry, file_hash, load_official, read_checkpoint, trainable_weights

SIDE = 512  # input of SAMed
HEAD = "class_head"  # name of the module that computes the classes
FIRST = "w_a_000"
TOKENS = "mask_decoder.mask_tokens.weight"
POSITIONS = "image_encoder.pos_embed"
REPLACED = ("prompt_encoder.", "mask_decoder.")
Tensors = Mapping[str, Tensor]


class TokenHead(nn.Module):
    """Class head of a model whose mask tokens are "no class" and the classes."""

    def class_logits(self, model: Any, maps: Sequence[Tensor]) -> Tensor:  # -> (B, 1 + K, m, m)
        """Logits of all tokens of SAM's mask decoder, for the whole image without a prompt."""
        features, encoder = maps[0], model.prompt_encoder
        places = encoder.grid(features.shape[-2], features.shape[-1])
        nothing = features.new_zeros(len(features), 0, features.shape[1])
        dense = encoder.no_mask_embed.weight[..., None, None]
        logits: Tensor = model.mask_decoder(features, places, nothing, dense)[0]
        return logits.float()


def load_samed(name: str, changes: Tensors, path: Path, side: int | None) -> tuple[nn.Module, str]:
    """Load a file of SAMed with the encoder of the published SAM.

    Args:
        name: Variant of SAM that was fine-tuned.
        changes: Tensors of the file.
        path: The file.
        side: Input side in pixels; None for that of SAMed.

    Returns:
        The model in eval mode, and the hash of both files.
    """
    base = trainable_weights(name)
    module, state = samed_model(
        entry(name).variant, changes, read_checkpoint(base), SIDE if side is None else side
    )
    load_official(module, state)
    pair = f"{file_hash(base)} {file_hash(path)}"
    return module.eval(), hashlib.sha256(pair.encode()).hexdigest()


def samed_model(
    name: str, changes: Tensors, base: Tensors, side: int
) -> tuple[ImageModel, dict[str, Tensor]]:
    """Build the model of a file of SAMed.

    Args:
        name: Variant of SAM that was fine-tuned.
        changes: Tensors of the file.
        base: Tensors of SAM.
        side: Input side in pixels.

    Returns:
        The model with random weights, and its weights.

    Raises:
        InputError: The side is not supported.
        WeightsError: The file belongs to another variant.
    """
    sam = variant(name)
    config = sam.encoder if isinstance(sam, Variant) else None
    rows = changes[FIRST].shape[-1]
    if not isinstance(sam, Variant) or not isinstance(config, VitConfig) or config.dim != rows:
        raise WeightsError(
            f"The weights of SAMed are for an encoder with {rows} channels, which {name} does not "
            "have. Use sam_vit_b for 768 channels, sam_vit_l for 1024, sam_vit_h for 1280."
        )
    if side % config.patch or not config.patch < side <= config.image_side:
        raise InputError(
            f"Invalid input size {side} for a file of SAMed. Use a multiple of {config.patch} up "
            f"to {config.image_side}; the files of SAMed were trained with {SIDE}."
        )
    tokens, config = changes[TOKENS].shape[0], replace(config, image_side=side)
    spec = replace(
        sam.spec, image_side=side, mask_side=4 * config.grid, fit="square", accepts=frozenset(),
        mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0),
        classes=tuple(f"class {number}" for number in range(1, tokens)),
    )  # fmt: skip
    decoder = replace(sam.decoder, masks=tokens)
    model = replace(sam, spec=spec, encoder=config, decoder=decoder).build()
    model.add_module(HEAD, TokenHead())
    state = {name: one for name, one in base.items() if name.startswith("image_encoder.")}
    state |= {name: one for name, one in changes.items() if name.startswith(REPLACED)}
    _resize_positions(state, config)
    for block in range(config.depth):
        _add_low_rank(state, changes, block)
    return model, state


def _resize_positions(state: dict[str, Tensor], config: VitConfig) -> None:
    """Resize the positions of the frozen encoder, bilinearly, to another input side."""
    h = config.grid
    whole = state[POSITIONS].float().permute(0, 3, 1, 2)
    resized = F.interpolate(whole, (h, h), mode="bilinear", align_corners=False)
    state[POSITIONS] = resized.permute(0, 2, 3, 1)
    for block in config.global_blocks:
        for axis in "hw":
            name = f"image_encoder.blocks.{block}.attn.rel_pos_{axis}"
            columns = state[name].float().T[None]
            resized = F.interpolate(columns, 2 * h - 1, mode="linear", align_corners=False)
            state[name] = resized[0].T


def _add_low_rank(state: dict[str, Tensor], changes: Tensors, block: int) -> None:
    """Add B A to the rows of the queries and of the values."""
    name = f"image_encoder.blocks.{block}.attn.qkv.weight"
    weight = state[name].float().clone()  # (3 C, C)
    C = weight.shape[1]
    for number, rows in ((2 * block, slice(C)), (2 * block + 1, slice(2 * C, None))):
        first, second = (changes.get(f"w_{letter}_{number:03d}") for letter in "ab")
        if first is None or second is None or (second.shape[0], first.shape[1]) != (C, C):
            raise WeightsError(
                f"The weights of SAMed have no valid w_a_{number:03d} (r, {C}) and "
                f"w_b_{number:03d} ({C}, r). Save all blocks of the encoder."
            )
        weight[rows] += second.float() @ first.float()
    state[name] = weight
