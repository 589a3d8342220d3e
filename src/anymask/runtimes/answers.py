"""Which of the decoder's T masks are the K answers: the choice that the reference predictors make.

Letters: N prompts, T mask tokens, K candidates, m the side of a low-resolution mask.

- "sam" (SAM, MobileSAM, EdgeSAM): token 0 was trained for prompts that leave no doubt, the
  other three for whole, part and subpart (Segment Anything, section 3, "resolving ambiguity").
- "sam_hq" (HQ-SAM, section 3.2): the last mask is a correction that is added to the mask that SAM
  itself would give: token 0, or the best of the three by quality; one mask either way.
- "four" (nano): every token learned from every kind of prompt, so all compete: the three of the
  highest quality are the candidates, and a clear prompt is answered by what the four agree on.
- "all" (EfficientSAM): every mask is a candidate, asked for or not.
"""

from __future__ import annotations

import numpy as np

from anymask.primitives.spec import ModelSpec
from anymask.primitives.types import FloatArray

LIMIT = np.float32(12.0)  # logits beyond it are as sure


def choose(
    spec: ModelSpec, logits: FloatArray, quality: FloatArray, multimask: bool
) -> tuple[FloatArray, FloatArray]:
    """Logits (N, T, m, m) and quality (N, T) -> (N, K, m, m) and (N, K), in the model's own order.

    multimask  True: the candidates of an ambiguous prompt; False: the one mask of a clear prompt.
    SAM-HQ may leave out the quality of its residual: quality (N, T) or (N, T - 1).
    """
    if spec.answer == "all":
        return logits, quality
    if spec.answer == "sam_hq":
        return _choose_hq(logits, quality, multimask)
    if spec.answer == "four":
        return _choose_three(logits, quality) if multimask else _agree(logits, quality)
    kept = slice(1, None) if multimask else slice(0, 1)
    return logits[:, kept], quality[:, kept]


def _choose_three(
    logits: FloatArray, quality: FloatArray
) -> tuple[FloatArray, FloatArray]:  # (N, 4, m, m), (N, 4) -> (N, 3, m, m), (N, 3)
    rows = np.arange(len(logits))[:, None]
    best = np.sort(np.argsort(-quality, axis=1, kind="stable")[:, :3], axis=1)
    return logits[rows, best], quality[rows, best]


def _agree(
    logits: FloatArray, quality: FloatArray
) -> tuple[FloatArray, FloatArray]:  # (N, 4, m, m), (N, 4) -> (N, 1, m, m), (N, 1)
    """One mask of four: the mean of their probabilities, weighted by the squared quality."""
    weights = np.square(quality) + np.float32(1e-6)
    weights = (weights / weights.sum(axis=1, keepdims=True))[:, :, None, None]
    chance = (weights / (1 + np.exp(-np.clip(logits, -LIMIT, LIMIT)))).sum(axis=1, keepdims=True)
    mixed = np.log(chance) - np.log1p(-chance)
    return mixed.astype(np.float32), quality.max(axis=1, keepdims=True)


def _choose_hq(
    logits: FloatArray, quality: FloatArray, multimask: bool
) -> tuple[FloatArray, FloatArray]:  # (N, T, m, m), (N, T) -> (N, 1, m, m), (N, 1)
    rows = np.arange(len(logits))
    last = logits.shape[1] - 1
    best = quality[:, 1:last].argmax(axis=1) + 1 if multimask else np.zeros_like(rows)
    corrected = logits[rows, best] + logits[:, last]
    return corrected[:, None], quality[rows, best][:, None]
