"""Choice of an object's mask on a frame: a decoder's masks in, one mask, quality and token out.

Source of the rules: sam2 (Apache-2.0), `modeling/sam2_base.py` (`_forward_sam_heads`),
`modeling/sam/mask_decoder.py` (dynamic multi-mask) and `sam2_video_predictor.py` (holes, overlaps).

Letters: N objects, T masks of the decoder, m side of a mask, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from anymask.models.mask_decoder import Decoded
from anymask.primitives.memory_bank import MultimaskStability
from anymask.primitives.object_masks import OVERLAPPED, fill_plane


@dataclass(frozen=True, eq=False)
class ObjectAnswer:
    """What N objects are on one frame.

    logits        (N, 1, m, m); far below 0 everywhere where an object is not seen
    quality       (N, 1) predicted IoU
    object_score  (N, 1) logit of "the object is there"
    pointer       (N, C) what tells the object from others
    """

    logits: Tensor
    quality: Tensor
    object_score: Tensor
    pointer: Tensor


@dataclass(frozen=True, eq=False)
class ChosenObjectMask:
    """One of the T masks for each object: (N, 1, m, m), (N, 1) and its token (N, C)."""

    logits: Tensor
    quality: Tensor
    token: Tensor


def choose(
    decoded: Decoded, several: bool, stability: MultimaskStability | None
) -> ChosenObjectMask:
    """The mask of each object.

    several    the best of the masks of an unclear prompt, instead of the one of a clear one
    stability  when the one gives way to the best of the others
    """
    best = decoded.quality[:, 1:].argmax(dim=1) + 1
    alone = torch.zeros_like(best)
    if several:
        return _taken(decoded, best, best)
    if stability is None:
        return _taken(decoded, alone, alone)
    # The pointer stays that of token 0, as in the reference.
    stable = stability_of(decoded.logits[:, 0], stability.delta) >= stability.threshold
    return _taken(decoded, torch.where(stable, alone, best), alone)


def _taken(decoded: Decoded, mask: Tensor, token: Tensor) -> ChosenObjectMask:
    rows = torch.arange(len(mask), device=mask.device)
    return ChosenObjectMask(
        decoded.logits[rows, mask][:, None],
        decoded.quality[rows, mask][:, None],
        decoded.tokens[rows, token],
    )


def stability_of(logits: Tensor, delta: float) -> Tensor:  # (N, m, m) -> (N,)
    """IoU of the masks at thresholds of + and - delta; 1 where both are empty."""
    inner = (logits > delta).flatten(1).sum(dim=1)
    outer = (logits > -delta).flatten(1).sum(dim=1)
    return torch.where(outer > 0, inner / outer.clamp(min=1), 1.0)


def fill_holes(logits: Tensor, largest: int) -> Tensor:
    """Background regions of at most `largest` pixels become object: (N, 1, m, m) -> the same."""
    filled = [
        torch.from_numpy(fill_plane(plane.float().cpu().numpy(), largest))
        for plane in logits.flatten(0, 1)
    ]
    return torch.stack(filled).to(logits).reshape(logits.shape)


def without_overlaps(logits: Tensor) -> Tensor:
    """Each pixel stays with the likeliest object at most: (N, 1, m, m) -> the same."""
    if len(logits) == 1:
        return logits
    likeliest = logits.argmax(dim=0, keepdim=True)
    own = torch.arange(len(logits), device=logits.device)[:, None, None, None]
    return torch.where(likeliest == own, logits, logits.clamp(max=OVERLAPPED))
