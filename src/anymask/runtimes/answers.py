"""Which of the decoder's T masks are the K answers: the choice that the reference predictors make.

Letters: N prompts, T mask tokens, K candidates, m the side of a low-resolution mask.

- "sam" (SAM, MobileSAM, EdgeSAM): token 0 was trained for prompts that leave no doubt, the
  other three for whole, part and subpart (Segment Anything, section 3, "resolving ambiguity").
- "sam_hq" (HQ-SAM, section 3.2): the last mask is a correction that is added to the mask that SAM
  itself would give: token 0, or the best of the three by quality; one mask either way.
- "four" (nano): every token learned from every kind of prompt, so all compete: the three of the
  highest quality are the candidates, the one of the highest quality answers a clear prompt.
- "all" (EfficientSAM): every mask is a candidate, asked for or not.
"""

from __future__ import annotations

import numpy as np

from anymask.primitives.spec import ModelSpec
from anymask.primitives.types import FloatArray


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
        return _choose_best(logits, quality, 3 if multimask else 1)
    kept = slice(1, None) if multimask else slice(0, 1)
    return logits[:, kept], quality[:, kept]


def _choose_best(
    logits: FloatArray, quality: FloatArray, count: int
) -> tuple[FloatArray, FloatArray]:
    """The `count` masks of the highest quality, in the model's own order."""
    rows = np.arange(len(logits))[:, None]
    best = np.sort(np.argsort(-quality, axis=1, kind="stable")[:, :count], axis=1)
    return logits[rows, best], quality[rows, best]


def _choose_hq(
    logits: FloatArray, quality: FloatArray, multimask: bool
) -> tuple[FloatArray, FloatArray]:  # (N, T, m, m), (N, T) -> (N, 1, m, m), (N, 1)
    rows = np.arange(len(logits))
    last = logits.shape[1] - 1
    best = quality[:, 1:last].argmax(axis=1) + 1 if multimask else np.zeros_like(rows)
    corrected = logits[rows, best] + logits[:, last]
    return corrected[:, None], quality[rows, best][:, None]
