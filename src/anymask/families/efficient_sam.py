"""EfficientSAM's answers: decoder masks and quality in, all of them out, asked for or not.

Letters: N prompts, T masks of the decoder, m the side of a mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anymask.families.choice import split_choice
from anymask.primitives.spec import TokenRoles  # training alone asks for it

if TYPE_CHECKING:
    from anymask.families.family import Decode, Multimask, Ordered, Ranking, Tables
    from anymask.primitives.spec import CloserLook, Geometry, GridDefaults, ModelSpec
    from anymask.primitives.types import FloatArray, ModelPrompts


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
