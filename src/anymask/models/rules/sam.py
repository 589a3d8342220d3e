"""The answers of SAM's families (SAM, MobileSAM, EdgeSAM, MedSAM, HQ-SAM, EfficientSAM, SAM 2).

Each chooses by two rules: the candidates of an ambiguous prompt, and the mask of a clear one.

SAM: token 0 was trained for prompts that leave no doubt, the other three for whole, part and
subpart (Segment Anything, section 3, "Resolving ambiguity"). HQ-SAM (Ke et al. 2023, section 3.2):
the last mask is a correction that is added to the mask that SAM itself would give, so there is one
mask either way. EfficientSAM: all masks, asked for or not.

Letters: N prompts, T masks of the decoder, K candidates, m the side of a mask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from anymask.base import FloatArray, IntArray
from anymask.masks import (
    ONE_OR_THREE,
    CloserLook,
    Geometry,
    GridDefaults,
    ModelPrompts,
    ModelSpec,
    TokenRoles,
)
from anymask.models.rules.family import (
    Decode,
    Multimask,
    Ordered,
    Ranking,
    Tables,
    by_quality,
    wants_many,
)

# (N, T, m, m), (N, T) -> (N, K, m, m), (N, K)
Choice = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]


@dataclass(frozen=True)
class SamFamily:
    """See `family.Family`.

    several, single  the masks of an ambiguous prompt, and the one of a clear one
    """

    spec: ModelSpec
    grid: GridDefaults
    tables: Tables
    several: Choice
    single: Choice
    roles: TokenRoles = ONE_OR_THREE
    closer: CloserLook | None = None

    def candidates(self, logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N, T, m, m), (N, T) -> the K masks of an ambiguous prompt, in the model's order."""
        return self.several(logits, quality)

    def answer(
        self,
        decode: Decode,
        prompts: ModelPrompts,
        place: Geometry,
        multimask: Multimask,
        ranking: Ranking,
    ) -> list[Ordered]:
        """See `family.Family.answer`; ordered by the network's own numbers."""
        logits, quality = decode(prompts)
        answers = []
        for row, many in enumerate(wants_many(prompts, multimask)):
            pick = self.several if many else self.single
            masks, numbers = pick(logits[row : row + 1], quality[row : row + 1])
            answers.append(by_quality(masks[0], numbers[0]))
        return answers


def sam(spec: ModelSpec, grid: GridDefaults, tables: Tables) -> SamFamily:
    """Three masks or one."""
    return SamFamily(spec, grid, tables, _last_three, _first)


def efficient_sam(spec: ModelSpec, grid: GridDefaults, tables: Tables) -> SamFamily:
    """All masks for every prompt."""
    roles = TokenRoles(clear=(0, 1, 2), ambiguous=(0, 1, 2))
    return SamFamily(spec, grid, tables, _every, _every, roles)


def sam_hq(spec: ModelSpec, grid: GridDefaults, tables: Tables) -> SamFamily:
    """One mask, corrected; the quality may leave out the correction: (N, T) or (N, T - 1)."""
    roles = replace(ONE_OR_THREE, added=4)
    return SamFamily(spec, grid, tables, _best_corrected, _first_corrected, roles)


def _last_three(logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    return logits[:, 1:], quality[:, 1:]


def _first(logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    return logits[:, :1], quality[:, :1]


def _every(logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    return logits, quality


def _best_corrected(logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    best = quality[:, 1 : logits.shape[1] - 1].argmax(axis=1) + 1
    return _corrected(logits, quality, best)


def _first_corrected(logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    return _corrected(logits, quality, np.zeros(len(logits), np.int64))


def _corrected(
    logits: FloatArray, quality: FloatArray, chosen: IntArray
) -> tuple[FloatArray, FloatArray]:  # (N, T, m, m), (N, T), (N,) -> (N, 1, m, m), (N, 1)
    """The chosen masks with the last one added."""
    rows = np.arange(len(logits))
    masks = logits[rows, chosen] + logits[:, -1]
    return masks[:, None], quality[rows, chosen][:, None]
