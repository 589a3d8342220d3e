"""SAM's answers: decoder masks and quality in, candidates out (SAM, MobileSAM, EdgeSAM, MedSAM).

Token 0 was trained for prompts that leave no doubt, the other three for whole, part and subpart
(Segment Anything, section 3, "Resolving ambiguity").

Letters: N prompts, T masks of the decoder, K candidates, m the side of a mask.

EfficientSAM's answers: decoder masks and quality in, all of them out, asked for or not.

Letters: N prompts, T masks of the decoder, m the side of a mask.

HQ-SAM's answers.

Ke et al. 2023, section 3.2. The last mask is a correction that is added to the mask that SAM itself
would give: token 0 for a clear prompt, the best of the three by quality for an ambiguous one; one
mask either way.

Letters: N prompts, T masks of the decoder, m the side of a mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from anymask.masks import ONE_OR_THREE, TokenRoles
from anymask.models.rules.family import split_choice

if TYPE_CHECKING:
    from anymask.base import FloatArray, IntArray
    from anymask.masks import (
        CloserLook,
        Geometry,
        GridDefaults,
        ModelPrompts,
        ModelSpec,
        TokenRoles,
    )
    from anymask.models.rules.family import Decode, Multimask, Ordered, Ranking, Tables


@dataclass(frozen=True)
class Sam:
    """See `family.Family`."""

    spec: ModelSpec
    grid: GridDefaults
    tables: Tables

    @property
    def roles(self) -> TokenRoles:
        """See `family.Family`."""
        return ONE_OR_THREE

    @property
    def closer(self) -> CloserLook | None:
        """See `family.Family`."""
        return None

    def candidates(self, logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N, T, m, m), (N, T) -> the three masks of an ambiguous prompt."""
        return logits[:, 1:], quality[:, 1:]

    def single(self, logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N, T, m, m), (N, T) -> the one mask of a clear prompt."""
        return logits[:, :1], quality[:, :1]

    def answer(
        self,
        decode: Decode,
        prompts: ModelPrompts,
        place: Geometry,
        multimask: Multimask,
        ranking: Ranking,
    ) -> list[Ordered]:
        """See `family.Family.answer`; ordered by the network's own numbers."""
        return split_choice(self, decode, prompts, multimask)


@dataclass(frozen=True)
class EfficientSam:
    """See `family.Family`."""

    spec: ModelSpec
    grid: GridDefaults
    tables: Tables

    @property
    def roles(self) -> TokenRoles:
        """See `family.Family`."""
        return TokenRoles(clear=(0, 1, 2), ambiguous=(0, 1, 2))

    @property
    def closer(self) -> CloserLook | None:
        """See `family.Family`."""
        return None

    def candidates(self, logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N, T, m, m), (N, T) -> the same."""
        return logits, quality

    single = candidates

    def answer(
        self,
        decode: Decode,
        prompts: ModelPrompts,
        place: Geometry,
        multimask: Multimask,
        ranking: Ranking,
    ) -> list[Ordered]:
        """See `family.Family.answer`; ordered by the network's own numbers."""
        return split_choice(self, decode, prompts, multimask)


@dataclass(frozen=True)
class SamHq:
    """See `family.Family`; the quality may leave out the correction: (N, T) or (N, T - 1)."""

    spec: ModelSpec
    grid: GridDefaults
    tables: Tables

    @property
    def roles(self) -> TokenRoles:
        """See `family.Family`."""
        return replace(ONE_OR_THREE, added=4)

    @property
    def closer(self) -> CloserLook | None:
        """See `family.Family`."""
        return None

    def candidates(self, logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N, T, m, m), (N, T) -> the best of the three, corrected: (N, 1, m, m), (N, 1)."""
        best = quality[:, 1 : logits.shape[1] - 1].argmax(axis=1) + 1
        return correct_masks(logits, quality, best)

    def single(self, logits: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(N, T, m, m), (N, T) -> token 0, corrected: (N, 1, m, m), (N, 1)."""
        return correct_masks(logits, quality, np.zeros(len(logits), np.int64))

    def answer(
        self,
        decode: Decode,
        prompts: ModelPrompts,
        place: Geometry,
        multimask: Multimask,
        ranking: Ranking,
    ) -> list[Ordered]:
        """See `family.Family.answer`; one mask for every prompt."""
        return split_choice(self, decode, prompts, multimask)


def correct_masks(
    logits: FloatArray, quality: FloatArray, chosen: IntArray
) -> tuple[FloatArray, FloatArray]:  # (N, T, m, m), (N, T), (N,) -> (N, 1, m, m), (N, 1)
    """The chosen masks with the last one added."""
    rows = np.arange(len(logits))
    masks = logits[rows, chosen] + logits[:, -1]
    return masks[:, None], quality[rows, chosen][:, None]
